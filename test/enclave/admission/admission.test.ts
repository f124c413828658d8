/** One noisy app beside a quiet one, strangers in its name, and administrators: who is let in, by counting. */
import { generateKeyPairSync, verify } from "node:crypto";
import { duplexPair } from "node:stream";
import { expect, onTestFinished, test } from "vitest";
import {
  Admission,
  type AdmissionLimits,
  admissionLimits,
  type Handler,
} from "../../../enclave/admission/admission.ts";
import { claimOf } from "../../../enclave/admission/place-of.ts";
import { credentialOf, credentialOfKey, ProvenCredentials } from "../../../enclave/admission/proven-credentials.ts";
import { type ReceivedRequest, type SignedAnswer, signAnswer } from "../../../enclave/answer.ts";
import { createLog } from "../../../enclave/log.ts";
import {
  answerSigningInput,
  decodeAnswer,
  type EnclaveAnswer,
  type EnclaveCall,
  enclaveCall,
  encodeCbor,
  encodeFrame,
  encodeStamp,
  encodeWebauthnStamp,
  sealRequest,
  stampsDigestInput,
} from "../../../protocol/index.ts";
import { serveCalls } from "../../../vsock/index.ts";

const DEPLOYMENT = "prod";
const app = (digit: string) => `app_${digit.repeat(32)}`;
const [QUIET, NOISY] = [app("a"), app("b")];
const keys = generateKeyPairSync("ed25519");

function stampOf(owner: number): string {
  const publicKey = new Uint8Array(33).fill(owner, 1);
  publicKey[0] = 2;
  return encodeStamp({ scheme: "SIGNATURE_SCHEME_TK_API_P256", publicKey, signature: new Uint8Array(70).fill(1) });
}

function requestOf(
  audience: string,
  owner: number,
  changed: { operation?: string; bytes?: number } = {},
): ReceivedRequest {
  const { operation = "list_wallets", bytes = 0 } = changed;
  const body = Buffer.from(JSON.stringify({ operation, audience, params: "x".repeat(bytes) }));
  return { body, stamps: [stampOf(owner)] };
}

const inApp = (appId: string, owner: number, changed = {}) => requestOf(`${DEPLOYMENT}/${appId}`, owner, changed);

interface Running {
  readonly request: ReceivedRequest;
  readonly end: (status: number) => void;
}

/** A handler whose requests run until the test ends them. */
function held(changed: Partial<AdmissionLimits> = {}, maxRunning = 4) {
  let nowMs = 1_000;
  const lines: Record<string, unknown>[] = [];
  const running: Running[] = [];
  const started: ReceivedRequest[] = [];
  const handle = async (request: ReceivedRequest) => {
    started.push(request);
    const { promise, resolve } = Promise.withResolvers<number>();
    running.push({ request, end: resolve });
    const status = await promise;
    return signAnswer(keys.privateKey, request, status, { requestId: "it ran", result: {} });
  };
  const handler: Handler = {
    threads: 2,
    threadOf: ({ body }) => (Buffer.from(body).includes("sign_digest") ? 1 : 0),
    handle,
    handleSealed: async (sealed, handleOpened) => {
      opened.push(sealed);
      return handleOpened({ ...inApp(QUIET, 9), sealedFor: `${DEPLOYMENT}/${QUIET}` });
    },
  };
  const opened: Uint8Array[] = [];
  const admission = new Admission({
    ...{ handler, deployment: DEPLOYMENT, answerKey: keys.privateKey, monotonicMs: () => nowMs },
    administrators: [Buffer.from([2, ...Array(32).fill(200)]).toString("hex")],
    log: createLog({ write: (line) => void lines.push(JSON.parse(line)), nowMs: () => null }),
    limits: { ...admissionLimits(maxRunning), ...changed },
  });
  onTestFinished(() => admission.close());
  const turn = () => new Promise<void>((resolve) => setImmediate(resolve));
  /** Ends what has run longest, `count` times, so that the next ones start. */
  const serve = async (count: number, status = 200) => {
    for (let n = 0; n < count; n += 1) {
      running.shift()?.end(status);
      await turn();
    }
  };
  const pass = (ms: number) => {
    nowMs += ms;
  };
  return { admission, running, started, opened, lines, serve, turn, pass };
}

