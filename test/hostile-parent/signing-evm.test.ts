/** A parent that would have another thing signed than was asked for, or show another signature than was made. */
import { entryPoint06Address, entryPoint07Address } from "viem/account-abstraction";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import type { Session } from "../../client/index.ts";
import { type AppOperation, REQUEST_PORT } from "../../protocol/index.ts";
import type { HostileParent, Simulator } from "../../simulator/index.ts";
import { ALLOW_ALL } from "../support/allow-all.ts";
import { appParams, logIn } from "../support/app.ts";
import { startHostileWorld } from "../support/hostile-world.ts";
import { usdcTransfer } from "../support/transactions.ts";

let simulator: Simulator;
let hostile: HostileParent;
let session: Session;
let walletId: string;

beforeAll(async () => {
  const world = await startHostileWorld();
  ({ simulator, hostile } = world);
  const { signingPolicy: _short, ...app } = appParams(simulator);
  const { appId } = await world.client.createApp([simulator.administratorKey], { ...app, policy: ALLOW_ALL });
  ({ session } = await logIn(simulator, world.client, appId, "alice"));
  ({ walletId } = await session.createWallet({ kind: "single-key" }));
});
afterAll(() => simulator.stop());
afterEach(() => {
  delete hostile.hooks.message;
});

const SPENDER = `0x${"11".repeat(20)}`;
const ATTACKERS = `0x${"66".repeat(20)}`;
const typedData = {
  types: {
    EIP712Domain: [{ name: "chainId", type: "uint256" }],
    Permit: [
      { name: "spender", type: "address" },
      { name: "value", type: "uint256" },
    ],
  },
  primaryType: "Permit",
  domain: { chainId: 1 },
  message: { spender: SPENDER, value: "25" },
};
const gas = { callGasLimit: "1", verificationGasLimit: "1", preVerificationGas: "1" };
const userOperation = {
  ...{ version: "0.6" as const, sender: SPENDER, nonce: "1", callData: "0x", factory: null, paymaster: null },
  ...{ ...gas, maxFeePerGas: "7", maxPriorityFeePerGas: "2" },
};

/** What each asks, and what a parent would have in its place. */
const asks: readonly (readonly [AppOperation, () => Promise<object>, string, string])[] = [
  [
    "sign_transaction",
    () => session.signTransaction({ walletId, chainId: "1", unsignedTransaction: usdcTransfer() }),
    ...(["017d7840", "7fffffff"] as const),
  ],
  ["sign_typed_data", () => session.signTypedData({ walletId, typedData }), SPENDER, ATTACKERS],
  [
    "sign_authorization",
    () => session.signAuthorization({ walletId, chainId: "1", delegate: SPENDER, nonce: "0" }),
    ...([SPENDER, ATTACKERS] as const),
  ],
  [
    "sign_user_operation",
    () =>
      session.signUserOperation({
        ...{ walletId, chainId: "1", entryPoint: entryPoint06Address.toLowerCase(), over: "hash", userOperation },
      }),
    ...([entryPoint06Address.toLowerCase(), entryPoint07Address.toLowerCase()] as const),
  ],
];

describe.each(asks)("%s", (_name, ask, own, attackers) => {
  test("without an enemy is signed", async () => {
    await expect(ask()).resolves.toBeTypeOf("object");
  });

  test("asked for by the caller and changed by the parent is not signed", async () => {
    const answers: string[] = [];
    let changed = 0;
    hostile.hooks.message = (port, direction, message) => {
      if (port !== REQUEST_PORT || !("body" in message)) return message;
      const text = Buffer.from(message.body).toString();
      if (isAnswer(direction, message.body)) answers.push(text);
      if (direction !== "to-enclave") return message;
      if (text.includes(own)) changed += 1;
      return { ...message, body: Buffer.from(text.replace(own, attackers)) };
    };
    // The enclave's refusal is of another body than the caller's, so the caller does not take it for an answer either.
    await expect(ask()).rejects.toMatchObject({ code: "ANSWER_SIGNATURE_INVALID" });
    expect(changed).toBe(1);
    expect(answers).toEqual([expect.stringContaining('"code":"STAMP_INVALID"')]);
  });

  test("whose signature the parent exchanges is not taken", async () => {
    hostile.hooks.message = (port, direction, message) => {
      if (port !== REQUEST_PORT || !("body" in message) || !isAnswer(direction, message.body)) return message;
      const text = Buffer.from(message.body)
        .toString()
        .replace(/(0x[0-9a-f]{8})[0-9a-f]{8}/, "$100000000");
      return { ...message, body: Buffer.from(text) };
    };
    await expect(ask()).rejects.toMatchObject({ code: "ANSWER_SIGNATURE_INVALID" });
  });
});

test("an answer that the parent kept from another request is not taken", async () => {
  const bodies: Uint8Array[] = [];
  hostile.hooks.message = (port, direction, message) => {
    if (port !== REQUEST_PORT || !("body" in message) || !isAnswer(direction, message.body)) return message;
    bodies.push(message.body);
    return { ...message, body: bodies[0] ?? message.body };
  };
  const permit = (value: string) =>
    session.signTypedData({ walletId, typedData: { ...typedData, message: { ...typedData.message, value } } });
  await permit("25");
  await expect(permit("26")).rejects.toMatchObject({ code: "ANSWER_SIGNATURE_INVALID" });
});

/** Not the attestation document, which the client asks for anew where an answer is not the enclave's. */
function isAnswer(direction: "to-enclave" | "to-parent", body: Uint8Array): boolean {
  return direction === "to-parent" && body[0] === "{".charCodeAt(0);
}
