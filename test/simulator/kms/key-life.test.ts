/** Keys from their making to their end: policies, aliases, states, rotation, tags. */
import {
  CancelKeyDeletionCommand,
  CreateAliasCommand,
  CreateGrantCommand,
  CreateKeyCommand,
  type CreateKeyCommandInput,
  DecryptCommand,
  DeleteAliasCommand,
  DescribeKeyCommand,
  DisableKeyCommand,
  DisableKeyRotationCommand,
  EnableKeyCommand,
  EnableKeyRotationCommand,
  EncryptCommand,
  GenerateDataKeyCommand,
  GenerateDataKeyWithoutPlaintextCommand,
  GetKeyPolicyCommand,
  GetKeyRotationStatusCommand,
  type KMSClient,
  ListAliasesCommand,
  ListKeyPoliciesCommand,
  ListKeyRotationsCommand,
  ListKeysCommand,
  ListResourceTagsCommand,
  PutKeyPolicyCommand,
  ReEncryptCommand,
  RotateKeyOnDemandCommand,
  ScheduleKeyDeletionCommand,
  TagResourceCommand,
  UntagResourceCommand,
  UpdateAliasCommand,
  UpdateKeyDescriptionCommand,
} from "@aws-sdk/client-kms";
import { describe, expect, test } from "vitest";
import type { KmsPrincipal, SimulatedKmsOptions } from "../../../simulator/kms/index.ts";
import { ACCOUNT, ADMIN, ENCLAVE, ENCLAVE_ROLE, OPEN_POLICY, REGION, STRANGER, startForTest } from "./harness.ts";

const SECRET = Buffer.from("secret");
const DAY_MS = 86_400_000;
const ARN_PREFIX = `arn:aws:kms:${REGION}:${ACCOUNT}`;
const refused = (name: string) => ({ name, $metadata: { httpStatusCode: 400 } });

/** A clock that a test turns; the client follows it, as it signs by it. */
async function start(options: Partial<SimulatedKmsOptions> = {}) {
  let offsetMs = 0;
  const { kms, client } = await startForTest({ nowMs: () => Date.now() + offsetMs, ...options });
  const clientOf = (principal: KmsPrincipal = ADMIN) => {
    const made = client(principal);
    made.config.systemClockOffset = offsetMs;
    return made;
  };
  const advance = (ms: number) => {
    offsetMs += ms;
  };
  const KeyId = kms.createKey({ policy: OPEN_POLICY });
  return { kms, KeyId, clientOf, advance };
}

const encrypt = async (client: KMSClient, KeyId: string) =>
  (await client.send(new EncryptCommand({ KeyId, Plaintext: SECRET }))).CiphertextBlob;
const decrypt = async (client: KMSClient, CiphertextBlob: Uint8Array | undefined) =>
  client.send(new DecryptCommand({ CiphertextBlob }));