const codeOf = (answer: { readonly body: Uint8Array }) => {
  const decoded = decodeAnswer(answer.body);
  return "error" in decoded ? decoded.error.code : "ran";
};

/** Which of them were let in, and how many others started before each. */
function watch(world: ReturnType<typeof held>, request: ReceivedRequest) {
  const at = world.started.length;
  const outcome = world.admission.handle(request).then(codeOf);
  return { outcome, before: () => world.started.indexOf(request) - at };
}

async function proven(world: ReturnType<typeof held>, request: ReceivedRequest): Promise<void> {
  const answer = world.admission.handle(request);
  await world.turn();
  await world.serve(1);
  await answer;
}

test("nobody waits while few run", async () => {
  const world = held();
  const answers = [inApp(QUIET, 1), inApp(NOISY, 2)].map((request) => world.admission.handle(request));
  await world.turn();
  expect(world.admission.load).toEqual({ waiting: 0, running: 2 });
  await world.serve(2);
  expect((await Promise.all(answers)).map(codeOf)).toEqual(["ran", "ran"]);
  expect(world.admission.load).toEqual({ waiting: 0, running: 0 });
});

test("beside an app that sends all it can, the quiet one is served after two of the others at most, every time", async () => {
  const world = held();
  await proven(world, inApp(QUIET, 1));
  await proven(world, inApp(NOISY, 2));
  const noise = Array.from({ length: 600 }, () => world.admission.handle(inApp(NOISY, 2)).then(codeOf));
  await world.turn();
  for (let n = 0; n < 50; n += 1) {
    const quiet = watch(world, inApp(QUIET, 1));
    await world.serve(5);
    expect(quiet.before()).toBeGreaterThanOrEqual(0);
    expect(quiet.before()).toBeLessThanOrEqual(2);
    expect(await quiet.outcome).toBe("ran");
  }
  // The noise is refused where it is over its own share, and answered else: the quiet app's was never.
  await world.serve(600);
  const outcomes = await Promise.all(noise);
  expect(new Set(outcomes)).toEqual(new Set(["ran", "BUSY"]));
});

test("a thread that stands still is no hindrance to what another serves, of the same app too", async () => {
  const world = held();
  await proven(world, inApp(QUIET, 1));
  const stuck = Array.from({ length: 500 }, () =>
    world.admission.handle(inApp(QUIET, 1, { operation: "sign_digest" })),
  );
  await world.turn();
  const held4 = world.running.splice(0);
  expect(held4.length).toBeGreaterThan(0);
  const answers = Array.from({ length: 20 }, () => world.admission.handle(inApp(QUIET, 1)).then(codeOf));
  await world.turn();
  await world.serve(20);
  expect(await Promise.all(answers)).toEqual(Array(20).fill("ran"));
  // It is ended, and all that waited for it is answered.
  for (const { end } of held4) end(503);
  await world.turn();
  await world.serve(500);
  expect((await Promise.all(stuck)).length).toBe(500);
});

test("a thousand wallets at once cost their app as much as they cost others", async () => {
  const world = held({}, 2);
  await proven(world, inApp(QUIET, 1));
  await proven(world, inApp(NOISY, 2));
  const batch = () => inApp(NOISY, 2, { operation: "create_wallets", bytes: 12_800 });
  for (let n = 0; n < 20; n += 1) void world.admission.handle(batch());
  for (let n = 0; n < 150; n += 1) void world.admission.handle(inApp(QUIET, 1));
  await world.turn();
  const before = world.started.length;
  await world.serve(100);
  const batches = world.started.slice(before).filter(({ body }) => body.length > 10_000);
  expect(batches.length).toBeLessThanOrEqual(2);
});

