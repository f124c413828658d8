import {
  CreateGrantCommand,
  type CreateGrantCommandInput,
  DecryptCommand,
  DescribeKeyCommand,
  EncryptCommand,
  GenerateDataKeyCommand,
  ListGrantsCommand,
  ListRetirableGrantsCommand,
  RetireGrantCommand,
  RevokeGrantCommand,
} from "@aws-sdk/client-kms";
import { describe, expect, test } from "vitest";
import type { KmsPrincipal, SimulatedKmsOptions } from "../../../simulator/kms/index.ts";
import { documentOf, PCR0, pkiAt } from "./documents.ts";
import { ACCOUNT, ADMIN, ENCLAVE, ENCLAVE_ROLE, STRANGER, startForTest } from "./harness.ts";

const SECRET = Buffer.from("secret");
const BOB: KmsPrincipal = { ...ADMIN, accessKeyId: "AKIABOB", arn: `arn:aws:iam::${ACCOUNT}:user/bob` };
const ROOT: KmsPrincipal = { ...ADMIN, accessKeyId: "AKIAROOT", arn: `arn:aws:iam::${ACCOUNT}:root` };
const ADMIN_ONLY = {
  Sid: "Admin",
  Effect: "Allow",
  Principal: { AWS: ADMIN.arn },
  Action: "kms:*",
  Resource: "*",
};
const refused = (name: string) => ({ name, $metadata: { httpStatusCode: 400 } });

async function startWithKey(statements: readonly object[] = [ADMIN_ONLY], options: Partial<SimulatedKmsOptions> = {}) {
  const principals = [ENCLAVE, ADMIN, BOB, ROOT, STRANGER];
  const { kms, client } = await startForTest({ principals, ...options });
  const KeyId = kms.createKey({ policy: { Version: "2012-10-17", Statement: statements } });
  const admin = client(ADMIN);
  const EncryptionContext = { for: "vault", shelf: "1" };
  const { CiphertextBlob } = await admin.send(new EncryptCommand({ KeyId, Plaintext: SECRET, EncryptionContext }));
  const grant = (more: Partial<CreateGrantCommandInput> = {}, by = ADMIN) => {
    const command = { KeyId, GranteePrincipal: ENCLAVE_ROLE, Operations: ["Decrypt"] as const };
    return client(by).send(new CreateGrantCommand({ ...command, Operations: [...command.Operations], ...more }));
  };
  const decrypt = (
    by: KmsPrincipal,
    more: { GrantTokens?: string[]; EncryptionContext?: Record<string, string> } = {},
  ) => client(by).send(new DecryptCommand({ KeyId, CiphertextBlob, EncryptionContext, ...more }));
  return { KeyId, client, admin, grant, decrypt };
}

