/** Requests served by threads of the enclave's, with all that one thread would refuse. */
import { randomUUID } from "node:crypto";
import { EventEmitter } from "node:events";
import { Worker } from "node:worker_threads";
import { afterEach, describe, expect, test, vi } from "vitest";
import type { StampKey } from "../../../client/index.ts";
import type { ReceivedRequest } from "../../../enclave/answer.ts";
import { generationOf } from "../../../enclave/vault/record-cipher.ts";
import type { FromWorker } from "../../../enclave/workers/messages.ts";
import { workerOf } from "../../../enclave/workers/route.ts";
import type { AppConfig, AppOperation, JsonValue, StoredRecord } from "../../../protocol/index.ts";
import { EnclaveInProcess, type InProcessOptions } from "../../../scripts/bench/enclave-in-process.ts";
import { generateKeyOf } from "../../support/app-requests.ts";
import { usdcTransfer } from "../../support/transactions.ts";

const FAULTY = new URL("../../support/faulty-worker.ts", import.meta.url);
const WORKERS = 2;

let enclave: EnclaveInProcess;
let key: StampKey;
let walletId: string;

async function start(options: InProcessOptions = {}): Promise<void> {
  enclave = await EnclaveInProcess.start({ workers: WORKERS, heartbeatMs: 200, ...options });
  key = generateKeyOf("SIGNATURE_SCHEME_TK_API_P256");
  await enclave.logIn(key);
  walletId = ((await ask("create_wallet", { kind: "single-key" })) as { walletId: string }).walletId;
  await allServe();
}
afterEach(() => enclave.close());

const allServe = () => expect.poll(() => enclave.parts.workers.serving, { timeout: 20_000 }).toBe(WORKERS);

async function ask(operation: AppOperation, params: JsonValue): Promise<JsonValue> {
  return await enclave.result(await enclave.stamp(key, operation, params));
}

/** A request's id that leads to this worker. */
function idAt(worker: number): string {
  for (;;) {
    const requestId = randomUUID();
    const body = Buffer.from(JSON.stringify({ operation: "sign_message", requestId }));
    if (workerOf(body, WORKERS) === worker) return requestId;
  }
}

const hex = (text: string) => `0x${Buffer.from(text).toString("hex")}`;
const toSign = (message: string, worker: number) =>
  enclave.stamp(key, "sign_message", { walletId, message: hex(message) }, idAt(worker));

/** Null if it was done. */
async function codeOf(request: ReceivedRequest | Promise<ReceivedRequest>): Promise<string | null> {
  const { status, body, signature } = await enclave.parts.workers.handle(await request);
  expect(signature).toHaveLength(64);
  const answer = JSON.parse(Buffer.from(body).toString("utf8"));
  expect(status === 200).toBe(answer.error === undefined);
  return answer.error?.code ?? null;
}

const bothSign = () => Promise.all([0, 1].map((at) => codeOf(toSign("x", at))));

describe("a request", () => {
  test("is served by either worker, and a replay meets the one that remembers it", async () => {
    await start();
    for (const worker of [0, 1]) {
      const request = await toSign("x", worker);
      expect(await codeOf(request)).toBeNull();
      expect(await codeOf(request)).toBe("REQUEST_REPLAYED");
      expect(await Promise.all(Array.from({ length: 5 }, () => codeOf(request)))).toEqual(
        Array(5).fill("REQUEST_REPLAYED"),
      );
    }
    const twice = await toSign("x", 1);
    expect((await Promise.all([codeOf(twice), codeOf(twice)])).sort()).toEqual(["REQUEST_REPLAYED", null].sort());
  });

  test("that signs is not served by the main thread", async () => {
    await start();
    let opened = 0;
    const { wallets } = enclave.parts.services;
    wallets.bringing = () => {
      opened += 1;
      return wallets;
    };
    expect(await bothSign()).toEqual([null, null]);
    expect(opened).toBe(0);
    await ask("create_wallet", { kind: "single-key" });
    expect(opened).toBe(1);
  });

  test("is signed with the key that viem recovers, whoever signs", async () => {
    await start();
    const made = await Promise.all(
      [0, 1].map(async (at) => {
        const params = { walletId, chainId: "1", unsignedTransaction: usdcTransfer() };
        return await enclave.result(await enclave.stamp(key, "sign_transaction", params, idAt(at)));
      }),
    );
    expect(made[0]).toEqual(made[1]);
  });

  test("among many is answered together with others, and a single one alone", async () => {
    await start();
    const messages: (readonly FromWorker[])[] = [];
    const emit = vi.spyOn(Worker.prototype, "emit").mockImplementation(function (this: Worker, event, ...args) {
      if (event === "message") messages.push(args[0] as readonly FromWorker[]);
      return Reflect.apply(EventEmitter.prototype.emit, this, [event, ...args]) as boolean;
    });
    try {
      const answers = () => messages.map((said) => said.filter(({ kind }) => kind === "answer").length).filter(Boolean);
      expect(await codeOf(toSign("x", 0))).toBeNull();
      expect(answers()).toEqual([1]);
      messages.length = 0;
      const requests = await Promise.all(Array.from({ length: 48 }, () => toSign("x", 0)));
      expect(await Promise.all(requests.map(codeOf))).toEqual(Array(48).fill(null));
      expect(answers().reduce((all, each) => all + each, 0)).toBe(48);
      expect(answers().length).toBeLessThan(48);
    } finally {
      emit.mockRestore();
    }
  });

  test("is refused by a worker as by the main thread: a wrong stamp, another's wallet, no session", async () => {
    await start();
    const stranger = generateKeyOf("SIGNATURE_SCHEME_TK_API_P256");
    const of = (who: StampKey, id: string) =>
      enclave.stamp(who, "sign_message", { walletId: id, message: "0x00" }, idAt(0));
    expect(await codeOf(of(stranger, walletId))).toBe("SESSION_UNKNOWN");
    expect(await codeOf(of(key, `wal_${"0".repeat(32)}`))).toBe("WALLET_NOT_FOUND");
    const request = await of(key, walletId);
    const body = Buffer.from(request.body);
    body.write("1", body.indexOf('"0x00"') + 3);
    expect(await codeOf({ ...request, body })).toBe("STAMP_INVALID");
  });
});

