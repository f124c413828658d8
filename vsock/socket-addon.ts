/** What vsock/native/vsock.c exports. Numbers below zero are negated errnos. */
import { constants } from "node:os";

/** A socket, or a listener. `onReady` is called, with what it is ready for, while something is watched for. */
export interface SocketHandle {
  onReady?: (events: number) => void;
}

export interface AcceptedHandle extends SocketHandle {
  readonly peerCid: number;
  readonly peerPort: number;
}

export interface SocketAddon {
  readonly maxWriteBytes: number;
  listen(port: number, backlog: number): SocketHandle | number;
  /** Under way when it returns: watch for {@link WRITABLE}, then ask {@link connectResult}. */
  connect(cid: number, port: number, flags: number, timeoutMs: number): SocketHandle | number;
  connectResult(handle: SocketHandle): number;
  accept(listener: SocketHandle): AcceptedHandle | number;
  /** {@link READABLE} and {@link WRITABLE}, or 0 to stop. After an error both are reported and watching has stopped. */
  watch(handle: SocketHandle, events: number): number;
  /** 0 at the other side's end. */
  read(handle: SocketHandle, bytes: Uint8Array): number;
  /** Takes {@link maxWriteBytes} at most. */
  write(handle: SocketHandle, bytes: Uint8Array, offset: number): number;
  /** Ends the direction that is written. */
  shutdown(handle: SocketHandle): number;
  close(handle: SocketHandle): void;
}

/** uv.h, `enum uv_poll_event`. */
export const READABLE = 1;
export const WRITABLE = 2;

const { EAGAIN, EWOULDBLOCK } = constants.errno;

/** Nothing to be had or taken now: watch, and try again. */
export function isBusy(result: number): boolean {
  return result === -EAGAIN || result === -EWOULDBLOCK;
}
