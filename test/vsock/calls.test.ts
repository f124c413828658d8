import { type Duplex, duplexPair } from "node:stream";
import { expect, onTestFinished, test } from "vitest";
import {
  decodeCbor,
  encodeCbor,
  encodeFrame,
  FrameDecoder,
  MAX_FRAME_BYTES,
  MAX_IN_FLIGHT,
  z,
} from "../../protocol/index.ts";
import { CallClient, type CallServer, serveCalls, VsockError } from "../../vsock/index.ts";
import { bothSides, until } from "./fixture.ts";

const callSchema = z.strictObject({ id: z.int(), ask: z.string() });
const answerSchema = z.strictObject({ id: z.int(), say: z.string() });
type Call = z.output<typeof callSchema>;
type Answer = z.output<typeof answerSchema>;
type Handle = (call: Call) => Promise<Omit<Answer, "id">>;

const PORT = 5000;
const TIMEOUT = { timeoutMs: 5_000 };
const frame = (message: unknown) => encodeFrame(encodeCbor(message));
const never = () => new Promise<never>(() => {});

function clientOver(open: () => Promise<Duplex>) {
  const client = new CallClient<Call, Answer>({ open, answer: answerSchema });
  onTestFinished(() => client.close());
  return client;
}

/** A client whose other ends are the test's. */
async function rawClient() {
  const ends: Duplex[] = [];
  const { host, guest } = await bothSides();
  await guest.listen(PORT, (stream) => void ends.push(stream));
  return { client: clientOver(() => host.connect(PORT, TIMEOUT)), ends };
}

async function servedClient(handle: Handle) {
  const servers: CallServer[] = [];
  const closes: (Error | undefined)[] = [];
  const { host, guest } = await bothSides();
  await guest.listen(PORT, (stream) => {
    const onClose = (cause: Error | undefined) => void closes.push(cause);
    servers.push(serveCalls<Call, Answer>(stream, { call: callSchema, handle, onClose }));
  });
  return { client: clientOver(() => host.connect(PORT, TIMEOUT)), servers, closes };
}

/** A server whose calls the test writes. */
async function rawServer(handle: Handle, onClose: (cause: Error | undefined) => void = () => {}): Promise<Duplex> {
  const { host, guest } = await bothSides();
  await guest.listen(PORT, (stream) => {
    serveCalls<Call, Answer>(stream, { call: callSchema, handle, onClose });
  });
  return host.connect(PORT, TIMEOUT);
}

function readCalls(stream: Duplex): Call[] {
  const calls: Call[] = [];
  const decoder = new FrameDecoder();
  stream.on("data", (chunk: Uint8Array) => {
    for (const payload of decoder.push(chunk)) calls.push(decodeCbor(callSchema, payload));
  });
  return calls;
}

test("pairs answers with calls by id, in whatever order they come", async () => {
  const releases = new Map<string, () => void>();
  const { client, servers } = await servedClient(async ({ ask }) => {
    await new Promise<void>((resolve) => releases.set(ask, resolve));
    return { say: `${ask}!` };
  });
  const answers = ["a", "b", "c"].map((ask) => client.call({ ask }, TIMEOUT));
  await until(() => releases.size === 3);
  expect(client.inFlight).toBe(3);
  for (const ask of ["c", "a", "b"]) releases.get(ask)?.();
  expect(await Promise.all(answers)).toEqual([
    { id: 1, say: "a!" },
    { id: 2, say: "b!" },
    { id: 3, say: "c!" },
  ]);
  expect(client.inFlight).toBe(0);
  expect(servers).toHaveLength(1);
});

test("a call without an answer ends at its deadline; the late answer harms nobody", async () => {
  const { client, ends } = await rawClient();
  const late = client.call({ ask: "slow" }, { timeoutMs: 20 });
  await expect(late).rejects.toMatchObject({ name: "VsockError", code: "CALL_TIMEOUT" });
  const next = client.call({ ask: "next" }, TIMEOUT);
  // The late answer, one to a call never made, and the right one.
  for (const answer of [
    { id: 1, say: "late" },
    { id: 99, say: "?" },
    { id: 2, say: "right" },
  ]) {
    ends[0]?.write(frame(answer));
  }
  expect(await next).toEqual({ id: 2, say: "right" });
});