describe("CreateKey", () => {
  test("with nothing said, the account's root may do everything", async () => {
    const { clientOf } = await start();
    const { KeyMetadata } = await clientOf().send(new CreateKeyCommand({}));
    expect(KeyMetadata).toMatchObject({ KeyState: "Enabled", KeySpec: "SYMMETRIC_DEFAULT", MultiRegion: false });
    expect(KeyMetadata?.Arn).toMatch(new RegExp(`^${ARN_PREFIX}:key/[0-9a-f-]{36}$`));
    const { Policy } = await clientOf().send(new GetKeyPolicyCommand({ KeyId: KeyMetadata?.KeyId }));
    expect(JSON.parse(Policy ?? "")).toMatchObject({
      Statement: [{ Principal: { AWS: `arn:aws:iam::${ACCOUNT}:root` } }],
    });
    const CiphertextBlob = await encrypt(clientOf(ENCLAVE), KeyMetadata?.KeyId ?? "");
    expect(Buffer.from((await decrypt(clientOf(), CiphertextBlob)).Plaintext ?? [])).toEqual(SECRET);
  });

  test("a multi-region key has an id and an ARN of that form, and its condition keys", async () => {
    const { clientOf } = await start();
    const { KeyMetadata } = await clientOf().send(new CreateKeyCommand({ MultiRegion: true }));
    expect(KeyMetadata?.KeyId).toMatch(/^mrk-[0-9a-f]{32}$/);
    expect(KeyMetadata).toMatchObject({
      ...{ Arn: `${ARN_PREFIX}:key/${KeyMetadata?.KeyId}`, MultiRegion: true },
      MultiRegionConfiguration: { MultiRegionKeyType: "PRIMARY", PrimaryKey: { Region: REGION }, ReplicaKeys: [] },
    });
    const CiphertextBlob = await encrypt(clientOf(), KeyMetadata?.Arn ?? "");
    expect((await decrypt(clientOf(), CiphertextBlob)).KeyId).toBe(KeyMetadata?.Arn);
    const Condition = { StringNotEquals: { "kms:PrimaryRegion": "us-east-1" }, Bool: { "kms:MultiRegion": "true" } };
    const statement = { Effect: "Deny", Principal: "*", Action: "kms:Encrypt", Resource: "*", Condition };
    const Policy = JSON.stringify({ ...(OPEN_POLICY as object), Statement: [statementOf(OPEN_POLICY), statement] });
    await clientOf().send(new PutKeyPolicyCommand({ KeyId: KeyMetadata?.KeyId, Policy }));
    await expect(encrypt(clientOf(), KeyMetadata?.Arn ?? "")).rejects.toMatchObject(refused("AccessDeniedException"));
  });

  test("KMS's lockout check: the caller must be able to put a policy again", async () => {
    const { clientOf, KeyId } = await start();
    const only = { Effect: "Allow", Principal: { AWS: ENCLAVE_ROLE }, Action: "kms:*", Resource: "*" };
    const Policy = JSON.stringify({ Version: "2012-10-17", Statement: only });
    const malformed = refused("MalformedPolicyDocumentException");
    await expect(clientOf().send(new CreateKeyCommand({ Policy }))).rejects.toMatchObject(malformed);
    await expect(clientOf().send(new PutKeyPolicyCommand({ KeyId, Policy }))).rejects.toMatchObject(malformed);
    await expect(clientOf().send(new PutKeyPolicyCommand({ KeyId, Policy: "{}" }))).rejects.toMatchObject(malformed);
    // Nothing was changed by what was refused.
    expect(await clientOf().send(new DescribeKeyCommand({ KeyId }))).toHaveProperty("KeyMetadata");
    await clientOf().send(new PutKeyPolicyCommand({ KeyId, Policy, BypassPolicyLockoutSafetyCheck: true }));
    const now = clientOf().send(new PutKeyPolicyCommand({ KeyId, Policy: JSON.stringify(OPEN_POLICY) }));
    await expect(now).rejects.toMatchObject(refused("AccessDeniedException"));
    // The one whom it names puts it back.
    const back = { KeyId, Policy: JSON.stringify(OPEN_POLICY), PolicyName: "default" };
    await clientOf(ENCLAVE).send(new PutKeyPolicyCommand(back));
    expect((await clientOf().send(new ListKeyPoliciesCommand({ KeyId }))).PolicyNames).toEqual(["default"]);
    const named = clientOf().send(new GetKeyPolicyCommand({ KeyId, PolicyName: "other" }));
    await expect(named).rejects.toMatchObject(refused("NotFoundException"));
  });

  test("kms:BypassPolicyLockoutSafetyCheck can be denied", async () => {
    const statement = {
      ...{ Effect: "Deny", Principal: "*", Action: "kms:PutKeyPolicy", Resource: "*" },
      Condition: { Bool: { "kms:BypassPolicyLockoutSafetyCheck": "true" } },
    };
    const { kms, clientOf } = await start();
    const policy = { Version: "2012-10-17", Statement: [statementOf(OPEN_POLICY), statement] };
    const KeyId = kms.createKey({ policy });
    const put = { KeyId, Policy: JSON.stringify(policy) };
    await clientOf().send(new PutKeyPolicyCommand(put));
    const bypass = clientOf().send(new PutKeyPolicyCommand({ ...put, BypassPolicyLockoutSafetyCheck: true }));
    await expect(bypass).rejects.toMatchObject(refused("AccessDeniedException"));
  });

  test("what no key names is IAM's to allow, in this account alone", async () => {
    const may = { Version: "2012-10-17", Statement: { Effect: "Allow", Action: "kms:ListKeys", Resource: "*" } };
    const lister = { ...ADMIN, accessKeyId: "AKIALISTER", identityPolicies: [may] };
    const { clientOf } = await start({ principals: [ADMIN, lister, STRANGER] });
    expect((await clientOf(lister).send(new ListKeysCommand({}))).Keys).toHaveLength(1);
    for (const who of [lister, STRANGER]) {
      const creating = clientOf(who).send(new CreateKeyCommand({}));
      await expect(creating).rejects.toThrow(/no identity-based policy allows the kms:CreateKey action/);
    }
    await expect(clientOf(STRANGER).send(new ListKeysCommand({}))).rejects.toMatchObject(
      refused("AccessDeniedException"),
    );
  });

  test.each<[name: string, asked: CreateKeyCommandInput]>([
    ["UnsupportedOperationException", { KeySpec: "RSA_2048", KeyUsage: "SIGN_VERIFY" }],
    ["UnsupportedOperationException", { KeySpec: "ECC_SECG_P256K1", KeyUsage: "SIGN_VERIFY" }],
    ["UnsupportedOperationException", { KeySpec: "SYMMETRIC_DEFAULT", KeyUsage: "SIGN_VERIFY" }],
    ["UnsupportedOperationException", { KeySpec: "ECC_NIST_P256" }],
    ["UnsupportedOperationException", { Origin: "EXTERNAL" }],
    ["UnsupportedOperationException", { CustomKeyStoreId: "cks-1" }],
    ["MalformedPolicyDocumentException", { Policy: "{}" }],
    ["TagException", { Tags: [{ TagKey: "aws:x", TagValue: "" }] }],
    ["ValidationException", { Policy: "" }],
  ])("%s: %j", async (name, asked) => {
    const { kms, clientOf } = await start();
    await expect(clientOf().send(new CreateKeyCommand(asked))).rejects.toMatchObject(refused(name));
    expect(kms.keyArns()).toHaveLength(1);
  });

  test("ListKeys goes on from page to page", async () => {
    const { kms, clientOf } = await start();
    for (let count = 0; count < 4; count += 1) kms.createKey({ policy: OPEN_POLICY });
    const arns: (string | undefined)[] = [];
    let Marker: string | undefined;
    do {
      const page = await clientOf().send(new ListKeysCommand({ Limit: 2, Marker }));
      arns.push(...(page.Keys ?? []).map(({ KeyArn }) => KeyArn));
      Marker = page.NextMarker;
    } while (Marker !== undefined);
    expect(arns).toEqual(kms.keyArns());
  });
});

