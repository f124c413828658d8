/** Policy × document × operation × grant × IAM, against what AWS's documentation says of each, worked out on its own. */
import { GenerateDataKeyCommand } from "@aws-sdk/client-kms";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { decideKeyAccess, type KmsPrincipal } from "../../../simulator/kms/index.ts";
import { documentOf, PCR0, pkiAt } from "./documents.ts";
import { ACCOUNT, ADMIN, ENCLAVE, ENCLAVE_ROLE, type Harness, startHarness } from "./harness.ts";

const NOW_MS = Date.now();
const pki = pkiAt(NOW_MS);
const OTHER_PCR0 = Buffer.alloc(48, 2);
const IMAGE = { "kms:RecipientAttestation:ImageSha384": Buffer.from(PCR0).toString("hex") };
const ALL_FOR_ENCLAVE = { Effect: "Allow", Principal: { AWS: ENCLAVE_ROLE }, Action: "kms:*", Resource: "*" };
const ROOT_MAY = { ...ALL_FOR_ENCLAVE, Principal: { AWS: `arn:aws:iam::${ACCOUNT}:root` } };
const ATTESTED = { ...ALL_FOR_ENCLAVE, Condition: { StringEqualsIgnoreCase: IMAGE } };
const GUARD = {
  ...{ ...ALL_FOR_ENCLAVE, Effect: "Deny", Principal: "*" },
  Condition: { StringNotEqualsIgnoreCase: IMAGE },
};
/** The mistake: IfExists is not met by an absent key in the way that a guard needs. */
const LAX_GUARD = {
  ...GUARD,
  Condition: { StringNotEqualsIgnoreCase: IMAGE, Null: { [Object.keys(IMAGE)[0] ?? ""]: "false" } },
};

/** Whether the key policy, by itself: denies, allows the role by its name, or leaves the matter to IAM. */
type Verdict = "deny" | "allow" | "iam" | "nothing";
type Document = "none" | "good" | "other";
const POLICIES: Readonly<Record<string, { statements: object[]; verdict: (seen: Document) => Verdict }>> = {
  "allows all": { statements: [ALL_FOR_ENCLAVE], verdict: () => "allow" },
  "leaves all to IAM": { statements: [ROOT_MAY], verdict: () => "iam" },
  "allows the image": { statements: [ATTESTED], verdict: (seen) => (seen === "good" ? "allow" : "nothing") },
  "allows all, guarded": {
    statements: [ALL_FOR_ENCLAVE, GUARD],
    verdict: (seen) => (seen === "good" ? "allow" : "deny"),
  },
  "leaves all to IAM, guarded": {
    statements: [ROOT_MAY, GUARD],
    verdict: (seen) => (seen === "good" ? "iam" : "deny"),
  },
  "allows all, guarded where there is a document": {
    statements: [ALL_FOR_ENCLAVE, LAX_GUARD],
    verdict: (seen) => (seen === "other" ? "deny" : "allow"),
  },
  "allows another": {
    statements: [{ ...ALL_FOR_ENCLAVE, Principal: { AWS: ADMIN.arn } }],
    verdict: () => "nothing",
  },
};
const IAM = {
  "stands aside": { policies: undefined, verdict: "allow" },
  "says nothing": { policies: [], verdict: "nothing" },
  "allows all": { policies: [{ Version: "2012-10-17", Statement: statement("Allow") }], verdict: "allow" },
  "denies all": { policies: [{ Version: "2012-10-17", Statement: statement("Deny") }], verdict: "deny" },
} as const;
const GRANTS = {
  "no grant": { grants: [], names: false },
  "a grant": {
    grants: [{ granteePrincipal: ENCLAVE_ROLE, operations: ["Decrypt", "GenerateDataKey", "Encrypt"] }],
    names: true,
  },
  "a grant to another": {
    grants: [{ granteePrincipal: ADMIN.arn, operations: ["Decrypt", "GenerateDataKey"] }],
    names: false,
  },
} as const;
/** Whether a document can be part of the request at all. */
const OPERATIONS = { Decrypt: true, GenerateDataKey: true, Encrypt: false } as const;
const DOCUMENTS: Readonly<Record<Document, Uint8Array | null>> = { none: null, good: PCR0, other: OTHER_PCR0 };

