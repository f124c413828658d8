import type { Socket } from "node:net";
import { ParentError } from "../errors.ts";

/** Bytes that Node's HTTP parser gave up on have no request and no reply object: the answer is written by hand. */
export function refuseMalformedHttp(error: NodeJS.ErrnoException, socket: Socket): void {
  if (error.code === "ECONNRESET" || !socket.writable) {
    socket.destroy();
    return;
  }
  const refusal = new ParentError("PARENT_INVALID_REQUEST", whatIsWrong(error.code));
  const body = JSON.stringify(refusal);
  const head = [
    `HTTP/1.1 ${refusal.status} Bad Request`,
    "content-type: application/json",
    `content-length: ${Buffer.byteLength(body)}`,
    "connection: close",
  ];
  socket.end(`${head.join("\r\n")}\r\n\r\n${body}`, () => socket.destroy());
}

function whatIsWrong(code: string | undefined): string {
  switch (code) {
    case "HPE_HEADER_OVERFLOW":
      return "the headers are too large";
    case "ERR_HTTP_REQUEST_TIMEOUT":
      return "the request did not arrive in time";
    default:
      return "not a proper HTTP request";
  }
}
