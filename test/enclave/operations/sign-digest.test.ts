/** Raw digests: off by default, and what they are on where a policy names them. */
import { createHash, createPublicKey, verify } from "node:crypto";
import { address, createNoopSigner } from "@solana/kit";
import { getTransferSolInstruction } from "@solana-program/system";
import { type Hex, hashMessage, recoverAddress } from "viem";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Client, Session } from "../../../client/index.ts";
import { type Account, decodeHex, encodeHex, type Params, type Policy, type Wallet } from "../../../protocol/index.ts";
import { type Simulator, startSimulator } from "../../../simulator/index.ts";
import { createApp, logIn } from "../../support/app.ts";
import { makeTransaction, named } from "../../support/solana.ts";

const RAW_ALONE: Policy = {
  v: 1,
  rules: [{ id: "raw", effect: "allow", when: [{ field: "kind", in: ["raw-digest"] }] }],
};
const DIGEST = createHash("sha256").update("what nobody sees").digest();

let simulator: Simulator;
let client: Client;
let session: Session;
let wallet: Wallet;
const of = (curve: Account["curve"], format: Account["format"]): Account => {
  const found = wallet.accounts.find((account) => account.curve === curve && account.format === format);
  if (found === undefined) throw new Error(`no ${format} account on ${curve}`);
  return found;
};

beforeAll(async () => {
  simulator = await startSimulator();
  client = await simulator.connect();
  const appId = await createApp(simulator, client, { policy: RAW_ALONE });
  ({ session } = await logIn(simulator, client, appId, "alice"));
  wallet = await session.createWallet({
    kind: "hd",
    accounts: [{ format: "ethereum" }, { format: "solana" }, { format: "none", curve: "p256", path: "m/1'" }],
  });
});
afterAll(() => simulator.stop());

function sign(account: Account, scheme: Params<"sign_digest">["scheme"], digest: Uint8Array = DIGEST) {
  const params = { walletId: wallet.walletId, account: account.address, scheme, digest: `0x${encodeHex(digest)}` };
  return session.signDigest(params);
}

test("ECDSA on secp256k1: viem recovers the account", async () => {
  const ethereum = of("secp256k1", "ethereum");
  const { signature, recoveryId } = await sign(ethereum, "ecdsa");
  const whole = `${signature}${(27 + (recoveryId ?? 9)).toString(16)}` as Hex;
  expect(await recoverAddress({ hash: `0x${encodeHex(DIGEST)}`, signature: whole })).toBe(ethereum.address);
});

test("ECDSA on P-256: node:crypto verifies it", async () => {
  const nist = of("p256", "none");
  const { signature, recoveryId } = await sign(nist, "ecdsa");
  const head = Buffer.from("3039301306072a8648ce3d020106082a8648ce3d030107032200", "hex");
  const key = createPublicKey({ key: Buffer.concat([head, decodeHex(nist.publicKey)]), format: "der", type: "spki" });
  const bytes = decodeHex(signature.slice(2));
  expect(verify("sha256", Buffer.from("what nobody sees"), { key, dsaEncoding: "ieee-p1363" }, bytes)).toBe(true);
  expect(recoveryId).toBeNull();
});

test("BIP-340: the same request gives the same signature, and another digest another", async () => {
  const account = of("secp256k1", "ethereum");
  const first = await sign(account, "schnorr");
  expect(first).toMatchObject({ signature: expect.stringMatching(/^0x[0-9a-f]{128}$/), recoveryId: null });
  expect(await sign(account, "schnorr")).toEqual(first);
  expect(await sign(account, "schnorr", new Uint8Array(32))).not.toEqual(first);
});

test("Ed25519: the whole message, and nothing that Solana would take", async () => {
  const solana = of("ed25519", "solana");
  const head = Buffer.from("302a300506032b6570032100", "hex");
  const key = createPublicKey({ key: Buffer.concat([head, decodeHex(solana.publicKey)]), format: "der", type: "spki" });
  for (const message of [Buffer.from("a message of any length"), new Uint8Array(0)]) {
    const { signature } = await sign(solana, "eddsa", message);
    expect(verify(null, message, key, decodeHex(signature.slice(2)))).toBe(true);
  }
  const own = address(solana.address);
  const transfer = getTransferSolInstruction({
    ...{ source: createNoopSigner(own), destination: named("bob"), amount: 1n },
  });
  const { message } = makeTransaction([transfer], { feePayer: own });
  await expect(sign(solana, "eddsa", message)).rejects.toMatchObject({ code: "NOT_RAW", isFromEnclave: true });
});

test("INVALID_PARAMS, SCHEME_MISMATCH, ACCOUNT_NOT_FOUND", async () => {
  const ethereum = of("secp256k1", "ethereum");
  await expect(sign(ethereum, "ecdsa", new Uint8Array(31))).rejects.toMatchObject({ code: "INVALID_PARAMS" });
  await expect(sign(ethereum, "eddsa")).rejects.toMatchObject({ code: "SCHEME_MISMATCH" });
  await expect(sign({ ...ethereum, address: "0x" }, "ecdsa")).rejects.toMatchObject({ code: "ACCOUNT_NOT_FOUND" });
});

describe("off by default", () => {
  test.each<[string, Policy | null]>([
    ["no policy", null],
    ["one that allows everything", { v: 1, rules: [{ id: "everything", effect: "allow", when: [] }] }],
    [
      "one that allows all kinds but one",
      { v: 1, rules: [{ id: "r", effect: "allow", when: [{ not: { field: "kind", in: ["evm-message"] } }] }] },
    ],
  ])("POLICY_DENIED under %s", async (_which, policy) => {
    const appId = await createApp(simulator, client, { policy });
    const { session: other } = await logIn(simulator, client, appId, "alice");
    const { walletId, accounts } = await other.createWallet({ kind: "single-key" });
    // The digest of a message that this app would sign where it is shown: nobody can tell from the digest.
    const digest = hashMessage("hello");
    const asked = other.signDigest({ walletId, account: accounts[0].address, scheme: "ecdsa", digest });
    await expect(asked).rejects.toMatchObject({ code: "POLICY_DENIED", isFromEnclave: true });
  });

  test("and a policy that names raw digests allows nothing else", async () => {
    const { walletId } = wallet;
    await expect(session.signMessage({ walletId, message: "0x61" })).rejects.toMatchObject({ code: "POLICY_DENIED" });
    const text = { walletId, message: "0x61" };
    await expect(session.signSolanaMessage(text)).rejects.toMatchObject({ code: "POLICY_DENIED" });
  });
});