describe("aliases", () => {
  test("a key goes by its alias's name and ARN in what uses it, and moves with it", async () => {
    const { kms, KeyId, clientOf } = await start();
    const AliasName = "alias/vault";
    await clientOf().send(new CreateAliasCommand({ AliasName, TargetKeyId: KeyId }));
    for (const name of [AliasName, `${ARN_PREFIX}:${AliasName}`]) {
      const CiphertextBlob = await encrypt(clientOf(), name);
      const { KeyId: answered } = await clientOf().send(new DecryptCommand({ KeyId: name, CiphertextBlob }));
      expect(answered).toBe(KeyId);
      expect((await clientOf().send(new DescribeKeyCommand({ KeyId: name }))).KeyMetadata?.Arn).toBe(KeyId);
    }
    const old = await encrypt(clientOf(), AliasName);
    const other = kms.createKey({ policy: OPEN_POLICY });
    await clientOf().send(new UpdateAliasCommand({ AliasName, TargetKeyId: other }));
    const named = clientOf().send(new DecryptCommand({ KeyId: AliasName, CiphertextBlob: old }));
    await expect(named).rejects.toMatchObject(refused("IncorrectKeyException"));
    expect((await decrypt(clientOf(), old)).KeyId).toBe(KeyId);
    const { Aliases } = await clientOf().send(new ListAliasesCommand({ KeyId: other }));
    expect(Aliases).toMatchObject([
      { AliasName, AliasArn: `${ARN_PREFIX}:${AliasName}`, TargetKeyId: other.split("/")[1] },
    ]);
    expect((await clientOf().send(new ListAliasesCommand({ KeyId }))).Aliases).toEqual([]);
    await clientOf().send(new DeleteAliasCommand({ AliasName }));
    await expect(encrypt(clientOf(), AliasName)).rejects.toThrow(`Alias ${ARN_PREFIX}:${AliasName} is not found.`);
  });

  test("kms:RequestAlias is the name in the request, kms:ResourceAliases all that the key has", async () => {
    const { kms, clientOf } = await start();
    const byAlias = {
      ...statementOf(OPEN_POLICY),
      Condition: { StringEquals: { "kms:RequestAlias": "alias/vault" } },
    };
    const KeyId = kms.createKey({ policy: { Version: "2012-10-17", Statement: byAlias }, alias: "alias/vault" });
    expect(await encrypt(clientOf(), "alias/vault")).toBeDefined();
    await expect(encrypt(clientOf(), KeyId)).rejects.toMatchObject(refused("AccessDeniedException"));
    const byAny = {
      ...statementOf(OPEN_POLICY),
      Condition: { "ForAnyValue:StringLike": { "kms:ResourceAliases": "alias/va*" } },
    };
    kms.putKeyPolicy(KeyId, { Version: "2012-10-17", Statement: byAny });
    expect(await encrypt(clientOf(), KeyId)).toBeDefined();
    expect(kms.keyArnOf("alias/vault")).toBe(KeyId);
    expect(kms.keyArnOf("alias/other")).toBeNull();
  });

  test("refusals", async () => {
    const { KeyId, clientOf } = await start();
    const create = (AliasName: string, TargetKeyId = KeyId, who = ADMIN) =>
      clientOf(who).send(new CreateAliasCommand({ AliasName, TargetKeyId }));
    await create("alias/a");
    await expect(create("alias/a")).rejects.toMatchObject(refused("AlreadyExistsException"));
    for (const name of ["a", "alias/", "alias/ä", "alias/aws/s3", "alias/a b"]) {
      await expect(create(name)).rejects.toMatchObject(refused("InvalidAliasNameException"));
    }
    await expect(create("alias/b", "alias/a")).rejects.toMatchObject(refused("NotFoundException"));
    await expect(create("alias/b", KeyId, STRANGER)).rejects.toMatchObject(refused("AccessDeniedException"));
    const missing = clientOf().send(new UpdateAliasCommand({ AliasName: "alias/b", TargetKeyId: KeyId }));
    await expect(missing).rejects.toMatchObject(refused("NotFoundException"));
    // What manages a key does not take an alias for it.
    for (const command of [
      new DisableKeyCommand({ KeyId: "alias/a" }),
      new GetKeyPolicyCommand({ KeyId: "alias/a" }),
    ]) {
      await expect(clientOf().send(command as DisableKeyCommand)).rejects.toMatchObject(refused("NotFoundException"));
    }
  });

  test("both the alias and the key must be allowed", async () => {
    const on = (Resource: string) => ({
      Version: "2012-10-17",
      Statement: { Effect: "Allow", Action: "kms:*Alias", Resource },
    });
    const onAlias = { ...ADMIN, accessKeyId: "AKIAONALIAS", identityPolicies: [on(`${ARN_PREFIX}:alias/*`)] };
    const onBoth = { ...ADMIN, accessKeyId: "AKIAONBOTH", identityPolicies: [on(`${ARN_PREFIX}:*`)] };
    const { KeyId, clientOf } = await start({ principals: [onAlias, onBoth] });
    const command = new CreateAliasCommand({ AliasName: "alias/x", TargetKeyId: KeyId });
    await expect(clientOf(onAlias).send(command)).rejects.toMatchObject(refused("AccessDeniedException"));
    await clientOf(onBoth).send(command);
    const deleting = clientOf(onAlias).send(new DeleteAliasCommand({ AliasName: "alias/x" }));
    await expect(deleting).rejects.toMatchObject(refused("AccessDeniedException"));
  });
});