test("a caller whose clock is ahead has as many requests wait as where there is one thread, at whichever it is", async () => {
  await start({ nowMs: () => Date.now() - 400 });
  const aheadAt = (worker: number) => Array.from({ length: 8 }, () => codeOf(toSign("x", worker)));
  expect(await Promise.all([...aheadAt(0), ...aheadAt(1)])).toEqual(Array(16).fill(null));
  const ahead = () => codeOf(enclave.stamp(key, "create_wallet", { kind: "single-key" }));
  expect(await Promise.all(Array.from({ length: 8 }, ahead))).toEqual(Array(8).fill(null));
});

describe("what the main thread has acknowledged", () => {
  test("counts at every worker for the very next request: a session's end", async () => {
    await start();
    for (let round = 0; round < 20; round += 1) {
      const session = generateKeyOf("SIGNATURE_SCHEME_TK_API_P256");
      await enclave.logIn(session);
      const by = (at: number) => enclave.stamp(session, "sign_message", { walletId, message: "0x00" }, idAt(at));
      expect(await Promise.all([codeOf(by(0)), codeOf(by(1))])).toEqual([null, null]);
      // Others are on their way while it ends: what they read must not count for those who come after.
      const onTheirWay = Promise.all([0, 1, 0, 1].map((at) => by(at).then(codeOf)));
      const next = await Promise.all([by(0), by(1)]);
      const { scheme, publicKey } = session;
      const { services, appId } = enclave.parts;
      const sessionId = services.sessions.idOf(appId, { scheme, publicKey, signature: new Uint8Array() });
      await ask("revoke_session", { sessionId });
      expect(await Promise.all(next.map(codeOf))).toEqual(["SESSION_UNKNOWN", "SESSION_UNKNOWN"]);
      await onTheirWay;
    }
  });

  test("cannot be rolled back for a worker: a wallet that was deleted, a user whose session ended", async () => {
    await start();
    expect(await bothSign()).toEqual([null, null]);
    const before = new Map(enclave.parts.parent.records);
    await ask("delete_wallet", { walletId, withoutExport: true });
    expect(await bothSign()).toEqual(["WALLET_NOT_FOUND", "WALLET_NOT_FOUND"]);
    restore(before, (name) => name.endsWith(walletId));
    expect(await bothSign()).toEqual(["RECORD_ROLLED_BACK", "RECORD_ROLLED_BACK"]);
    await ask("revoke_all_sessions", {});
    restore(before, () => true);
    expect(await bothSign()).toEqual(["RECORD_ROLLED_BACK", "RECORD_ROLLED_BACK"]);
  });

  function restore(from: ReadonlyMap<string, StoredRecord>, which: (name: string) => boolean): void {
    const { records } = enclave.parts.parent;
    for (const [name, record] of from) if (which(name)) records.set(name, record);
  }
});

describe("limits", () => {
  test("let as many through as there is room for, spread over workers at once", async () => {
    const room = 700;
    const limits = [{ asset: "requests", amount: String(room), windowS: 86_400, per: "app" }] as const;
    const policy = { v: 1, rules: [{ id: "some", effect: "allow", when: [], limits }] } as const;
    await start({ app: { policy: policy as unknown as NonNullable<AppConfig["policy"]> } });
    const requests: ReceivedRequest[] = [];
    for (let at = 0; at < 1_200; at += 1) requests.push(await toSign(`${at}`, at % WORKERS));
    const codes: (string | null)[] = [];
    const lanes = Array.from({ length: 64 }, async () => {
      for (let next = requests.pop(); next !== undefined; next = requests.pop()) codes.push(await codeOf(next));
    });
    await Promise.all(lanes);
    const counts = Object.groupBy(codes, (code) => code ?? "signed");
    expect(counts["signed"]).toHaveLength(room);
    expect(Object.keys(counts).sort()).toEqual(["POLICY_DENIED", "signed"]);
  }, 60_000);
});