test("the deadline covers opening the stream; what gave up is not sent afterwards, and nothing goes unhandled", async () => {
  const unhandled: unknown[] = [];
  const onUnhandled = (reason: unknown) => void unhandled.push(reason);
  process.on("unhandledRejection", onUnhandled);
  onTestFinished(() => void process.off("unhandledRejection", onUnhandled));
  const opening = Promise.withResolvers<Duplex>();
  const client = clientOver(() => opening.promise);
  await expect(client.call({ ask: "too late" }, { timeoutMs: 20 })).rejects.toMatchObject({ code: "CALL_TIMEOUT" });
  const [near, far] = duplexPair();
  const calls = readCalls(far);
  opening.resolve(near);
  const next = client.call({ ask: "in time" }, TIMEOUT);
  await until(() => calls.length > 0);
  expect(calls).toEqual([{ id: 2, ask: "in time" }]);
  far.write(frame({ id: 2, say: "yes" }));
  expect(await next).toEqual({ id: 2, say: "yes" });
  expect(unhandled).toEqual([]);
});

test("a stream that cannot be opened fails its calls with its own error, and the next call opens another", async () => {
  let opened = 0;
  const client = clientOver(() => {
    opened += 1;
    return Promise.reject(new VsockError("CONNECT_REFUSED", "nobody"));
  });
  for (let at = 1; at <= 2; at += 1) {
    const calls = [client.call({ ask: "a" }, TIMEOUT), client.call({ ask: "b" }, TIMEOUT)];
    for (const { status, ...rest } of await Promise.allSettled(calls)) {
      expect([status, rest]).toMatchObject(["rejected", { reason: { code: "CONNECT_REFUSED" } }]);
    }
    expect(opened).toBe(at);
  }
  expect(client.inFlight).toBe(0);
});

test.each<[string, (far: Duplex) => void, object]>([
  ["destroyed", (far) => far.destroy(), {}],
  ["ended", (far) => far.end(), {}],
  ["ended inside a frame", (far) => far.end(Uint8Array.of(0, 0, 0, 9, 1)), { cause: { code: "FRAME_TRUNCATED" } }],
  ["out of step", (far) => far.write(new Uint8Array(4)), { cause: { code: "FRAME_EMPTY" } }],
  ["flooded", (far) => far.write(Uint8Array.of(255, 0, 0, 0)), { cause: { code: "FRAME_TOO_LARGE" } }],
  ["answered wrongly", (far) => far.write(frame({ id: 1, say: 5 })), { cause: { code: "MALFORMED_MESSAGE" } }],
])(
  "a stream that is %s in the middle of calls fails them all; the next call opens another",
  async (_name, act, more) => {
    const { client, ends } = await rawClient();
    const calls = [client.call({ ask: "a" }, TIMEOUT), client.call({ ask: "b" }, TIMEOUT)];
    const settled = Promise.allSettled(calls);
    await until(() => ends.length === 1);
    ends[0]?.resume();
    act(ends[0] as Duplex);
    for (const outcome of await settled) {
      expect(outcome).toMatchObject({ status: "rejected", reason: { code: "CONNECTION_LOST", ...more } });
    }
    const next = client.call({ ask: "c" }, TIMEOUT);
    await until(() => ends.length === 2);
    ends[1]?.write(frame({ id: 3, say: "c!" }));
    expect(await next).toEqual({ id: 3, say: "c!" });
  },
);

test("refuses one call more than may be in flight, and takes it when another is answered", async () => {
  const { client, ends } = await rawClient();
  const calls = Array.from({ length: MAX_IN_FLIGHT }, (_, at) => client.call({ ask: String(at) }, TIMEOUT));
  const settled = Promise.allSettled(calls);
  await expect(client.call({ ask: "over" }, TIMEOUT)).rejects.toMatchObject({ code: "TOO_MANY_CALLS" });
  await until(() => ends.length === 1);
  ends[0]?.resume().write(frame({ id: 7, say: "seven" }));
  expect(await calls[6]).toEqual({ id: 7, say: "seven" });
  const next = client.call({ ask: "again" }, TIMEOUT);
  ends[0]?.write(frame({ id: MAX_IN_FLIGHT + 1, say: "taken" }));
  expect(await next).toMatchObject({ say: "taken" });
  client.close();
  await settled;
});