describe("states", () => {
  /** What makes use of a key's material, or hands it on. */
  const uses = (KeyId: string, CiphertextBlob: Uint8Array | undefined) => [
    new EncryptCommand({ KeyId, Plaintext: SECRET }),
    new DecryptCommand({ CiphertextBlob }),
    new GenerateDataKeyCommand({ KeyId, KeySpec: "AES_256" }),
    new GenerateDataKeyWithoutPlaintextCommand({ KeyId, KeySpec: "AES_256" }),
    new ReEncryptCommand({ DestinationKeyId: KeyId, CiphertextBlob }),
    new CreateGrantCommand({ KeyId, GranteePrincipal: ENCLAVE_ROLE, Operations: ["Decrypt"] }),
    new RotateKeyOnDemandCommand({ KeyId }),
    new EnableKeyRotationCommand({ KeyId }),
    new DisableKeyRotationCommand({ KeyId }),
  ];

  test("a disabled key is there and does nothing, until it is enabled", async () => {
    const { KeyId, clientOf } = await start();
    const CiphertextBlob = await encrypt(clientOf(), KeyId);
    await clientOf().send(new DisableKeyCommand({ KeyId }));
    for (const command of uses(KeyId, CiphertextBlob)) {
      const sending = clientOf().send(command as EncryptCommand);
      await expect(sending).rejects.toMatchObject({
        ...refused("DisabledException"),
        message: `${KeyId} is disabled.`,
      });
    }
    const { KeyMetadata } = await clientOf().send(new DescribeKeyCommand({ KeyId }));
    expect(KeyMetadata).toMatchObject({ Enabled: false, KeyState: "Disabled" });
    // Whoever may not use the key learns nothing of its state.
    const stranger = clientOf(STRANGER).send(new EncryptCommand({ KeyId, Plaintext: SECRET }));
    await expect(stranger).rejects.toMatchObject(refused("AccessDeniedException"));
    await clientOf().send(new EnableKeyCommand({ KeyId }));
    expect((await decrypt(clientOf(), CiphertextBlob)).KeyId).toBe(KeyId);
  });

  test("a key that is to be deleted waits, can be saved, and is gone when its time has come", async () => {
    const { KeyId, clientOf, advance, kms } = await start();
    await clientOf().send(new CreateAliasCommand({ AliasName: "alias/a", TargetKeyId: KeyId }));
    const CiphertextBlob = await encrypt(clientOf(), KeyId);
    const schedule = () => clientOf().send(new ScheduleKeyDeletionCommand({ KeyId, PendingWindowInDays: 7 }));
    const saved = clientOf().send(new CancelKeyDeletionCommand({ KeyId }));
    await expect(saved).rejects.toMatchObject(refused("KMSInvalidStateException"));
    expect(await schedule()).toMatchObject({ KeyState: "PendingDeletion", PendingWindowInDays: 7 });
    const others = [
      new EnableKeyCommand({ KeyId }),
      new DisableKeyCommand({ KeyId }),
      new ScheduleKeyDeletionCommand({ KeyId }),
      new UpdateKeyDescriptionCommand({ KeyId, Description: "" }),
      new CreateAliasCommand({ AliasName: "alias/b", TargetKeyId: KeyId }),
      new TagResourceCommand({ KeyId, Tags: [] }),
      new UntagResourceCommand({ KeyId, TagKeys: [] }),
    ];
    for (const command of [...uses(KeyId, CiphertextBlob), ...others]) {
      const sending = clientOf().send(command as EncryptCommand);
      const expected = { ...refused("KMSInvalidStateException"), message: `${KeyId} is pending deletion.` };
      await expect(sending).rejects.toMatchObject(expected);
    }
    expect(await clientOf().send(new CancelKeyDeletionCommand({ KeyId }))).toMatchObject({ KeyId });
    expect((await clientOf().send(new DescribeKeyCommand({ KeyId }))).KeyMetadata?.KeyState).toBe("Disabled");

    await schedule();
    advance(7 * DAY_MS - 60_000);
    expect((await clientOf().send(new DescribeKeyCommand({ KeyId }))).KeyMetadata?.DeletionDate).toBeInstanceOf(Date);
    advance(60_000);
    const describe = clientOf().send(new DescribeKeyCommand({ KeyId }));
    await expect(describe).rejects.toMatchObject(refused("NotFoundException"));
    await expect(decrypt(clientOf(), CiphertextBlob)).rejects.toMatchObject(refused("AccessDeniedException"));
    expect((await clientOf().send(new ListAliasesCommand({}))).Aliases).toEqual([]);
    expect(kms.keyArns()).toEqual([]);
  });

  test.each([6, 31])("a waiting period of %d days is refused", async (PendingWindowInDays) => {
    const { KeyId, clientOf } = await start();
    const sending = clientOf().send(new ScheduleKeyDeletionCommand({ KeyId, PendingWindowInDays }));
    await expect(sending).rejects.toMatchObject(refused("ValidationException"));
  });

  test("kms:ScheduleKeyDeletionPendingWindowInDays can set a least period", async () => {
    const guard = {
      ...{ Effect: "Deny", Principal: "*", Action: "kms:ScheduleKeyDeletion", Resource: "*" },
      Condition: { NumericLessThan: { "kms:ScheduleKeyDeletionPendingWindowInDays": "30" } },
    };
    const { kms, clientOf } = await start();
    const KeyId = kms.createKey({ policy: { Version: "2012-10-17", Statement: [statementOf(OPEN_POLICY), guard] } });
    const soon = clientOf().send(new ScheduleKeyDeletionCommand({ KeyId, PendingWindowInDays: 7 }));
    await expect(soon).rejects.toMatchObject(refused("AccessDeniedException"));
    expect(await clientOf().send(new ScheduleKeyDeletionCommand({ KeyId }))).toMatchObject({ PendingWindowInDays: 30 });
  });
});

