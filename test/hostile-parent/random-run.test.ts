/** The random run of `make hostile`, short and with a fixed seed; and that its accounts notice what they are for. */

import { privateKeyToAccount } from "viem/accounts";
import { describe, expect, test } from "vitest";
import { EGRESS_PORT, encodeBase64url, LOG_PORT, RECORDS_PORT, REQUEST_PORT } from "../../protocol/index.ts";
import type { Seen } from "../../simulator/hostile-parent.ts";
import { usdcTransfer } from "../support/transactions.ts";
import { checkAccepted, checkDone, type GivenAnswer, givenAnswers } from "./random-run/invariants.ts";
import { Ledger } from "./random-run/ledger.ts";
import { canariesOf, runHostile } from "./random-run/run.ts";

test("under a parent that misbehaves at random on every port, every invariant holds and the service recovers", async () => {
  const progress: string[] = [];
  const summary = await runHostile({ seed: "make test", requests: 80, say: (line) => progress.push(line) });
  expect(summary.violations, progress.join("\n")).toEqual([]);
  // A run in which nothing happened would prove nothing.
  expect(summary.results).toBeGreaterThan(50);
  expect(summary.wallets).toBeGreaterThan(5);
  expect(summary.canaries).toBeGreaterThan(20);
  const ports = new Set([...summary.misdeeds.keys()].map((name) => name.split(" ")[0]));
  for (const port of [REQUEST_PORT, RECORDS_PORT, EGRESS_PORT, LOG_PORT]) expect(ports).toContain(String(port));
}, 120_000);

