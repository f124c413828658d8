export { type DocumentFields, ES384_HEADER, encodeDocumentPayload, signCoseSign1 } from "./document.ts";
export { NsmSimulatorError, type NsmSimulatorErrorCode } from "./errors.ts";
export type { NsmErrorCode } from "./messages.ts";
export { createNsmPki, type LeafChain, type NsmPki } from "./pki.ts";
export { createSimulatedNsm, MAX_REQUEST_BYTES, MAX_RESPONSE_BYTES, type SimulatedNsm } from "./simulated-nsm.ts";
export { connectNsm, type NsmConnection, serveNsm } from "./socket.ts";