test("a closed client fails what waits and what comes", async () => {
  const { client, ends } = await rawClient();
  const waiting = client.call({ ask: "a" }, TIMEOUT);
  await until(() => ends.length === 1);
  client.close();
  await expect(waiting).rejects.toMatchObject({ code: "CONNECTION_LOST" });
  await expect(client.call({ ask: "b" }, TIMEOUT)).rejects.toMatchObject({ code: "CONNECTION_LOST" });
  expect(ends).toHaveLength(1);
});

test("closing while the stream is being opened closes it then", async () => {
  const opening = Promise.withResolvers<Duplex>();
  const client = clientOver(() => opening.promise);
  const call = client.call({ ask: "a" }, TIMEOUT);
  client.close();
  await expect(call).rejects.toMatchObject({ code: "CONNECTION_LOST" });
  const [near] = duplexPair();
  opening.resolve(near);
  await until(() => near.destroyed);
});

test("a message that fits into no frame fails its own call alone", async () => {
  const { client } = await servedClient(async ({ ask }) => ({ say: ask }));
  await expect(client.call({ ask: "x".repeat(MAX_FRAME_BYTES) }, TIMEOUT)).rejects.toMatchObject({
    code: "FRAME_TOO_LARGE",
  });
  expect(await client.call({ ask: "fits" }, TIMEOUT)).toMatchObject({ say: "fits" });
});

test.each<[string, Handle, object]>([
  ["a handler that rejects", () => Promise.reject(new Error("a bug")), { message: "a bug" }],
  [
    "a handler that throws",
    () => {
      throw new Error("a bug");
    },
    { message: "a bug" },
  ],
  [
    "an answer that fits into no frame",
    async () => ({ say: "x".repeat(MAX_FRAME_BYTES) }),
    { code: "FRAME_TOO_LARGE" },
  ],
])("%s closes the stream and nothing else", async (_name, handle, cause) => {
  const { client, closes } = await servedClient(handle);
  await expect(client.call({ ask: "a" }, TIMEOUT)).rejects.toMatchObject({ code: "CONNECTION_LOST" });
  await until(() => closes.length === 1);
  expect(closes).toMatchObject([cause]);
});

test.each([
  ["no CBOR", encodeFrame(Uint8Array.of(0xff))],
  ["other fields", frame({ id: 1, ask: "a", more: 1 })],
  ["a frame of 4 GiB", Uint8Array.of(255, 255, 255, 255)],
])("a server closes a stream that brings %s", async (_name, bytes) => {
  const closed = Promise.withResolvers<Error | undefined>();
  const near = await rawServer(never, closed.resolve);
  near.write(bytes);
  expect(await closed.promise).toMatchObject({ name: "ProtocolError" });
});

/** So many calls that one read of the socket brings more than may be worked on. */
const MANY = 3 * MAX_IN_FLIGHT;
const manyCalls = () => Buffer.concat(Array.from({ length: MANY }, (_, at) => frame({ id: at + 1, ask: "" })));

test("a server works on no more calls at once than may be, and then on the rest", async () => {
  let working = 0;
  let most = 0;
  const release = Promise.withResolvers<void>();
  const stream = await rawServer(async () => {
    working += 1;
    most = Math.max(most, working);
    await release.promise;
    working -= 1;
    return { say: "done" };
  });
  const answers = readAnswers(stream);
  stream.write(manyCalls());
  await until(() => working === MAX_IN_FLIGHT);
  release.resolve();
  await until(() => answers.length === MANY);
  expect(most).toBe(MAX_IN_FLIGHT);
});

