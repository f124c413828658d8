export { CallClient, type WithoutId } from "./calls.ts";
export { VsockError, type VsockErrorCode } from "./errors.ts";
export { readFirstFrame } from "./first-frame.ts";
export { FrameStream } from "./frame-stream.ts";
export { type CallServer, serveCalls } from "./serve-calls.ts";
export { guestVsock, hostVsock, removeDeadSocket } from "./unix-socket.ts";
export type { Vsock, VsockListener } from "./vsock.ts";
