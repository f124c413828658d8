/** What users of AWS's vsock-proxy complain of, each by its issue, as something that does not happen here. */
import { globSync, readFileSync } from "node:fs";
import { join } from "node:path";
import type { Duplex } from "node:stream";
import { buffer } from "node:stream/consumers";
import { connect as connectTls, createServer as createTlsServer } from "node:tls";
import { expect, onTestFinished, test } from "vitest";
import { systemResolve } from "../../parent-proxy/egress/destination.ts";
import { createEgressServer } from "../../parent-proxy/egress/serve-egress.ts";
import { DEFAULT_LIMITS } from "../../parent-proxy/index.ts";
import { createMetrics } from "../../parent-proxy/metrics.ts";
import { decodeCbor, EGRESS_PORT, egressAnswer, encodeCbor, encodeFrame } from "../../protocol/index.ts";
import { createTlsAuthority } from "../../simulator/pki/index.ts";
import { hostVsock, readFirstFrame, type Vsock } from "../../vsock/index.ts";
import { bothSides } from "../vsock/fixture.ts";
import { recordedLog, startParent, startTcp, temporaryFolder } from "./fixture.ts";

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

test("nitro-cli #593: an answer is used for the stream that asked, however short it may be kept", async () => {
  // vsock-proxy kept addresses by their TTL, and with a TTL of 0 looked them up again in the middle of a connection.
  const { host, guest } = await bothSides();
  const asked: string[] = [];
  const metrics = createMetrics();
  const serve = createEgressServer({
    egress: { allow: ["a.example:443"], connectTo: new Map() },
    resolve: async (name) => {
      asked.push(name);
      return ["127.0.0.1"];
    },
    limits: DEFAULT_LIMITS,
    metrics,
    log: recordedLog().log,
  });
  await host.listen(EGRESS_PORT, (stream) => void serve(stream));
  // A public name that is pointed inwards: judged by the one answer, and not asked for again.
  expect((await open(guest, "a.example")).outcome).toBe("NOT_ALLOWED");
  expect(asked).toEqual(["a.example"]);
});