test.each([
  ["at once", MANY, 10_000, MANY],
  ["one by one", 200, 100_000, 1],
])("a server takes no more calls, %s, while its answers are not taken", async (_name, total, answerBytes, perWrite) => {
  const warnings: Error[] = [];
  const onWarning = (warning: Error) => void warnings.push(warning);
  process.on("warning", onWarning);
  onTestFinished(() => void process.off("warning", onWarning));
  let handled = 0;
  const stream = await rawServer(async () => {
    handled += 1;
    return { say: "x".repeat(answerBytes) };
  });
  for (let at = 0; at < total; at += perWrite) {
    const ids = Array.from({ length: perWrite }, (_, next) => at + next + 1);
    stream.write(Buffer.concat(ids.map((id) => frame({ id, ask: "" }))));
    await new Promise((resolve) => setImmediate(resolve));
  }
  let before = -1;
  while (handled !== before || handled === 0) {
    before = handled;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  expect(handled).toBeLessThan(total);
  const answers = readAnswers(stream);
  await until(() => answers.length === total);
  expect(answers.map(({ id }) => id)).toEqual(Array.from({ length: total }, (_, at) => at + 1));
  expect(warnings).toEqual([]);
});

test("a caller that goes on taking no answers is cut, and what waited for it is let go", async () => {
  const closed = Promise.withResolvers<Error | undefined>();
  const [near, far] = duplexPair();
  onTestFinished(() => void near.destroy());
  let handled = 0;
  const handle: Handle = async () => {
    handled += 1;
    return { say: "x".repeat(100_000) };
  };
  serveCalls<Call, Answer>(far, { call: callSchema, handle, onClose: closed.resolve, stalledMs: 50 });
  // One that reads late is not cut.
  near.write(frame({ id: 1, ask: "" }));
  await until(() => far.writableNeedDrain);
  const answers = readAnswers(near);
  await until(() => answers.length === 1);
  near.pause();
  for (let id = 2; id < 1_000; id += 1) near.write(frame({ id, ask: "" }));
  expect(await closed.promise).toMatchObject({ code: "CONNECTION_LOST" });
  expect(far.destroyed).toBe(true);
  // What it could make wait was what it had asked before the first answer stood in its way.
  expect(handled).toBeLessThan(100);
});

test("calls that nobody reads are not piled up, however many give up waiting", async () => {
  const [near, far] = duplexPair();
  onTestFinished(() => void far.destroy());
  const client = clientOver(async () => near);
  const ask = "x".repeat(1024 * 1024 - 100);
  const codes = new Map<string, number>();
  for (let at = 0; at < 60; at += 1) {
    const { code } = await client.call({ ask }, { timeoutMs: 1 }).then(
      () => ({ code: "answered" }),
      (error: VsockError) => error,
    );
    codes.set(code, (codes.get(code) ?? 0) + 1);
  }
  expect(codes.get("TOO_MANY_CALLS")).toBeGreaterThan(20);
  expect(near.writableLength).toBeLessThan(34 * 1024 * 1024);
  expect(client.inFlight).toBe(0);
  // It is no end: the other side reads on, and so do we ask on.
  const calls = readCalls(far);
  await until(() => calls.length > 30);
  const answer = client.call({ ask: "a" }, TIMEOUT);
  await until(() => calls.some(({ ask: asked }) => asked === "a"));
  far.write(frame({ id: calls.at(-1)?.id, say: "b" }));
  expect(await answer).toMatchObject({ say: "b" });
});

test("a drained server answers what is under way, takes nothing more, and ends the stream", async () => {
  const release = Promise.withResolvers<void>();
  const handled: string[] = [];
  const { client, servers, closes } = await servedClient(async ({ ask }) => {
    handled.push(ask);
    await release.promise;
    return { say: `${ask}!` };
  });
  const underWay = [client.call({ ask: "a" }, TIMEOUT), client.call({ ask: "b" }, TIMEOUT)];
  await until(() => handled.length === 2);
  const drained = Promise.all([servers[0]?.drain(), servers[0]?.drain()]);
  const late = client.call({ ask: "late" }, TIMEOUT);
  late.catch(() => {});
  release.resolve();
  expect(await Promise.all(underWay)).toMatchObject([{ say: "a!" }, { say: "b!" }]);
  await drained;
  await expect(late).rejects.toMatchObject({ code: "CONNECTION_LOST" });
  await until(() => closes.length === 1);
  expect(handled).toEqual(["a", "b"]);
  // Another stream is another server's.
  expect(await client.call({ ask: "c" }, TIMEOUT)).toMatchObject({ say: "c!" });
});

test("an idle server drains at once", async () => {
  const { client, servers } = await servedClient(async () => ({ say: "" }));
  await client.call({ ask: "a" }, TIMEOUT);
  await servers[0]?.drain();
});

function readAnswers(stream: Duplex): Answer[] {
  const answers: Answer[] = [];
  const decoder = new FrameDecoder();
  stream.on("data", (chunk: Uint8Array) => {
    for (const payload of decoder.push(chunk)) answers.push(decodeCbor(answerSchema, payload));
  });
  return answers;
}
