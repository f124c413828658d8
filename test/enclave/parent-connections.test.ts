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

/** An enclave whose NSM never answers, and what opens a stream to it. */
async function booting(): Promise<() => { readonly near: Duplex; readonly far: Duplex }> {
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
  const nsm = Promise.withResolvers<Uint8Array>();
  const enclave = startEnclave({
    manifest: await readFile("deploy/cloister.example.yaml"),
    // It stays booting.
    nsm: { process: () => nsm.promise },
    ...{ vsock, tlsRoots: { kms: [], web: [] }, monotonicMs: () => performance.now() },
  });
  onTestFinished(() => {
    nsm.reject(new Error("gone"));
    return enclave.close();
  });
  return () => {
    const [near, far] = duplexPair();
    accept(far);
    return { near, far };
  };
}

test("of the parent's connections to the enclave there are eighty, and another when one has ended", async () => {
  const open = await booting();
  const streams = Array.from({ length: 80 }, open);
  expect(streams.map(({ far }) => far.destroyed)).toEqual(Array(80).fill(false));
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

test("an NSM that does not keep up is asked by sixty-four at once, and the next is BUSY; status is answered", async () => {
  const { near } = (await booting())();
  const decoder = new FrameDecoder();
  const answers = new Map<number, number>();
  near.on("data", (chunk: Uint8Array) => {
    for (const payload of decoder.push(chunk)) {
      const { id, status } = decodeCbor(enclaveAnswer, payload);
      answers.set(id, status);
    }
  });
  for (let id = 1; id <= 66; id += 1) {
    near.write(encodeFrame(encodeCbor({ id, kind: "attestation", nonce: new Uint8Array(32) })));
  }
  near.write(encodeFrame(encodeCbor({ id: 67, kind: "status" })));
  while (answers.size < 3) await new Promise((resolve) => setImmediate(resolve));
  expect(Object.fromEntries(answers)).toEqual({ 65: 429, 66: 429, 67: 200 });
});