describe("rotation", () => {
  const rotationsOf = async (client: KMSClient, KeyId: string) =>
    (await client.send(new ListKeyRotationsCommand({ KeyId }))).Rotations ?? [];

  test("on demand: new blobs by new material, old blobs still open", async () => {
    const { KeyId, clientOf } = await start();
    const old = await encrypt(clientOf(), KeyId);
    const before = await decrypt(clientOf(), old);
    expect(await rotationsOf(clientOf(), KeyId)).toEqual([]);
    await clientOf().send(new RotateKeyOnDemandCommand({ KeyId }));
    const fresh = await decrypt(clientOf(), await encrypt(clientOf(), KeyId));
    const again = await decrypt(clientOf(), old);
    expect(Buffer.from(again.Plaintext ?? [])).toEqual(SECRET);
    expect(again.KeyMaterialId).toBe(before.KeyMaterialId);
    expect(fresh.KeyMaterialId).not.toBe(before.KeyMaterialId);
    expect(await rotationsOf(clientOf(), KeyId)).toMatchObject([
      { KeyId, RotationType: "ON_DEMAND", KeyMaterialId: fresh.KeyMaterialId, KeyMaterialState: "CURRENT" },
    ]);
    const all = new ListKeyRotationsCommand({ KeyId, IncludeKeyMaterial: "ALL_KEY_MATERIAL" });
    expect((await clientOf().send(all)).Rotations).toHaveLength(2);
  });

  test("automatic: when the period is over, as often as it was, and not while the key is disabled", async () => {
    const { KeyId, clientOf, advance } = await start();
    const status = () => clientOf().send(new GetKeyRotationStatusCommand({ KeyId }));
    expect(await status()).toMatchObject({ KeyRotationEnabled: false });
    const old = await encrypt(clientOf(), KeyId);
    await clientOf().send(new EnableKeyRotationCommand({ KeyId, RotationPeriodInDays: 90 }));
    expect(await status()).toMatchObject({ KeyRotationEnabled: true, RotationPeriodInDays: 90 });
    advance(89 * DAY_MS);
    expect(await rotationsOf(clientOf(), KeyId)).toHaveLength(0);
    advance(DAY_MS);
    expect(await rotationsOf(clientOf(), KeyId)).toHaveLength(1);
    advance(181 * DAY_MS);
    expect((await rotationsOf(clientOf(), KeyId)).map(({ RotationType }) => RotationType)).toEqual(
      Array.from({ length: 3 }, () => "AUTOMATIC"),
    );
    expect((await decrypt(clientOf(), old)).KeyId).toBe(KeyId);
    await clientOf().send(new DisableKeyCommand({ KeyId }));
    advance(100 * DAY_MS);
    expect(await rotationsOf(clientOf(), KeyId)).toHaveLength(3);
    await clientOf().send(new EnableKeyCommand({ KeyId }));
    expect(await rotationsOf(clientOf(), KeyId)).toHaveLength(4);
    await clientOf().send(new DisableKeyRotationCommand({ KeyId }));
    advance(1000 * DAY_MS);
    expect(await rotationsOf(clientOf(), KeyId)).toHaveLength(4);
  });

  test.each([89, 2561])("a period of %d days is refused", async (RotationPeriodInDays) => {
    const { KeyId, clientOf } = await start();
    const sending = clientOf().send(new EnableKeyRotationCommand({ KeyId, RotationPeriodInDays }));
    await expect(sending).rejects.toMatchObject(refused("ValidationException"));
  });

  test("LimitExceededException: the twenty-sixth on demand", async () => {
    const { KeyId, clientOf } = await start();
    const client = clientOf();
    for (let count = 0; count < 25; count += 1) await client.send(new RotateKeyOnDemandCommand({ KeyId }));
    const more = client.send(new RotateKeyOnDemandCommand({ KeyId }));
    await expect(more).rejects.toMatchObject(refused("LimitExceededException"));
  });
});