describe("the accounts notice", () => {
  const account = privateKeyToAccount(`0x${"11".repeat(32)}`);
  const other = privateKeyToAccount(`0x${"22".repeat(32)}`);
  const unsignedTransaction = usdcTransfer();
  const params = { walletId: `wal_${"0".repeat(32)}`, chainId: "1", unsignedTransaction };
  const transaction = {
    type: "eip1559",
    chainId: 1,
    nonce: 0,
    to: "0xA0b86991c6218b36c1d19D4a2e9Eb0cE3606eB48",
    gas: 65_000n,
    maxFeePerGas: 30_000_000_000n,
    maxPriorityFeePerGas: 1_000_000_000n,
  } as const;
  const data = `0x${unsignedTransaction.slice(unsignedTransaction.indexOf("a9059cbb"), -2)}` as const;

  function answer(body: object, status = 200): GivenAnswer {
    return { status, signature: "AAAA", body: Buffer.from(JSON.stringify(body)) };
  }
  function ledgerWith(mayBeDone = true, stamped = 1): Ledger {
    const ledger = new Ledger();
    ledger.open("r1", { operation: "sign_transaction", params, address: account.address }, mayBeDone).stamped = stamped;
    return ledger;
  }
  const signedBy = async (signer: typeof account, changes = {}) =>
    answer({
      requestId: "r1",
      result: { signedTransaction: await signer.signTransaction({ ...transaction, data, ...changes }) },
    });

  test("nothing where all is well", async () => {
    expect(await checkDone(ledgerWith(), [await signedBy(account)])).toEqual([]);
  });

  test.each<[string, () => Promise<GivenAnswer[]>, Ledger, string]>([
    ["a signature by another wallet", async () => [await signedBy(other)], ledgerWith(), "signed by"],
    [
      "a signature of another transaction",
      async () => [await signedBy(account, { value: 1n })],
      ledgerWith(),
      "another transaction",
    ],
    ["a signature that was forbidden", async () => [await signedBy(account)], ledgerWith(false), "forbidden"],
    [
      "a request that was acted on twice",
      async () => [await signedBy(account), await signedBy(account)],
      ledgerWith(),
      "done 2 times",
    ],
    ["a request that nobody made", async () => [await signedBy(account)], new Ledger(), "nobody made"],
    [
      "a result without its signature",
      async () => [answer({ requestId: "r1", result: {} })],
      ledgerWith(),
      "no transaction",
    ],
  ])("%s", async (_name, given, ledger, why) => {
    expect(await checkDone(ledger, await given())).toEqual([expect.stringContaining(why)]);
  });

  test("two wallets for one request id", async () => {
    const ledger = new Ledger();
    ledger.open("r1", { operation: "create_wallet", owner: "alice", kind: "hd" }, true).stamped = 2;
    const made = (address: string) =>
      answer({ requestId: "r1", result: { walletId: "w", kind: "hd", accounts: [{ address }] } });
    expect(await checkDone(ledger, [made("0x1"), made("0x1")])).toEqual([]);
    expect(await checkDone(ledger, [made("0x1"), made("0x2")])).toEqual([expect.stringContaining("two wallets")]);
  });

  test("two wallets for one place of a batch", async () => {
    const ledger = new Ledger();
    ledger.open("r1", { operation: "create_wallets", owner: "alice", count: 2 }, true).stamped = 2;
    const made = (...addresses: (string | null)[]) => {
      const results = addresses.map((address) =>
        address === null ? { error: { code: "BUSY" } } : { wallet: { walletId: "w", accounts: [{ address }] } },
      );
      return answer({ requestId: "r1", result: { results } });
    };
    expect(await checkDone(ledger, [made("0x1", null), made("0x1", "0x2")])).toEqual([]);
    expect(await checkDone(ledger, [made("0x1", "0x2"), made("0x1", "0x3")])).toEqual([
      expect.stringContaining("two wallets"),
    ]);
    expect(await checkDone(ledger, [made("0x1")])).toEqual([expect.stringContaining("for each wallet")]);
  });

  test("what a batch signed wrongly, or although it was forbidden", async () => {
    const batch = async (signer: typeof account, mayBeDone: boolean) => {
      const ledger = new Ledger();
      const elements = [{ params, address: account.address, mayBeDone }];
      ledger.open("r1", { operation: "sign_batch", elements }, true).stamped = 1;
      const signedTransaction = await signer.signTransaction({ ...transaction, data });
      return checkDone(ledger, [answer({ requestId: "r1", result: { results: [{ result: { signedTransaction } }] } })]);
    };
    expect(await batch(account, true)).toEqual([]);
    expect(await batch(other, true)).toEqual([expect.stringContaining("signed by")]);
    expect(await batch(account, false)).toEqual([expect.stringContaining("forbidden")]);
  });

  test("an accepted answer that the enclave did not give, or gave to another request", () => {
    const body = Buffer.from(JSON.stringify({ requestId: "r1", result: {} }));
    const bytes = Uint8Array.of(1, 2, 3);
    const message = { id: 1, status: 200, body, signature: bytes };
    const seen: Seen = { port: REQUEST_PORT, direction: "to-parent", message, payload: bytes };
    const genuine = { status: 200, signature: encodeBase64url(bytes), body };
    const accepting = (requestId: string, accepted: GivenAnswer) => {
      const ledger = new Ledger();
      ledger.open(requestId, { operation: "list_wallets" }, true).accepted = accepted;
      return checkAccepted(ledger, givenAnswers([seen]));
    };
    expect(accepting("r1", genuine)).toEqual([]);
    expect(accepting("r2", genuine)).toEqual([expect.stringContaining("accepted the result of r1")]);
    for (const forged of [
      { status: 201 },
      { body: Buffer.from('{"requestId":"r1","result":[]}') },
      { signature: "AAAA" },
    ]) {
      expect(accepting("r1", { ...genuine, ...forged })).toContainEqual(expect.stringContaining("did not say"));
    }
  });

  test("every kind of secret that records and vault hold", () => {
    const secret = (fill: number, length = 32) => new Uint8Array(length).map((_byte, at) => fill + at);
    const canaries = canariesOf({
      vaultSecrets: new Map([[1, secret(1)]]),
      records: [
        { name: "wallet/a/u/w", version: 1, value: { privateKey: secret(50), entropy: secret(100, 16) } },
        { name: "keys/ids", version: 1, value: { key: secret(150), publicKey: secret(200) } },
      ],
      unopened: [],
    });
    for (const leaked of [secret(1), secret(50), secret(100, 16), secret(150)]) {
      expect(canaries.search("x", Buffer.from(Buffer.from(leaked).toString("hex")))).not.toEqual([]);
    }
    expect(canaries.search("x", secret(200))).toEqual([]);
    // Vault secret, private key, entropy with its mnemonic and seed, id key.
    expect(canaries.count).toBe(6);
  });
});