test("strangers in the quiet app's name, under any key, fill no lane of those who were answered in it", async () => {
  const world = held();
  await proven(world, inApp(QUIET, 1));
  const garbage = Array.from({ length: 1_000 }, (_, n) => world.admission.handle(inApp(QUIET, 2 + (n % 150))));
  await world.turn();
  for (let n = 0; n < 20; n += 1) {
    const quiet = watch(world, inApp(QUIET, 1));
    await world.serve(4, 401);
    expect(quiet.before()).toBeLessThanOrEqual(1);
    expect(quiet.before()).toBeGreaterThanOrEqual(0);
  }
  await world.serve(1_100, 401);
  expect((await Promise.all(garbage)).map(codeOf)).toContain("BUSY");
});

test("strangers who make up apps have one lane between them, and somebody new in a known app another", async () => {
  const world = held();
  await proven(world, inApp(QUIET, 1));
  const made = (n: number) => `app_${n.toString(16).padStart(32, "0")}`;
  for (let n = 0; n < 500; n += 1) void world.admission.handle(inApp(made(n), 2));
  await world.turn();
  const login = watch(world, inApp(QUIET, 77));
  await world.serve(4, 404);
  expect(login.before()).toBeLessThanOrEqual(2);
  expect(login.before()).toBeGreaterThanOrEqual(0);
});

test("a refusal proves nobody", async () => {
  const world = held();
  await proven(world, inApp(NOISY, 3));
  const refused = world.admission.handle(inApp(QUIET, 1));
  await world.turn();
  await world.serve(1, 401);
  await refused;
  for (let n = 0; n < 300; n += 1) void world.admission.handle(inApp(QUIET, 50));
  await world.turn();
  // Still among the strangers, whose lane is full.
  expect(codeOf(await world.admission.handle(inApp(QUIET, 1)))).toBe("BUSY");
});

test("an administrator gets through though everything is taken, by apps and by strangers in the deployment's name", async () => {
  const world = held();
  await proven(world, inApp(NOISY, 2));
  for (let n = 0; n < 600; n += 1) void world.admission.handle(inApp(NOISY, 2));
  for (let n = 0; n < 600; n += 1) void world.admission.handle(requestOf(DEPLOYMENT, 5));
  await world.turn();
  // Apps hold their half, strangers who claim to be administrators theirs: all that may run runs.
  const administrator = watch(world, requestOf(DEPLOYMENT, 200, { operation: "rotate_vault" }));
  await world.serve(3);
  expect(administrator.before()).toBeLessThanOrEqual(3);
  expect(administrator.before()).toBeGreaterThanOrEqual(0);
});

test("sealed requests wait to be opened by the app that stands outside, and again by what is inside", async () => {
  const world = held();
  const attested = { answerKey: new Uint8Array(32), sealingKey: x25519() };
  const seal = async (audience: string) =>
    (await sealRequest(attested, audience, { stamps: [], body: new Uint8Array(9) })).bytes;
  const answer = world.admission.handleSealed(await seal(`${DEPLOYMENT}/${QUIET}`));
  await world.turn();
  expect(world.opened).toHaveLength(1);
  expect(world.admission.load).toEqual({ waiting: 0, running: 1 });
  await world.serve(1);
  expect(codeOf(await answer)).toBe("ran");
  // More than there is room for, and what is no sealed request: refused in the open, for the very bytes.
  const sealed = await seal(`${DEPLOYMENT}/${NOISY}`);
  const crowd = Array.from({ length: 1_000 }, (_, n) =>
    world.admission.handleSealed(n % 2 === 0 ? sealed : new Uint8Array(9)),
  );
  await world.turn();
  await world.serve(1_000);
  const codes = (await Promise.all(crowd)).map(codeOf);
  expect(new Set(codes)).toEqual(new Set(["ran", "BUSY"]));
});