describe("ReEncrypt", () => {
  test("needs both permissions, and says which keys and materials it used", async () => {
    const { kms, KeyId, clientOf } = await start();
    const to = kms.createKey({ policy: OPEN_POLICY });
    const SourceEncryptionContext = { for: "vault" };
    const sealed = await clientOf().send(
      new EncryptCommand({ KeyId, Plaintext: SECRET, EncryptionContext: SourceEncryptionContext }),
    );
    const { CiphertextBlob } = sealed;
    const DestinationEncryptionContext = { for: "archive" };
    const asked = { CiphertextBlob, DestinationKeyId: to, SourceEncryptionContext, DestinationEncryptionContext };
    const moved = await clientOf().send(new ReEncryptCommand(asked));
    expect(moved).toMatchObject({ KeyId: to, SourceKeyId: KeyId, SourceEncryptionAlgorithm: "SYMMETRIC_DEFAULT" });
    const opened = await clientOf().send(
      new DecryptCommand({ CiphertextBlob: moved.CiphertextBlob, EncryptionContext: DestinationEncryptionContext }),
    );
    expect(Buffer.from(opened.Plaintext ?? [])).toEqual(SECRET);
    expect(opened.KeyMaterialId).toBe(moved.DestinationKeyMaterialId);

    const wrongContext = clientOf().send(new ReEncryptCommand({ ...asked, SourceEncryptionContext: {} }));
    await expect(wrongContext).rejects.toMatchObject(refused("InvalidCiphertextException"));
    const wrongKey = clientOf().send(new ReEncryptCommand({ ...asked, SourceKeyId: to }));
    await expect(wrongKey).rejects.toMatchObject(refused("IncorrectKeyException"));
    const deny = (Action: string, more = {}) => ({
      Version: "2012-10-17",
      Statement: [statementOf(OPEN_POLICY), { Effect: "Deny", Principal: "*", Action, Resource: "*", ...more }],
    });
    kms.putKeyPolicy(KeyId, deny("kms:ReEncryptFrom"));
    await expect(clientOf().send(new ReEncryptCommand(asked))).rejects.toThrow(/kms:ReEncryptFrom on resource/);
    kms.putKeyPolicy(KeyId, deny("kms:ReEncryptTo"));
    kms.putKeyPolicy(to, deny("kms:ReEncryptTo"));
    await expect(clientOf().send(new ReEncryptCommand(asked))).rejects.toThrow(/kms:ReEncryptTo on resource/);
    kms.putKeyPolicy(to, deny("kms:ReEncrypt*", { Condition: { Bool: { "kms:ReEncryptOnSameKey": "false" } } }));
    await expect(clientOf().send(new ReEncryptCommand(asked))).rejects.toMatchObject(refused("AccessDeniedException"));
  });
});

