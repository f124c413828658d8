/** vsock ports, design section 5. The listener is named first. */

/** Enclave: requests and answers. */
export const REQUEST_PORT = 5000;
/** Parent: records. */
export const RECORDS_PORT = 5001;
/** Parent: egress. One frame names host and port, one frame answers, then raw bytes. */
export const EGRESS_PORT = 5002;
/** Parent: AWS credentials. */
export const CREDENTIALS_PORT = 5003;
/** Parent: logs and counters out. */
export const LOG_PORT = 5004;