function x25519(): Uint8Array {
  return generateKeyPairSync("x25519").publicKey.export({ type: "spki", format: "der" }).subarray(-32);
}

test("BUSY is signed for the very request, and says nothing of it", async () => {
  const world = held({}, 2);
  const requests = Array.from({ length: 200 }, () => inApp(QUIET, 1));
  const answers = requests.map((request) => world.admission.handle(request));
  await world.turn();
  const at = 199;
  const [answer, request] = [(await answers[at]) as SignedAnswer, requests[at] as ReceivedRequest];
  expect(answer.status).toBe(429);
  expect(decodeAnswer(answer.body)).toMatchObject({ requestId: null, error: { code: "BUSY" } });
  const digest = async (bytes: Uint8Array) =>
    new Uint8Array(await crypto.subtle.digest("SHA-256", Uint8Array.from(bytes)));
  const input = answerSigningInput({
    requestDigest: await digest(request.body),
    stampsDigest: await digest(stampsDigestInput(request.stamps)),
    ...{ status: 429, answerDigest: await digest(answer.body) },
  });
  expect(verify(null, input, keys.publicKey, answer.signature)).toBe(true);
  const line = world.lines.find(({ event }) => event === "admission");
  expect(line).toMatchObject({ level: "warn", full: 1 });
  expect(JSON.stringify(world.lines)).not.toContain(QUIET);
});

test("a parent that sends without end and never reads makes the enclave hold a bounded number of bytes", async () => {
  const world = held();
  const [parent, enclave] = duplexPair();
  onTestFinished(() => void parent.destroy());
  serveCalls<EnclaveCall, EnclaveAnswer>(enclave, {
    call: enclaveCall,
    handle: async (call) => {
      if (call.kind !== "operation") throw new Error("not asked for");
      const answer = world.admission.handle(call);
      await world.turn();
      await world.serve(world.running.length);
      return await answer;
    },
  });
  const { body, stamps } = inApp(QUIET, 1, { bytes: 1_000 });
  const call = encodeFrame(encodeCbor({ id: 1, kind: "operation", stamps, body }));
  for (let sent = 0; sent < 20_000; sent += 1) parent.write(call);
  let before = -1;
  for (let quiet = 0; quiet < 20; quiet += 1) {
    await world.turn();
    if (world.started.length !== before) quiet = 0;
    before = world.started.length;
  }
  // It reads on only while answers are taken: what waits to leave is what was under way when they were not any more.
  expect(enclave.writableNeedDrain).toBe(true);
  expect(enclave.writableLength).toBeLessThan(1024 * 1024);
  expect(enclave.readableLength).toBeLessThan(1024 * 1024);
  expect(world.started.length).toBeLessThan(2_048);
  expect(world.admission.load).toEqual({ waiting: 0, running: 0 });
});

test("what has waited longer than callers do is BUSY and not begun, when its turn comes", async () => {
  const world = held({ maxWaitMs: 1_000 }, 4);
  const first = [inApp(QUIET, 1), inApp(QUIET, 1)].map((request) => world.admission.handle(request));
  const late = world.admission.handle(inApp(QUIET, 1));
  await world.turn();
  world.pass(1_001);
  const inTime = world.admission.handle(inApp(QUIET, 1));
  await world.serve(4);
  expect(codeOf(await late)).toBe("BUSY");
  expect((await Promise.all([...first, inTime])).map(codeOf)).toEqual(["ran", "ran", "ran"]);
  expect(world.started).toHaveLength(3);
});

test("and so it is where nothing that runs ever ends", async () => {
  const world = held({ maxWaitMs: 1 }, 2);
  const answers = Array.from({ length: 2 }, () => world.admission.handle(inApp(QUIET, 1)));
  const late = world.admission.handle(inApp(QUIET, 1));
  world.pass(10);
  expect(codeOf(await late)).toBe("BUSY");
  await world.serve(2);
  await Promise.all(answers);
});