describe("a grant", () => {
  test("lets its grantee do its operations, and nobody anything else", async () => {
    const { KeyId, client, grant, decrypt } = await startWithKey();
    await expect(decrypt(ENCLAVE)).rejects.toMatchObject(refused("AccessDeniedException"));
    await grant({ Operations: ["Decrypt", "DescribeKey"] });
    expect(Buffer.from((await decrypt(ENCLAVE)).Plaintext ?? [])).toEqual(SECRET);
    expect((await client().send(new DescribeKeyCommand({ KeyId }))).KeyMetadata?.Arn).toBe(KeyId);
    const encrypt = client().send(new EncryptCommand({ KeyId, Plaintext: SECRET }));
    await expect(encrypt).rejects.toMatchObject(refused("AccessDeniedException"));
    for (const other of [BOB, STRANGER]) {
      await expect(decrypt(other)).rejects.toMatchObject(refused("AccessDeniedException"));
    }
  });

  test("goes round attestation where the policy only allows with a condition; an explicit Deny closes it", async () => {
    const nowMs = Date.now();
    const pki = pkiAt(nowMs);
    const image = { "kms:RecipientAttestation:ImageSha384": Buffer.from(PCR0).toString("hex") };
    const attested = {
      ...{ Sid: "Attested", Effect: "Allow", Principal: { AWS: ENCLAVE_ROLE }, Action: "kms:Decrypt", Resource: "*" },
      Condition: { StringEqualsIgnoreCase: image },
    };
    const guard = {
      ...{ ...attested, Sid: "Guard", Effect: "Deny", Principal: "*" },
      Condition: { StringNotEqualsIgnoreCase: image },
    };
    const options = { attestationRoots: [pki.root], nowMs: () => nowMs };

    const open = await startWithKey([ADMIN_ONLY, attested], options);
    await expect(open.decrypt(ENCLAVE)).rejects.toMatchObject(refused("AccessDeniedException"));
    await open.grant();
    // The hole: no document, and the secret comes in the clear.
    expect(Buffer.from((await open.decrypt(ENCLAVE)).Plaintext ?? [])).toEqual(SECRET);

    const closed = await startWithKey([ADMIN_ONLY, attested, guard], options);
    const { GrantToken = "" } = await closed.grant();
    await expect(closed.decrypt(ENCLAVE)).rejects.toMatchObject(refused("AccessDeniedException"));
    await expect(closed.decrypt(ENCLAVE, { GrantTokens: [GrantToken] })).rejects.toThrow(/with an explicit deny/);
    // The control: the attested image still may.
    const AttestationDocument = await documentOf({ pki, atMs: nowMs });
    const Recipient = { KeyEncryptionAlgorithm: "RSAES_OAEP_SHA_256", AttestationDocument } as const;
    const generate = { KeyId: closed.KeyId, KeySpec: "AES_256", Recipient } as const;
    await expect(closed.client().send(new GenerateDataKeyCommand(generate))).rejects.toMatchObject({
      name: "AccessDeniedException",
    });
    const { CiphertextBlob } = await closed.admin.send(new EncryptCommand({ KeyId: closed.KeyId, Plaintext: SECRET }));
    const answer = await closed.client().send(new DecryptCommand({ CiphertextBlob, Recipient }));
    expect(answer.CiphertextForRecipient).toBeDefined();
  });

  test.each([
    ["EncryptionContextEquals", { for: "vault", shelf: "1" }, true],
    ["EncryptionContextEquals", { for: "vault" }, false],
    ["EncryptionContextEquals", { for: "vault", shelf: "1", more: "" }, false],
    ["EncryptionContextSubset", { for: "vault" }, true],
    ["EncryptionContextSubset", { for: "vault", shelf: "1" }, true],
    ["EncryptionContextSubset", { FOR: "vault" }, false],
    ["EncryptionContextSubset", { for: "vault", more: "" }, false],
  ] as const)("%s %j: %s", async (kind, pairs, allowed) => {
    const { grant, decrypt } = await startWithKey();
    await grant({ Constraints: { [kind]: pairs } });
    if (allowed) expect(await decrypt(ENCLAVE)).toHaveProperty("Plaintext");
    else await expect(decrypt(ENCLAVE)).rejects.toMatchObject(refused("AccessDeniedException"));
  });

  test("counts at once for whoever names its token, and later for everybody", async () => {
    let nowMs = Date.now();
    const { grant, decrypt } = await startWithKey(undefined, { grantPropagationMs: 5000, nowMs: () => nowMs });
    const { GrantToken = "" } = await grant();
    await expect(decrypt(ENCLAVE)).rejects.toMatchObject(refused("AccessDeniedException"));
    expect(await decrypt(ENCLAVE, { GrantTokens: [GrantToken] })).toHaveProperty("Plaintext");
    await expect(decrypt(BOB, { GrantTokens: [GrantToken] })).rejects.toMatchObject(refused("AccessDeniedException"));
    nowMs += 5000;
    expect(await decrypt(ENCLAVE)).toHaveProperty("Plaintext");
  });

  test("InvalidGrantTokenException: no token, a changed one, one of a revoked grant", async () => {
    const { KeyId, admin, grant, decrypt } = await startWithKey();
    const { GrantToken = "", GrantId } = await grant();
    await admin.send(new RevokeGrantCommand({ KeyId, GrantId }));
    for (const token of ["token", `${GrantToken}A`, GrantToken]) {
      const sending = decrypt(ADMIN, { GrantTokens: [token] });
      await expect(sending).rejects.toMatchObject(refused("InvalidGrantTokenException"));
    }
  });

  test("its grantee may pass on no more than it has", async () => {
    const { grant, decrypt } = await startWithKey();
    const Constraints = { EncryptionContextSubset: { for: "vault" } };
    await grant({ Operations: ["Decrypt", "CreateGrant"], Constraints });
    const toBob = { GranteePrincipal: BOB.arn, Constraints };
    for (const tooMuch of [
      { ...toBob, Operations: ["Encrypt" as const] },
      { ...toBob, Constraints: {} },
      { ...toBob, Constraints: { EncryptionContextSubset: { shelf: "1" } } },
    ]) {
      await expect(grant(tooMuch, ENCLAVE)).rejects.toMatchObject(refused("AccessDeniedException"));
    }
    await grant({ ...toBob, Constraints: { EncryptionContextEquals: { for: "vault", shelf: "1" } } }, ENCLAVE);
    expect(await decrypt(BOB)).toHaveProperty("Plaintext");
    await expect(grant(toBob, BOB)).rejects.toMatchObject(refused("AccessDeniedException"));
  });
});