describe("tags and description", () => {
  test("tags are put, listed, taken away, and are condition keys", async () => {
    const { kms, clientOf } = await start();
    const tagged = { ...statementOf(OPEN_POLICY), Condition: { StringEquals: { "aws:ResourceTag/stage": "test" } } };
    const keys = { ...statementOf(OPEN_POLICY), Action: ["kms:*Resource*", "kms:DescribeKey"] };
    const KeyId = kms.createKey({ policy: { Version: "2012-10-17", Statement: [tagged, keys] } });
    await expect(encrypt(clientOf(), KeyId)).rejects.toMatchObject(refused("AccessDeniedException"));
    const Tags = [
      { TagKey: "stage", TagValue: "test" },
      { TagKey: "team", TagValue: "" },
    ];
    await clientOf().send(new TagResourceCommand({ KeyId, Tags }));
    expect(await encrypt(clientOf(), KeyId)).toBeDefined();
    expect((await clientOf().send(new ListResourceTagsCommand({ KeyId }))).Tags).toEqual(Tags);
    await clientOf().send(new UntagResourceCommand({ KeyId, TagKeys: ["stage"] }));
    await expect(encrypt(clientOf(), KeyId)).rejects.toMatchObject(refused("AccessDeniedException"));
    const twice = clientOf().send(new TagResourceCommand({ KeyId, Tags: [...Tags, ...Tags] }));
    await expect(twice).rejects.toMatchObject(refused("TagException"));
    const Many = Array.from({ length: 51 }, (_, at) => ({ TagKey: `k${at}`, TagValue: "" }));
    const many = clientOf().send(new TagResourceCommand({ KeyId, Tags: Many }));
    await expect(many).rejects.toMatchObject(refused("TagException"));
  });

  test("UpdateKeyDescription", async () => {
    const { KeyId, clientOf } = await start();
    await clientOf().send(new UpdateKeyDescriptionCommand({ KeyId, Description: "the vault's" }));
    const { KeyMetadata } = await clientOf().send(new DescribeKeyCommand({ KeyId }));
    expect(KeyMetadata?.Description).toBe("the vault's");
  });
});

function statementOf(policy: typeof OPEN_POLICY): object {
  return typeof policy === "string" ? {} : (policy["Statement"] as object);
}