test("nitro-cli #610: through a private endpoint, TLS is with the name that was asked for, under its own certificate", async () => {
  const tls = createTlsAuthority({ nowMs: Date.now, name: "TEST" });
  const { keyPem, certPem } = tls.issueServer({ hosts: ["kms.us-east-1.amazonaws.com"] });
  const names: string[] = [];
  const server = createTlsServer({ key: keyPem, cert: certPem }, (socket) => {
    names.push(String(socket.servername));
    socket.end("through");
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  onTestFinished(() => void server.close());
  const { port } = server.address() as { port: number };
  const name = "kms.us-east-1.amazonaws.com:443";
  const { guest } = await startParent({
    egress: { allow: [name], connectTo: new Map([[name, `127.0.0.1:${port}`]]) },
  });
  const { stream } = await open(guest, "kms.us-east-1.amazonaws.com");
  const socket = connectTls({ socket: stream, servername: "kms.us-east-1.amazonaws.com", ca: [tls.rootPem] });
  expect(String(await buffer(socket))).toBe("through");
  expect(socket.authorized).toBe(true);
  expect(names).toEqual(["kms.us-east-1.amazonaws.com"]);
});

test("nitro-cli #623: names are the system's to resolve, /etc/hosts included, and no server is asked that it does not name", async () => {
  expect(await systemResolve("localhost")).toEqual(
    expect.arrayContaining([expect.stringMatching(/^(127\.0\.0\.1|::1)$/)]),
  );
  for (const file of globSync("parent-proxy/**/*.ts")) {
    expect(readFileSync(file, "utf8"), file).not.toMatch(/setServers|new Resolver|resolve[46]\(|8\.8\.8\.8|1\.1\.1\.1/);
  }
});

test("nitro-cli #648: a start without the network is a start; what does not resolve says so, by its name, when asked for", async () => {
  const port = await startTcp((socket) => socket.end("here"));
  const { guest, lines, url } = await startParent({
    egress: {
      allow: ["kms.unresolvable.invalid:443", "up.example:443"],
      connectTo: new Map([["up.example:443", `127.0.0.1:${port}`]]),
    },
  });
  expect(lines).toEqual([]);
  expect((await open(guest, "kms.unresolvable.invalid")).outcome).toBe("NAME_NOT_FOUND");
  expect(lines).toMatchObject([
    {
      msg: "egress refused",
      destination: "kms.unresolvable.invalid:443",
      reason: "NAME_NOT_FOUND",
      err: { code: "ENOTFOUND" },
    },
  ]);
  expect(await (await fetch(`${url}/metrics`)).text()).toContain(
    'egress_answers_total{destination="kms.unresolvable.invalid:443",answer="NAME_NOT_FOUND"} 1',
  );
  expect((await open(guest, "up.example")).outcome).toBe("connected");
});

test("nitro-cli #699: a port that cannot be listened on is an error that says which, and leaves nothing open", async () => {
  const folder = await temporaryFolder();
  const first = hostVsock(join(folder, "v"));
  onTestFinished(() => first.close());
  await first.listen(EGRESS_PORT, () => {});
  const second = hostVsock(join(folder, "v"));
  onTestFinished(() => second.close());
  await expect(second.listen(EGRESS_PORT, () => {})).rejects.toMatchObject({
    code: "PORT_IN_USE",
    message: expect.stringContaining(`_${EGRESS_PORT}`),
  });
});

test("nitro-cli #716 and #750: an address in a name's place is a destination like any other, and judged like one", async () => {
  const { host, guest } = await bothSides();
  const serve = createEgressServer({
    egress: { allow: ["127.0.0.1:443", "10.1.2.3:443"], connectTo: new Map() },
    resolve: () => Promise.reject(new Error("an address must not be looked up")),
    limits: DEFAULT_LIMITS,
    metrics: createMetrics(),
    log: recordedLog().log,
  });
  await host.listen(EGRESS_PORT, (stream) => void serve(stream));
  expect((await open(guest, "127.0.0.1")).outcome).toBe("NOT_ALLOWED");
  expect((await open(guest, "10.1.2.3")).outcome).toBe("NOT_ALLOWED");
  expect((await open(guest, "1.2.3.4")).outcome).toBe("NOT_ALLOWED");
});

test("no descriptor is too high: more streams than select(2) can hold", async () => {
  const port = await startTcp((socket) => socket.pipe(socket));
  const name = "a.example:443";
  const { guest } = await startParent({
    egress: { allow: [name], connectTo: new Map([[name, `127.0.0.1:${port}`]]), maxStreamsPerDestination: 1000 },
    limits: { maxEgressStreams: 1000 },
  });
  // Each takes two descriptors in the parent, and in this process two more.
  const streams: Duplex[] = [];
  for (let at = 0; at < 600; at += 1) streams.push((await open(guest, "a.example")).stream);
  streams.at(-1)?.end("still here");
  expect(String(await buffer(streams.at(-1) ?? process.stdin))).toBe("still here");
  for (const stream of streams) stream.destroy();
});

test("one destination that takes all it may leaves the others their part", async () => {
  const port = await startTcp((socket) => socket.resume().on("end", () => socket.end()));
  const names = ["greedy.example:443", "kms.example:443"];
  const { guest, url } = await startParent({
    egress: {
      allow: names,
      connectTo: new Map(names.map((name) => [name, `127.0.0.1:${port}`])),
      maxStreamsPerDestination: 3,
    },
  });
  const outcomes: string[] = [];
  const held: Duplex[] = [];
  for (let at = 0; at < 5; at += 1) {
    const { stream, outcome } = await open(guest, "greedy.example");
    outcomes.push(outcome);
    held.push(stream);
  }
  expect(outcomes).toEqual(["connected", "connected", "connected", "BUSY", "BUSY"]);
  expect((await open(guest, "kms.example")).outcome).toBe("connected");
  held[0]?.destroy();
  await expect.poll(async () => (await open(guest, "greedy.example")).outcome).toBe("connected");
  const metrics = await (await fetch(`${url}/metrics`)).text();
  expect(metrics).toContain('egress_answers_total{destination="greedy.example:443",answer="BUSY"}');
  expect(metrics).toContain('egress_connect_seconds_count{destination="kms.example:443"} 1');
});

test("an address that refuses is counted by its destination", async () => {
  const port = await startTcp(() => {});
  const name = "down.example:443";
  const { guest, url } = await startParent({
    egress: { allow: [name], connectTo: new Map([[name, `127.0.0.2:${port}`]]) },
  });
  expect((await open(guest, "down.example")).outcome).toBe("UNREACHABLE");
  const metrics = await (await fetch(`${url}/metrics`)).text();
  expect(metrics).toContain('egress_connect_failures_total{destination="down.example:443"} 1');
});
