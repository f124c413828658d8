import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { checkPolicy, decide, type SigningSubject } from "../../../enclave/policy/decide.ts";
import { type SigningPolicy, WHOLE_SCOPE } from "../../../protocol/index.ts";

const chainId = fc.oneof(fc.bigInt(0n, 20n), fc.bigInt(0n, 2n ** 256n - 1n));
const policy = fc.record({
  evmChainIds: fc.array(chainId.map(String), { maxLength: 6 }),
  messages: fc.constantFrom("allow" as const, "deny" as const),
});
const subject: fc.Arbitrary<SigningSubject> = fc.oneof(
  chainId.map((id): SigningSubject => ({ kind: "evm-transaction", chainId: id })),
  fc.constant<SigningSubject>({ kind: "evm-message" }),
);

const NOTHING: SigningPolicy = { evmChainIds: [], messages: "deny" };

test("an empty policy denies everything", () => {
  fc.assert(
    fc.property(subject, (each) => {
      expect(decide(each, NOTHING).kind).toBe("deny");
    }),
  );
});

test("whatever a policy does not name is denied with its reason, and what it names is allowed", () => {
  fc.assert(
    fc.property(subject, policy, (each, given) => {
      const decision = decide(each, given);
      if (each.kind === "evm-message") {
        const denied = { kind: "deny", reason: "MESSAGES_NOT_ALLOWED" };
        expect(decision).toEqual(given.messages === "allow" ? { kind: "allow" } : denied);
      } else {
        const isNamed = given.evmChainIds.some((id) => BigInt(id) === each.chainId);
        const denied = { kind: "deny", reason: "CHAIN_NOT_ALLOWED", chainId: each.chainId };
        expect(decision).toEqual(isNamed ? { kind: "allow" } : denied);
      }
    }),
  );
});

test("messages allow no transaction, and chains allow no message", () => {
  const messages: SigningPolicy = { evmChainIds: [], messages: "allow" };
  const chains: SigningPolicy = { evmChainIds: ["1"], messages: "deny" };
  expect(decide({ kind: "evm-transaction", chainId: 1n }, messages).kind).toBe("deny");
  expect(decide({ kind: "evm-message" }, chains).kind).toBe("deny");
});

test("a chain is named whole: no prefix of it, no number near it", () => {
  for (const id of ["1", "11", "01", "10", "1.0", "", "137 "]) {
    const allowed = decide({ kind: "evm-transaction", chainId: 137n }, { evmChainIds: [id], messages: "deny" });
    expect(allowed.kind).toBe("deny");
  }
  const beyond = 2n ** 53n;
  const named: SigningPolicy = { evmChainIds: [String(beyond + 1n)], messages: "deny" };
  expect(decide({ kind: "evm-transaction", chainId: beyond }, named).kind).toBe("deny");
  expect(decide({ kind: "evm-transaction", chainId: beyond + 1n }, named).kind).toBe("allow");
});

describe("checkPolicy", () => {
  test("passes what is allowed", () => {
    expect(() =>
      checkPolicy({ kind: "evm-message" }, { evmChainIds: [], messages: "allow" }, WHOLE_SCOPE),
    ).not.toThrow();
  });

  test("refuses a chain that the caller's scope does not name, whatever the app allows", () => {
    const scope = { ...WHOLE_SCOPE, chains: ["eip155:10"] };
    const policy: SigningPolicy = { evmChainIds: ["1", "10"], messages: "deny" };
    expect(() => checkPolicy({ kind: "evm-transaction", chainId: 10n }, policy, scope)).not.toThrow();
    const denied = expect.objectContaining({ code: "OUT_OF_SCOPE" });
    expect(() => checkPolicy({ kind: "evm-transaction", chainId: 1n }, policy, scope)).toThrow(denied);
  });

  test.each<[SigningSubject, RegExp]>([
    [{ kind: "evm-transaction", chainId: 5n }, /chain 5/],
    [{ kind: "evm-message" }, /messages/],
  ])("throws POLICY_DENIED with the reason", (each, why) => {
    const denied = expect.objectContaining({ code: "POLICY_DENIED", message: expect.stringMatching(why) });
    expect(() => checkPolicy(each, NOTHING, WHOLE_SCOPE)).toThrow(denied);
  });
});