describe("the vault", () => {
  test("is rotated while workers serve, and what they seal from then on is sealed anew", async () => {
    const limits = [{ asset: "requests", amount: "100000", windowS: 86_400, per: "app" }] as const;
    const policy = { v: 1, rules: [{ id: "some", effect: "allow", when: [], limits }] } as const;
    await start({ app: { policy: policy as unknown as NonNullable<AppConfig["policy"]> } });
    expect(await bothSign()).toEqual([null, null]);
    let isOver = false;
    const signing = [0, 1].map(async (at) => {
      const codes: (string | null)[] = [];
      while (!isOver) codes.push(await codeOf(toSign("x", at)));
      return codes;
    });
    await enclave.parts.services.rotation.begin();
    expect(await bothSign()).toEqual([null, null]);
    isOver = true;
    for (const codes of await Promise.all(signing)) expect(new Set(codes)).toEqual(new Set([null]));
    const counters = [...enclave.parts.parent.records.values()].filter(({ name }) => name.startsWith("limit/"));
    expect(counters.map(({ value }) => generationOf(value))).toEqual([2]);
    expect(await codeOf(enclave.stamp(key, "list_wallets", { after: null }, idAt(1)))).toBeNull();
  });
});

describe("a worker that fails", () => {
  test.each(["throw", "exit", "hang"])(
    "by %s is refused for, and started again; the other goes on",
    async (how) => {
      await start({ entry: FAULTY });
      const early = await toSign("early", 0);
      const failing = codeOf(toSign(how, 0));
      const others = [];
      while (others.length < 50) others.push(await codeOf(toSign("x", 1)));
      expect(new Set(others)).toEqual(new Set([null]));
      expect(await failing).toBe("WORKER_FAILED");
      // Nobody remembers whether what was issued before was acted on.
      await allServe();
      expect(await codeOf(early)).toBe("REQUEST_STALE");
      expect(await bothSign()).toEqual([null, null]);
    },
    60_000,
  );

  test("is not one that has much to do: while it answers it is not silent, however late it comes to a heartbeat", async () => {
    await start({ entry: FAULTY, heartbeatMs: 50 });
    // Whose records it has read lately: nothing but work is between it and its answers.
    for (let round = 0; round < 3; round += 1) expect(await bothSign()).toEqual([null, null]);
    const requests = await Promise.all(Array.from({ length: 16 }, () => toSign("work", 0)));
    expect(await Promise.all(requests.map(codeOf))).toEqual(Array(16).fill(null));
  });

  test("is not waited for: until it is back, what is for it is refused", async () => {
    await start({ entry: FAULTY });
    expect(await codeOf(toSign("throw", 0))).toBe("WORKER_FAILED");
    expect(await codeOf(toSign("x", 0))).toBe("WORKER_FAILED");
    expect(await codeOf(toSign("x", 1))).toBeNull();
  });

  test("whose write was under way has made all of it or none, and what was reserved is not reserved twice", async () => {
    const limits = [{ asset: "requests", amount: "2", windowS: 86_400, per: "app" }] as const;
    const policy = { v: 1, rules: [{ id: "some", effect: "allow", when: [], limits }] } as const;
    await start({ entry: FAULTY, app: { policy: policy as unknown as NonNullable<AppConfig["policy"]> } });
    const { parent } = enclave.parts;
    const requestId = idAt(0);
    const params = { walletId, message: hex("once") };
    const held = Promise.withResolvers<void>();
    const reached = Promise.withResolvers<void>();
    parent.answer = async (call, act) => {
      const answer = act();
      if (call.kind !== "write") return answer;
      reached.resolve();
      await held.promise;
      return answer;
    };
    const first = codeOf(enclave.stamp(key, "sign_message", params, requestId));
    await reached.promise;
    expect(await codeOf(toSign("throw", 0))).toBe("WORKER_FAILED");
    expect(await first).toBe("WORKER_FAILED");
    held.resolve();
    await allServe();
    expect(await codeOf(enclave.stamp(key, "sign_message", params, requestId))).toBeNull();
    expect(await codeOf(toSign("another", 1))).toBeNull();
    expect(await codeOf(toSign("a third", 1))).toBe("POLICY_DENIED");
  });
});

test("closed, workers end and what was for them is refused", async () => {
  await start();
  expect(await bothSign()).toEqual([null, null]);
  await enclave.parts.workers.close();
  expect(enclave.parts.workers.serving).toBe(0);
  expect(await bothSign()).toEqual(["WORKER_FAILED", "WORKER_FAILED"]);
});
