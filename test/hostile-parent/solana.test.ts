/** Whoever holds a session and the parent, and wants a transaction signed that policies do not let pass as one. */
import { createPublicKey, verify } from "node:crypto";
import { type Address, address, createNoopSigner } from "@solana/kit";
import { getTransferSolInstruction } from "@solana-program/system";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import type { Account, JsonValue, OperationName, Policy } from "../../protocol/index.ts";
import { decodeHex, encodeHex, REQUEST_PORT } from "../../protocol/index.ts";
import { createApp, type LoggedIn, logIn } from "../support/app.ts";
import { type HostileWorld, startHostileWorld } from "../support/hostile-world.ts";
import { requestBody, send } from "../support/raw-request.ts";
import { makeTransaction, named } from "../support/solana.ts";

/** All but transactions. */
const NO_TRANSACTIONS: Policy = {
  v: 1,
  rules: [{ id: "talk", effect: "allow", when: [{ field: "kind", in: ["solana-message", "raw-digest"] }] }],
};

let world: HostileWorld;
let appId: string;
let alice: LoggedIn;
let walletId: string;
let account: Account;
let own: Address;

beforeAll(async () => {
  world = await startHostileWorld();
  appId = await createApp(world.simulator, world.client, { policy: NO_TRANSACTIONS });
  alice = await logIn(world.simulator, world.client, appId, "alice");
  const wallet = await alice.session.createWallet({
    kind: "single-key",
    curve: "ed25519",
    accounts: [{ format: "solana" }, { format: "none", curve: "ed25519" }],
  });
  walletId = wallet.walletId;
  account = wallet.accounts[0];
  own = address(account.address);
});
afterAll(() => world.simulator.stop());
afterEach(() => {
  delete world.hostile.hooks.message;
});

function theft(version: "legacy" | 0) {
  const source = createNoopSigner(own);
  const instruction = getTransferSolInstruction({ source, destination: named("mallory"), amount: 1_000_000_000n });
  return makeTransaction([instruction], { feePayer: own, version });
}

async function ask(operation: OperationName, params: JsonValue) {
  return await send(world.simulator, requestBody(world.simulator, { operation, appId, params }), alice.key);
}

describe("a transaction", () => {
  test.each(["legacy", 0] as const)(
    "of version %s is signed as nothing else where policies deny it",
    async (version) => {
      const { wire, message } = theft(version);
      const hex = (bytes: Uint8Array): string => `0x${encodeHex(bytes)}`;
      const raw = (name: string) => ({ walletId, account: name, scheme: "eddsa", digest: hex(message) });
      const asked: [OperationName, JsonValue, string][] = [
        ["sign_solana_transaction", { walletId, transaction: hex(wire) }, "POLICY_DENIED"],
        ["sign_solana_message", { walletId, message: hex(message) }, "MESSAGE_MALFORMED"],
        ["sign_solana_message", { walletId, message: hex(wire) }, "MESSAGE_MALFORMED"],
        ["sign_digest", raw(account.address), "NOT_RAW"],
        // The same key by its other name.
        ["sign_digest", raw(account.publicKey), "NOT_RAW"],
        ["sign_message", { walletId, message: hex(message) }, "ACCOUNT_NOT_FOUND"],
      ];
      for (const [operation, params, code] of asked) {
        expect({ operation, ...(await ask(operation, params)) }).toMatchObject({ operation, code, result: undefined });
      }
      // What is no transaction is signed, so that the refusals above were not for want of a permission.
      const { result } = await ask("sign_digest", { ...raw(account.address), digest: "0x61" });
      const { signature } = result as { signature: string };
      const der = Buffer.concat([Buffer.from("302a300506032b6570032100", "hex"), decodeHex(account.publicKey)]);
      const key = createPublicKey({ key: der, format: "der", type: "spki" });
      expect(verify(null, Buffer.from("a"), key, decodeHex(signature.slice(2)))).toBe(true);
      expect(verify(null, message, key, decodeHex(signature.slice(2)))).toBe(false);
    },
  );

  test("in the place of the message that the user stamped is refused", async () => {
    const text = `0x${encodeHex(Buffer.from("sign me in"))}`;
    world.hostile.hooks.message = (port, direction, sent) => {
      if (port !== REQUEST_PORT || direction !== "to-enclave" || !("body" in sent)) return sent;
      const body = Buffer.from(sent.body)
        .toString()
        .replace(text, `0x${encodeHex(theft(0).message)}`);
      return { ...sent, body: Buffer.from(body) };
    };
    expect(await ask("sign_solana_message", { walletId, message: text })).toMatchObject({ code: "STAMP_INVALID" });
  });
});
