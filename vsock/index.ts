export { CallClient, serveCalls } from "./calls.ts";
export { VsockError, type VsockErrorCode } from "./errors.ts";
export { FrameStream } from "./frame-stream.ts";
export { guestVsock, hostVsock } from "./unix-socket.ts";
export type { Vsock, VsockListener } from "./vsock.ts";
