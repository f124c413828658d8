/** Requests for policies to judge, one of each kind, which tests change. */
import fc from "fast-check";
import { type CompiledPolicy, compilePolicy } from "../../../enclave/policy/compile.ts";
import { decide, type Level, type Verdict } from "../../../enclave/policy/decide.ts";
import { Evaluation } from "../../../enclave/policy/evaluation.ts";
import type { EvmTransactionFacts, Facts } from "../../../enclave/policy/facts.ts";
import type { PolicyRequest } from "../../../enclave/policy/fields.ts";
import { type Condition, type Policy, policy, type Rule } from "../../../protocol/index.ts";

export const ALICE = "usr_00000000000000000000000000000a11";
export const WALLET = `wal_${"1".repeat(32)}`;
export const USDC = "0xA0b86991c6218b36c1d19D4a2e9Eb0cE3606eB48";
export const BOB = "0xd8dA6BF26964aF9D7eEd9e03E53415D37aA96045";
export const CAROL = "0x5B38Da6a701c568545dCfcB03FcB875f56beddC4";
export const FROM = "0x7E5F4552091A69125d5DfCb7b8C2659029395Bdf";
/** 2026-01-07, a Wednesday, 12:00 UTC. */
export const WEDNESDAY_NOON = Date.parse("2026-01-07T12:00:00Z");

export function transferData(to: string, amount: bigint, selector = "a9059cbb"): Uint8Array {
  const words = to.slice(2).toLowerCase().padStart(64, "0") + amount.toString(16).padStart(64, "0");
  return Uint8Array.from(Buffer.from(selector + words, "hex"));
}

export const TRANSACTION: EvmTransactionFacts = {
  ...{ kind: "evm-transaction", type: 2, chainId: 1n, nonce: 7n, from: FROM, to: BOB, valueWei: 10n ** 18n },
  ...{ data: new Uint8Array(0), gasLimit: 21_000n, maxFeePerGasWei: 10n ** 10n, maxFeeWei: 21n * 10n ** 13n },
  ...{ tokenMoves: [], hasUnreadTokenCall: false, blobs: 0, authorizations: [] },
};

export function usdcTransfer(recipient: string, amount: bigint): EvmTransactionFacts {
  const move = { standard: "erc20", effect: "transfer", token: USDC, owner: FROM, recipient, amount } as const;
  const tokenMoves = [{ ...move, tokenId: null }];
  return { ...TRANSACTION, to: USDC, valueWei: 0n, data: transferData(recipient, amount), tokenMoves };
}

export const SAMPLES: { readonly [Kind in Facts["kind"]]: Extract<Facts, { readonly kind: Kind }> } = {
  "evm-transaction": TRANSACTION,
  "evm-message": { kind: "evm-message", from: FROM, message: Uint8Array.from(Buffer.from("Sign in: 1")) },
  "evm-typed-data": {
    ...{ kind: "evm-typed-data", from: FROM, primaryType: "Permit" },
    domain: { name: "USD Coin", version: "2", chainId: 1n, verifyingContract: USDC, salt: null },
    message: { owner: FROM, spender: BOB, value: 5n, legs: [{ to: BOB }, { to: CAROL }], none: [] },
  },
  "evm-authorization": { kind: "evm-authorization", from: FROM, chainId: 1n, delegate: CAROL, nonce: 3n },
  "evm-user-operation": {
    ...{ kind: "evm-user-operation", from: FROM, version: "0.7", chainId: 1n, entryPoint: CAROL, sender: FROM },
    ...{ nonce: 1n, callData: new Uint8Array(0), calls: [{ to: BOB, valueWei: 5n, data: new Uint8Array(0) }] },
    ...{ tokenMoves: [], hasUnreadTokenCall: false, factory: null, delegate: null, paymaster: null, maxFeeWei: 9n },
  },
  "solana-transaction": {
    ...{
      kind: "solana-transaction",
      from: "A1",
      version: 0,
      feePayer: "A1",
      programs: ["11111111111111111111111111111111"],
    },
    transfers: [
      {
        ...{ asset: "sol", effect: "transfer", mint: null, source: "A1", authority: "A1", destination: "B1" },
        ...{ destinationOwner: null, amount: 500n },
      },
    ],
    ...{ unknownInstructions: [], usesAddressTables: false, maxFeeLamports: 5000n, usesDurableNonce: false, memos: [] },
  },
  "solana-message": {
    ...{ kind: "solana-message", from: "A1", message: Uint8Array.of(0xff), form: "text", applicationDomain: null },
  },
  "bitcoin-transaction": {
    ...{ kind: "bitcoin-transaction", network: "bitcoin", feeSats: 300n, spentSats: 1300n, sighashTypes: ["ALL"] },
    inputs: [{ txid: "00".repeat(32), index: 0, address: "bc1qown", amountSats: 5000n, isOwn: true }],
    outputs: [
      { address: "bc1qfriend", script: new Uint8Array(22), amountSats: 1000n, isChange: false },
      { address: "bc1qown", script: new Uint8Array(22), amountSats: 3700n, isChange: true },
    ],
  },
  "bitcoin-message": { kind: "bitcoin-message", from: "bc1qown", message: Uint8Array.of(0x61) },
  "raw-digest": { kind: "raw-digest", curve: "p256", scheme: "ecdsa", from: "02", digest: new Uint8Array(32).fill(7) },
  "wallet-export": { kind: "wallet-export", form: "private-key", from: FROM, recipient: new Uint8Array(32).fill(9) },
};
export const ALL_FACTS: readonly Facts[] = Object.values(SAMPLES);