test("a body that names its app where no client writes it, twice or nowhere, is only ever its own sender's affair", async () => {
  const world = held();
  const odd = (text: string): ReceivedRequest => ({ body: Buffer.from(text), stamps: [stampOf(7)] });
  const audience = `${DEPLOYMENT}/${QUIET}`;
  await proven(
    world,
    odd(`{"params":{"audience":"${DEPLOYMENT}/${NOISY}"},"audience":"${audience}","operation":"list_wallets"}`),
  );
  for (const text of ["", "{", "[]", "null", "7", `{"audience":7}`, `{"audience":"elsewhere/${QUIET}"}`]) {
    const answer = world.admission.handle(odd(text));
    await world.turn();
    await world.serve(1, 400);
    expect(codeOf(await answer)).toBe("ran");
  }
  // Proven in the app that the whole body names, not in the one that its params do.
  for (let n = 0; n < 300; n += 1) void world.admission.handle(inApp(NOISY, 9));
  for (let n = 0; n < 300; n += 1) void world.admission.handle(inApp(QUIET, 9));
  await world.turn();
  expect(codeOf(await world.admission.handle(inApp(NOISY, 7)))).toBe("BUSY");
  const quiet = watch(world, inApp(QUIET, 7));
  await world.serve(4, 401);
  expect(quiet.before()).toBeGreaterThanOrEqual(0);
});

test("credentials are told by their stamps, of keys and of passkeys, and garbage by none", () => {
  const key = Buffer.from([2, ...Array(32).fill(9)]).toString("hex");
  expect(credentialOf(stampOf(9))).toBe(credentialOfKey(key));
  expect(credentialOf(stampOf(9))).not.toBe(credentialOf(stampOf(8)));
  const fields = {
    authenticatorData: new Uint8Array(37),
    clientDataJson: new Uint8Array(9),
    signature: new Uint8Array(9),
  };
  const passkey = (fill: number) =>
    encodeWebauthnStamp({ credentialId: new Uint8Array(16).fill(fill), ...fields } as never);
  expect(credentialOf(passkey(1))).toBe(0x010101010101);
  expect(credentialOf(passkey(1))).not.toBe(credentialOf(passkey(2)));
  for (const garbage of [undefined, "", "{}", "!!", Buffer.from('{"publicKey":"zz"}').toString("base64url")]) {
    expect(credentialOf(garbage)).toBeUndefined();
  }
  expect(credentialOfKey("02zz")).toBeUndefined();
});

test("a noisy app's credentials push out its own, and then those of the app that was idle longest", () => {
  const known = new ProvenCredentials(10, 6);
  known.add("idle", 1, 0);
  known.add("quiet", 1, 0);
  for (let n = 0; n < 100; n += 1) {
    known.add("noisy", n, n);
    known.add("quiet", 1, n);
  }
  expect([known.has("noisy", 93, 99), known.has("noisy", 99, 99)]).toEqual([false, true]);
  for (let n = 0; n < 5; n += 1) known.add("another", n, 100);
  expect([known.knowsApp("idle"), known.has("quiet", 1, 100)]).toEqual([false, true]);
  // Nothing is known for ever.
  expect(known.has("quiet", 1, 100 + 11 * 60_000)).toBe(false);
});

test("of what is large nothing is read before its turn but how it begins: parsing it would cost more than stamps do", () => {
  const audience = `${DEPLOYMENT}/${QUIET}`;
  const claimed = (fields: object) => claimOf({ body: Buffer.from(JSON.stringify(fields)), stamps: [] }, DEPLOYMENT);
  const params = "x".repeat(10_000);
  expect(claimed({ params: "", audience, operation: "sign_batch" })).toMatchObject({ app: QUIET, isBatch: true });
  expect(claimed({ operation: "sign_batch", audience, params })).toMatchObject({ app: QUIET, isBatch: true });
  expect(claimed({ params, audience, operation: "sign_batch" })).toMatchObject({ app: null, isBatch: false });
});