function statement(Effect: string) {
  return { Effect, Action: "kms:*", Resource: "*" };
}

type Names = { readonly policy: string; readonly iam: keyof typeof IAM; readonly grant: keyof typeof GRANTS };

/** IAM User Guide, "Policy evaluation logic"; KMS Developer Guide, "Determining access" and "Grants". */
function expected({ policy, iam, grant }: Names, seen: Document): boolean {
  const byKeyPolicy = POLICIES[policy]?.verdict(seen);
  const byIam = IAM[iam].verdict;
  if (byKeyPolicy === "deny" || byIam === "deny") return false;
  return byKeyPolicy === "allow" || (byKeyPolicy === "iam" && byIam === "allow") || GRANTS[grant].names;
}

const combinations = Object.keys(POLICIES).flatMap((policy) =>
  (Object.keys(IAM) as (keyof typeof IAM)[]).flatMap((iam) =>
    (Object.keys(GRANTS) as (keyof typeof GRANTS)[]).map((grant) => ({ policy, iam, grant })),
  ),
);

describe("decideKeyAccess", () => {
  test.each(combinations)("key policy $policy, IAM $iam, $grant", (names) => {
    for (const [operation, takesDocument] of Object.entries(OPERATIONS)) {
      for (const [document, pcr0] of Object.entries(DOCUMENTS) as [Document, Uint8Array | null][]) {
        const { policies } = IAM[names.iam];
        const decision = decideKeyAccess({
          policy: { Version: "2012-10-17", Statement: POLICIES[names.policy]?.statements },
          ...{ principalArn: ENCLAVE.arn, operation, documentPcrs: pcr0 === null ? null : new Map([[0, pcr0]]) },
          grants: GRANTS[names.grant].grants,
          ...(policies === undefined ? {} : { identityPolicies: policies }),
        });
        const allowed = expected(names, takesDocument ? document : "none");
        expect({ operation, document, kind: decision.kind }).toEqual({
          ...{ operation, document, kind: allowed ? "allow" : "deny" },
        });
        expect(decision.unresolved).toEqual([]);
      }
    }
  });
});

describe("the same over the wire", () => {
  const principals = Object.entries(IAM).map(([name, { policies }]): KmsPrincipal => {
    const accessKeyId = `ASIA${name.replaceAll(" ", "")}`;
    return { ...ENCLAVE, accessKeyId, ...(policies === undefined ? {} : { identityPolicies: policies }) };
  });
  let harness: Harness;
  beforeAll(async () => {
    const trust = { attestationRoots: [pki.root], nowMs: () => NOW_MS };
    harness = await startHarness({ principals: [...principals, ADMIN], ...trust });
  });
  afterAll(() => harness.kms.close());

  test.each(combinations.filter(({ grant }) => grant === "no grant"))("key policy $policy, IAM $iam", async (names) => {
    const policy = { Version: "2012-10-17", Statement: POLICIES[names.policy]?.statements };
    const KeyId = harness.kms.createKey({ policy });
    const client = harness.client(principals[Object.keys(IAM).indexOf(names.iam)]);
    for (const [document, pcr0] of Object.entries(DOCUMENTS) as [Document, Uint8Array | null][]) {
      const pcrs = new Map([[0, pcr0 ?? PCR0]]);
      const AttestationDocument = await documentOf({ pki, atMs: NOW_MS, pcrs });
      const Recipient = { KeyEncryptionAlgorithm: "RSAES_OAEP_SHA_256", AttestationDocument } as const;
      const command = { KeyId, KeySpec: "AES_256", ...(pcr0 === null ? {} : { Recipient }) } as const;
      const outcome = await client.send(new GenerateDataKeyCommand(command)).then(
        (answer) => (answer.Plaintext === undefined ? "sealed" : "plain"),
        (error: Error) => error.name,
      );
      const granted = pcr0 === null ? "plain" : "sealed";
      expect({ document, outcome }).toEqual({
        ...{ document, outcome: expected(names, document) ? granted : "AccessDeniedException" },
      });
    }
  });
});
