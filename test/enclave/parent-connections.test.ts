/** How much of the parent the enclave listens to at once. */
import { readFile } from "node:fs/promises";
import { type Duplex, duplexPair } from "node:stream";
import { expect, onTestFinished, test } from "vitest";
import { startEnclave } from "../../enclave/index.ts";
import {
  decodeCbor,
  enclaveAnswer,
  encodeCbor,
  encodeFrame,
  FrameDecoder,
  REQUEST_PORT,
} from "../../protocol/index.ts";
import type { Vsock, VsockListener } from "../../vsock/index.ts";

test("of the parent's connections to the enclave there are sixteen, and another when one has ended", async () => {
  let accept: (stream: Duplex) => void = () => {};
  const vsock: Vsock = {
    connect: () => Promise.reject(new Error("nobody is there")),
    listen: async (port, onStream) => {
      expect(port).toBe(REQUEST_PORT);
      accept = onStream;
      return {} as VsockListener;
    },
    close: async () => {},
  };
  const enclave = startEnclave({
    manifest: await readFile("deploy/cloister.example.yaml"),
    // It stays booting.
    nsm: { process: () => new Promise(() => {}) },
    ...{ vsock, tlsRoots: { kms: [], web: [] }, monotonicMs: () => performance.now() },
  });
  onTestFinished(() => enclave.close());
  const open = () => {
    const [near, far] = duplexPair();
    accept(far);
    return { near, far };
  };
  const streams = Array.from({ length: 16 }, open);
  expect(streams.map(({ far }) => far.destroyed)).toEqual(Array(16).fill(false));
  expect(open().far.destroyed).toBe(true);
  streams[3]?.far.destroy();
  await new Promise((resolve) => setImmediate(resolve));
  const { near } = open();
  near.write(encodeFrame(encodeCbor({ id: 7, kind: "status" })));
  const chunk = await new Promise<Uint8Array>((resolve) => near.once("data", resolve));
  const [payload = new Uint8Array()] = new FrameDecoder().push(chunk);
  expect(decodeCbor(enclaveAnswer, payload)).toMatchObject({ id: 7, status: 200 });
  expect(open().far.destroyed).toBe(true);
});
