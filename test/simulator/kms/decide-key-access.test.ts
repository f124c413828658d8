import { describe, expect, test } from "vitest";
import { decideKeyAccess, type KeyAccessQuestion } from "../../../simulator/kms/index.ts";

const ROLE = "arn:aws:iam::123456789012:role/enclave";
const PCR0 = new Uint8Array(48).fill(0xab);
const IMAGE = { "kms:RecipientAttestation:ImageSha384": "AB".repeat(48) };
const ALLOW = { Sid: "A", Effect: "Allow", Principal: { AWS: ROLE }, Action: "kms:*", Resource: "*" };
const GUARD = {
  ...{ ...ALLOW, Sid: "G", Effect: "Deny", Principal: "*", Action: "kms:Decrypt" },
  Condition: { StringNotEqualsIgnoreCase: IMAGE },
};

function ask(question: Partial<KeyAccessQuestion> & { readonly statements?: readonly object[] } = {}) {
  const { statements = [ALLOW, GUARD], ...rest } = question;
  const policy = { Version: "2012-10-17", Statement: statements };
  return decideKeyAccess({ policy, principalArn: ROLE, operation: "Decrypt", documentPcrs: null, ...rest });
}

describe("decideKeyAccess", () => {
  test("says what decided", () => {
    const pcrs = new Map([[0, PCR0]]);
    const allow = { kind: "allow", by: "key-policy", statement: { index: 0, sid: "A" }, unresolved: [] };
    expect(ask({ documentPcrs: pcrs })).toEqual(allow);
    expect(ask({ documentPcrs: pcrs, operation: "kms:Decrypt" })).toEqual(allow);
    expect(ask()).toEqual({
      ...{ kind: "deny", reason: "EXPLICIT_DENY", by: "key-policy" },
      ...{ statement: { index: 1, sid: "G" }, unresolved: [] },
    });
    expect(ask({ principalArn: "arn:aws:iam::123456789012:role/other", operation: "Encrypt" })).toEqual({
      ...{ kind: "deny", reason: "NO_ALLOW", missing: "key-policy", unresolved: [] },
    });
  });

  test("a document does not count for an operation that cannot carry one", () => {
    const attested = { ...ALLOW, Condition: { StringEqualsIgnoreCase: IMAGE } };
    const documentPcrs = new Map([[0, PCR0]]);
    expect(ask({ statements: [attested], documentPcrs }).kind).toBe("allow");
    expect(ask({ statements: [attested], documentPcrs, operation: "Encrypt" }).kind).toBe("deny");
  });

  test("the encryption context counts", () => {
    const vault = { ...ALLOW, Condition: { StringEquals: { "kms:EncryptionContext:for": "vault" } } };
    expect(ask({ statements: [vault], encryptionContext: new Map([["for", "vault"]]) }).kind).toBe("allow");
    expect(ask({ statements: [vault] }).kind).toBe("deny");
  });

  test("names the conditions that nobody here can judge", () => {
    const Condition = { StringEquals: { "aws:SourceVpce": "vpce-1" } };
    expect(ask({ statements: [{ ...ALLOW, Condition }] })).toEqual({
      ...{ kind: "deny", reason: "NO_ALLOW", missing: "key-policy" },
      unresolved: [{ statement: { index: 0, sid: "A" }, operator: "StringEquals", key: "aws:SourceVpce" }],
    });
  });

  test("refuses what is no policy and what is no principal", () => {
    expect(() => ask({ policy: "{}" })).toThrow(expect.objectContaining({ code: "MalformedPolicyDocumentException" }));
    expect(() => ask({ principalArn: "me" })).toThrow(expect.objectContaining({ code: "ValidationException" }));
  });
});