export function requestFor(facts: Facts, changes: Partial<PolicyRequest> = {}): PolicyRequest {
  return {
    caller: { kind: "session", userId: ALICE, sessionId: "ses_1", loginId: "idn_1", publicKey: "02ab" },
    ...{ operation: "sign_transaction", walletId: WALLET, facts, nowMs: WEDNESDAY_NOON },
    ...changes,
  };
}

export function documentOf(...rules: readonly Rule[]): Policy {
  return policy.parse({ v: 1, rules });
}

export function compiled(...rules: readonly Rule[]): CompiledPolicy {
  return compilePolicy(documentOf(...rules));
}

export function allow(id: string, ...when: readonly Condition[]): Rule {
  return { id, effect: "allow", when };
}

export function deny(id: string, ...when: readonly Condition[]): Rule {
  return { id, effect: "deny", when };
}

export function judge(
  facts: Facts,
  rules: readonly Rule[],
  changes: Partial<PolicyRequest> & { readonly level?: Level; readonly maxSteps?: number } = {},
): Verdict {
  const { maxSteps, ...others } = changes;
  return decide(new Evaluation(requestFor(facts, others), maxSteps), [{ level: "app", policy: compiled(...rules) }]);
}

/** Whether a rule with these conditions lets it through. */
export function allows(facts: Facts, when: readonly Condition[], changes: Partial<PolicyRequest> = {}): boolean {
  return judge(facts, [allow("it", ...when)], changes).kind === "open";
}

/** Whether a rule with these conditions holds it up, where everything else is allowed. */
export function denies(facts: Facts, when: readonly Condition[], changes: Partial<PolicyRequest> = {}): boolean {
  return judge(facts, [allow("everything"), deny("it", ...when)], changes).kind === "denied";
}

const address = fc.constantFrom(BOB, CAROL, USDC, FROM);
const amount = fc.oneof(fc.bigInt(0n, 20n), fc.bigInt(0n, 2n ** 256n - 1n));

export const anyFacts: fc.Arbitrary<Facts> = fc.oneof(
  fc.constantFrom(...ALL_FACTS),
  fc
    .record({ to: fc.option(address), valueWei: amount, chainId: fc.bigInt(1n, 3n), nonce: fc.bigInt(0n, 3n) })
    .map((changes): Facts => ({ ...TRANSACTION, ...changes })),
  fc.record({ to: address, amount }).map((made): Facts => usdcTransfer(made.to, made.amount)),
);

const decimals = fc.array(amount.map(String), { minLength: 1, maxLength: 3 });
const leaf: fc.Arbitrary<Condition> = fc.oneof(
  fc.record({ field: fc.constantFrom("evm.value", "evm.nonce", "bitcoin.fee", "solana.maxFee"), in: decimals }),
  fc.record({ field: fc.constantFrom("evm.value", "bitcoin.spent"), atMost: amount.map(String) }),
  fc.record({ field: fc.constantFrom("evm.value", "evm.maxFee"), atLeast: amount.map(String) }),
  fc.record({ field: fc.constantFrom("evm.to", "from"), in: fc.array(address, { minLength: 1, maxLength: 2 }) }),
  fc.record({
    field: fc.constant("kind"),
    in: fc.array(fc.constantFrom(...ALL_FACTS.map(({ kind }) => kind)), { minLength: 1, maxLength: 4 }),
  }),
  fc.record({ field: fc.constant("evm.understood"), is: fc.boolean() }),
  fc.constant({ call: "transfer(address,uint256)" }),
  fc.record({
    call: fc.constant("transfer(address,uint256)"),
    args: fc.tuple(fc.record({ arg: fc.constant("1"), atMost: amount.map(String) })),
  }),
  fc.record({ typed: fc.constantFrom("spender", "legs[].to"), in: fc.tuple(address) }),
  fc.constantFrom(
    { timeOfDay: ["08:00", "18:00"] } as const,
    { timeOfDay: ["22:00", "06:00"], days: ["wed"] } as const,
  ),
) as fc.Arbitrary<Condition>;
const element: fc.Arbitrary<Condition> = fc.oneof(
  fc.record({ field: fc.constant("move.recipient"), in: fc.tuple(address) }),
  fc.record({ field: fc.constant("move.amount"), atMost: amount.map(String) }),
) as fc.Arbitrary<Condition>;
const quantified = fc.oneof(
  fc.record({ some: fc.constant("moves"), is: fc.array(element, { minLength: 1, maxLength: 2 }) }),
  fc.record({ every: fc.constant("moves"), is: fc.array(element, { minLength: 1, maxLength: 2 }) }),
) as fc.Arbitrary<Condition>;
const shallow = fc.oneof(leaf, leaf, quantified);
const inside = fc.array(shallow, { minLength: 1, maxLength: 3 });
export const anyCondition: fc.Arbitrary<Condition> = fc.oneof(
  shallow,
  fc.record({ all: inside }),
  fc.record({ any: inside }),
  fc.record({ not: shallow }),
  fc.record({ not: fc.record({ all: inside }) }),
);

const effect = fc.constantFrom("allow" as const, "deny" as const);
export const anyRules: fc.Arbitrary<readonly Rule[]> = fc
  .uniqueArray(
    fc.record({ id: fc.stringMatching(/^[a-z0-9]{1,4}$/), effect, when: fc.array(anyCondition, { maxLength: 2 }) }),
    { maxLength: 8, selector: ({ id }) => id },
  )
  .map((rules) => rules as readonly Rule[]);
