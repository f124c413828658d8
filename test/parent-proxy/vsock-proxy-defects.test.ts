/** What users of AWS's vsock-proxy complain of, each by its issue, as something that does not happen here. */
import type { Duplex } from "node:stream";
import { buffer } from "node:stream/consumers";
import { expect, test } from "vitest";
import { createEgressServer } from "../../parent-proxy/egress/serve-egress.ts";
import { DEFAULT_LIMITS } from "../../parent-proxy/index.ts";
import { createMetrics } from "../../parent-proxy/metrics.ts";
import { decodeCbor, EGRESS_PORT, egressAnswer, encodeCbor, encodeFrame } from "../../protocol/index.ts";
import { readFirstFrame, type Vsock } from "../../vsock/index.ts";
import { bothSides } from "../vsock/fixture.ts";
import { recordedLog, startParent, startTcp } from "./fixture.ts";

async function open(guest: Vsock, host: string): Promise<{ stream: Duplex; outcome: string }> {
  const stream = await guest.connect(EGRESS_PORT, { timeoutMs: 5_000 });
  stream.write(encodeFrame(encodeCbor({ host, port: 443 })));
  const answer = decodeCbor(egressAnswer, await readFirstFrame(stream, { timeoutMs: 10_000 }));
  return { stream, outcome: answer.kind === "refused" ? answer.reason : answer.kind };
}

test("nitro-cli #413: streams that stall hold up no other", async () => {
  const port = await startTcp((socket) => {
    socket.once("data", (data) => {
      if (String(data) === "stall") socket.write(Buffer.alloc(4 * 1024 * 1024));
      else socket.end(data);
    });
  });
  const { guest } = await startParent({
    egress: { allow: ["a.example:443"], connectTo: new Map([["a.example:443", `127.0.0.1:${port}`]]) },
  });
  // These never read what the server has for them.
  for (let at = 0; at < 40; at += 1) (await open(guest, "a.example")).stream.write("stall");
  const others = Array.from({ length: 40 }, async (_, at) => {
    const { stream } = await open(guest, "a.example");
    stream.end(`echo ${at}`);
    return String(await buffer(stream));
  });
  expect(await Promise.all(others)).toEqual(Array.from({ length: 40 }, (_, at) => `echo ${at}`));
});

test("nitro-cli #549: a destination that refuses, or does not exist, ends its own stream and nothing else", async () => {
  const port = await startTcp((socket) => socket.end("here"));
  const { guest } = await startParent({
    egress: {
      allow: ["up.example:443", "down.example:443", "missing.invalid:443"],
      connectTo: new Map([
        ["up.example:443", `127.0.0.1:${port}`],
        ["down.example:443", `127.0.0.2:${port}`],
      ]),
    },
  });
  const up = await open(guest, "up.example");
  expect((await open(guest, "down.example")).outcome).toBe("UNREACHABLE");
  expect((await open(guest, "missing.invalid")).outcome).toBe("NAME_NOT_FOUND");
  expect(String(await buffer(up.stream))).toBe("here");
  expect((await open(guest, "up.example")).outcome).toBe("connected");
});

test("nitro-cli #553: every stream asks the resolver, and a slow one is given up in time", async () => {
  const { host, guest } = await bothSides();
  const resolutions = [
    () => Promise.reject(new Error("ENOTFOUND")),
    async () => ["10.0.0.1"],
    () => new Promise<string[]>(() => {}),
  ];
  const asked: string[] = [];
  const serve = createEgressServer({
    egress: { allow: ["a.example:443"], connectTo: new Map() },
    resolve: (name) => {
      asked.push(name);
      return resolutions.shift()?.() ?? Promise.resolve([]);
    },
    limits: { ...DEFAULT_LIMITS, egressConnectTimeoutMs: 50 },
    metrics: createMetrics(),
    log: recordedLog().log,
  });
  await host.listen(EGRESS_PORT, (stream) => void serve(stream));
  const outcomes: string[] = [];
  for (let at = 0; at < 4; at += 1) outcomes.push((await open(guest, "a.example")).outcome);
  expect(outcomes).toEqual(["NAME_NOT_FOUND", "NOT_ALLOWED", "UNREACHABLE", "NAME_NOT_FOUND"]);
  expect(asked).toEqual(Array(4).fill("a.example"));
});
