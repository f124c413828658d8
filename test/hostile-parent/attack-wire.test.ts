/**
 * Rows of the attack table (docs/threat-model.md, "The attack table") that concern bytes and time: each test is named
 * after its row.
 */
import { readFileSync } from "node:fs";
import { connect as connectTcp, type Socket } from "node:net";
import { recoverMessageAddress } from "viem";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { encodeHex, type JsonValue, RECORDS_PORT, REQUEST_PORT, type Wallet } from "../../protocol/index.ts";
import type { Misdeed, Rule } from "../../simulator/hostile-parent.ts";
import type { HostileParent, Simulator } from "../../simulator/index.ts";
import { appParams, type LoggedIn } from "../support/app.ts";
import { startHostileWorld } from "../support/hostile-world.ts";
import { requestBody, send } from "../support/raw-request.ts";

const DAY_MS = 24 * 60 * 60_000;

let simulator: Simulator;
let hostile: HostileParent;
let appId: string;
let alice: LoggedIn;
let wallet: Wallet;

beforeAll(async () => {
  ({ simulator, hostile, appId, alice, wallet } = await startHostileWorld());
});
afterAll(() => simulator.stop());
afterEach(() => {
  hostile.hooks.script = undefined;
});

function misbehave(misdeed: Misdeed, where: Partial<Rule> = {}): void {
  hostile.hooks.script = { seed: "attack table", rules: [{ ...where, misdeed }] };
}

async function codeOf(call: Promise<unknown>): Promise<string> {
  return await call.then(
    () => "done",
    (error: { code: string }) => error.code,
  );
}

async function signerOf(message: `0x${string}`): Promise<string> {
  const { signature } = await alice.session.signMessage({ walletId: wallet.walletId, message });
  return recoverMessageAddress({ message: { raw: message }, signature: signature as `0x${string}` });
}

const hexOf = (length: number) => `0x${encodeHex(new Uint8Array(length).fill(0x5a))}` as const;

/** Linux: VmHWM of proc_pid_status(5), in kB. */
function mostMemoryMib(pid: number): number {
  return Number(/^VmHWM:\s+([0-9]+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1]) / 1024;
}

test("vsock DoS by external users: idle connections and bodies that never end leave other callers served", async () => {
  const { hostname, port } = new URL(simulator.url);
  const sockets: Socket[] = [];
  const open = (said: string) => {
    const socket = connectTcp({ host: hostname, port: Number(port) }, () => socket.write(said));
    socket.on("error", () => {});
    sockets.push(socket);
  };
  for (let at = 0; at < 400; at += 1) {
    open(at % 2 === 0 ? "POST /v1/list_wallets HTTP/1.1\r\nHost: x\r\n" : "");
    open('POST /v1/list_wallets HTTP/1.1\r\nHost: x\r\nContent-Length: 200000\r\n\r\n{"operation"');
  }
  await expect.poll(() => sockets.every(({ connecting }) => !connecting), { timeout: 10_000 }).toBe(true);
  const calls = Array.from({ length: 20 }, () => alice.session.listWallets());
  for (const { wallets } of await Promise.all(calls)) expect(wallets).toHaveLength(1);
  for (const socket of sockets) socket.destroy();
});