describe("its administration", () => {
  test("one name and the same terms make one grant", async () => {
    const { KeyId, admin, grant } = await startWithKey();
    const first = await grant({ Name: "vault" });
    expect((await grant({ Name: "vault" })).GrantId).toBe(first.GrantId);
    const others = [await grant({ Name: "vault", Operations: ["Encrypt"] }), await grant({}), await grant({})];
    const ids = new Set([first, ...others].map(({ GrantId }) => GrantId));
    expect(ids.size).toBe(4);
    const { Grants = [] } = await admin.send(new ListGrantsCommand({ KeyId }));
    expect(new Set(Grants.map(({ GrantId }) => GrantId))).toEqual(ids);
    expect(Grants[0]).toMatchObject({
      ...{ KeyId, Name: "vault", GranteePrincipal: ENCLAVE_ROLE, Operations: ["Decrypt"] },
      IssuingAccount: ROOT.arn,
    });
    const one = await admin.send(new ListGrantsCommand({ KeyId, GrantId: first.GrantId }));
    expect(one.Grants).toHaveLength(1);
    const firstPage = await admin.send(new ListGrantsCommand({ KeyId, Limit: 3 }));
    const rest = await admin.send(new ListGrantsCommand({ KeyId, Limit: 3, Marker: firstPage.NextMarker }));
    expect([firstPage.Grants?.length, firstPage.Truncated, rest.Grants?.length, rest.Truncated]).toEqual([
      3,
      true,
      1,
      false,
    ]);
  });

  test("revoking and retiring end it; retiring is for those whom the grant names", async () => {
    const { KeyId, client, admin, grant, decrypt } = await startWithKey();
    const { GrantId } = await grant();
    const denied = client().send(new RevokeGrantCommand({ KeyId, GrantId }));
    await expect(denied).rejects.toMatchObject(refused("AccessDeniedException"));
    await admin.send(new RevokeGrantCommand({ KeyId, GrantId }));
    await expect(decrypt(ENCLAVE)).rejects.toMatchObject(refused("AccessDeniedException"));

    for (const [who, more] of [
      [BOB, { RetiringPrincipal: BOB.arn }],
      [ENCLAVE, { Operations: ["Decrypt", "RetireGrant"] as const }],
      [ROOT, {}],
    ] as const) {
      const { Operations = ["Decrypt"] } = more as { Operations?: readonly ("Decrypt" | "RetireGrant")[] };
      const { GrantToken } = await grant({ ...more, Operations: [...Operations] });
      for (const other of [ADMIN, STRANGER]) {
        const sending = client(other).send(new RetireGrantCommand({ GrantToken }));
        await expect(sending).rejects.toMatchObject(refused("AccessDeniedException"));
      }
      expect(await decrypt(ENCLAVE)).toHaveProperty("Plaintext");
      await client(who).send(new RetireGrantCommand({ GrantToken }));
      await expect(decrypt(ENCLAVE)).rejects.toMatchObject(refused("AccessDeniedException"));
    }
  });

  test("retiring by key and id, and by IAM; ListRetirableGrants", async () => {
    const may = { Version: "2012-10-17", Statement: { Effect: "Allow", Action: "kms:RetireGrant", Resource: "*" } };
    const janitor = { ...BOB, identityPolicies: [may] };
    const principals = [ENCLAVE, ADMIN, janitor];
    const { KeyId, client, admin, grant } = await startWithKey(undefined, { principals });
    const { GrantId } = await grant({ RetiringPrincipal: ADMIN.arn });
    const listing = new ListRetirableGrantsCommand({ RetiringPrincipal: ADMIN.arn });
    expect((await admin.send(listing)).Grants).toMatchObject([{ GrantId, RetiringPrincipal: ADMIN.arn }]);
    await client(janitor).send(new RetireGrantCommand({ KeyId, GrantId }));
    expect((await admin.send(listing)).Grants).toEqual([]);
    const again = admin.send(new RetireGrantCommand({ KeyId, GrantId }));
    await expect(again).rejects.toMatchObject(refused("NotFoundException"));
    const half = admin.send(new RetireGrantCommand({ KeyId }));
    await expect(half).rejects.toMatchObject(refused("ValidationException"));
  });

  test("conditions on CreateGrant: whom, what, with which constraint", async () => {
    const limited = {
      ...{ ...ADMIN_ONLY, Sid: "Limited", Effect: "Deny", Action: "kms:CreateGrant" },
      Condition: { "ForAnyValue:StringEquals": { "kms:GrantOperations": ["Decrypt"] } },
    };
    const { grant } = await startWithKey([ADMIN_ONLY, limited]);
    await expect(grant({ Operations: ["Encrypt", "Decrypt"] })).rejects.toMatchObject(refused("AccessDeniedException"));
    expect(await grant({ Operations: ["Encrypt"] })).toHaveProperty("GrantId");

    const only = {
      ...{ ...ADMIN_ONLY, Principal: { AWS: BOB.arn } },
      Condition: {
        StringEquals: { "kms:GranteePrincipal": ENCLAVE_ROLE, "kms:GrantConstraintType": "EncryptionContextSubset" },
        Bool: { "kms:GrantIsForAWSResource": "false" },
      },
    };
    const bobs = await startWithKey([ADMIN_ONLY, only]);
    const Constraints = { EncryptionContextSubset: { for: "vault" } };
    expect(await bobs.grant({ Constraints }, BOB)).toHaveProperty("GrantId");
    for (const other of [{}, { Constraints: { EncryptionContextEquals: { a: "b" } } }]) {
      await expect(bobs.grant(other, BOB)).rejects.toMatchObject(refused("AccessDeniedException"));
    }
    const toHimself = bobs.grant({ Constraints, GranteePrincipal: BOB.arn }, BOB);
    await expect(toHimself).rejects.toMatchObject(refused("AccessDeniedException"));
  });

  test("ValidationException and InvalidGrantIdException", async () => {
    const { KeyId, admin, grant } = await startWithKey();
    for (const wrong of [
      { GranteePrincipal: "somebody" },
      { GranteePrincipal: "*" },
      { Operations: [] },
      { Operations: ["Verify" as const] },
      { Constraints: { EncryptionContextEquals: { a: "" }, EncryptionContextSubset: { a: "" } } },
    ]) {
      await expect(grant(wrong)).rejects.toMatchObject(refused("ValidationException"));
    }
    await expect(grant({ DryRun: true })).rejects.toMatchObject(refused("DryRunOperationException"));
    const { Grants } = await admin.send(new ListGrantsCommand({ KeyId }));
    expect(Grants).toEqual([]);
    const listing = admin.send(new ListGrantsCommand({ KeyId, GrantId: "00".repeat(32) }));
    await expect(listing).rejects.toMatchObject(refused("InvalidGrantIdException"));
    const marker = admin.send(new ListGrantsCommand({ KeyId, Marker: "bm93aGVyZQ" }));
    await expect(marker).rejects.toMatchObject(refused("InvalidMarkerException"));
  });
});