describe("length-prefix DoS: a frame that", () => {
  test.each<[string, Misdeed]>([
    ["claims 4 GiB", { kind: "replace", with: "huge-length" }],
    ["claims nothing", { kind: "replace", with: "zero-length" }],
    ["ends early", { kind: "truncate", by: "end" }],
    ["is cut off", { kind: "truncate", by: "cut" }],
    ["holds no CBOR", { kind: "replace", with: "garbage" }],
    ["holds what no schema knows", { kind: "replace", with: { message: { id: 1, kind: "surprise" } } }],
  ])("%s costs its own stream, and neither memory nor the process", async (_name, misdeed) => {
    const { enclavePid, parentPid } = simulator;
    for (const port of [REQUEST_PORT, RECORDS_PORT]) {
      for (const direction of ["to-enclave", "to-parent"] as const) {
        misbehave(misdeed, { port, direction, times: 1 });
        // A wallet that has just signed is open still: a list is read from the records whatever was read before.
        const asked = port === RECORDS_PORT ? alice.session.listWallets() : signerOf("0x00");
        expect(await codeOf(asked)).toMatch(/^(PARENT_ENCLAVE_UNREACHABLE|RECORDS_UNAVAILABLE)$/);
        hostile.hooks.script = undefined;
        expect(await signerOf("0x00")).toBe(wallet.accounts[0].address);
      }
    }
    for (const pid of [enclavePid, parentPid]) expect(mostMemoryMib(pid)).toBeLessThan(1024);
    expect([simulator.enclavePid, simulator.parentPid]).toEqual([enclavePid, parentPid]);
  });
});

describe("vsock data faults:", () => {
  const SIZES = [0, 1, 1023, 15_000, 15_600, 16_000, 16_384, 31_000, 32_767, 32_768, 32_769, 65_536];

  test.each(["31-to-33-KiB", "random", "one-byte"] as const)("pieces of %s change nothing", async (size) => {
    misbehave({ kind: "split", size });
    for (const length of SIZES) expect(await signerOf(hexOf(length))).toBe(wallet.accounts[0].address);
  });

  test("a bit that flips in a large message is noticed, whichever way it goes", async () => {
    for (const of of ["operation", "answer"]) {
      misbehave({ kind: "flip", bits: 1, where: "payload" }, { port: REQUEST_PORT, of });
      for (const length of [15_000, 16_384, 65_536]) expect(await codeOf(signerOf(hexOf(length)))).not.toBe("done");
    }
    hostile.hooks.script = undefined;
    expect(await signerOf("0x01")).toBe(wallet.accounts[0].address);
  });

  test("a stream that is reset inside a large message costs that message alone", async () => {
    for (const direction of ["to-enclave", "to-parent"] as const) {
      misbehave({ kind: "truncate", by: "cut" }, { port: REQUEST_PORT, direction, times: 1 });
      expect(await codeOf(signerOf(hexOf(65_536)))).toBe("PARENT_ENCLAVE_UNREACHABLE");
      expect(await signerOf(hexOf(65_536))).toBe(wallet.accounts[0].address);
    }
  });
});

test("CID confusion: an enclave that was started anew is found again by callers who were connected before", async () => {
  expect((await alice.session.listWallets()).wallets).toHaveLength(1);
  await simulator.killEnclave();
  await simulator.startEnclave();
  expect((await alice.session.listWallets()).wallets).toEqual([wallet]);
  expect(await signerOf("0x02")).toBe(wallet.accounts[0].address);
});

test("time manipulation: the instance's clock, a day off either way, decides nothing", async () => {
  // The simulated world moves; the machine's clock, which parent and enclave process could read, stays behind.
  await simulator.advanceClock(DAY_MS);
  const administrator = simulator.administratorKey;
  const create = (issuedAtMs: number) => {
    const params = appParams(simulator);
    return send(
      simulator,
      requestBody(simulator, { operation: "create_app", params: params as JsonValue, issuedAtMs }),
      administrator,
    );
  };
  expect((await create(Date.now())).code).toBe("REQUEST_STALE");
  expect((await create(simulator.nowMs() + DAY_MS)).code).toBe("REQUEST_FROM_FUTURE");
  expect((await create(simulator.nowMs() - 50)).code).toBeNull();
  // The session's time has run out by the enclave's clock, whatever the parent's says.
  expect((await sendListing()).code).toBe("SESSION_EXPIRED");
});

function sendListing() {
  return send(
    simulator,
    requestBody(simulator, { operation: "list_wallets", appId, params: { after: null } }),
    alice.key,
  );
}
