/** From one image to the next: three policies, each the only one in force for a while. */
import { USE_ACTIONS } from "./actions.ts";
import { KeyPolicyError } from "./errors.ts";
import {
  DIFFERENT,
  documentOf,
  EVERYBODY,
  generateKeyPolicy,
  type KeyPolicyDocument,
  type KeyPolicyParameters,
  named,
  type PolicyStatement,
  SAME,
  singles,
  statementsOf,
} from "./generate.ts";
import { clausesOfNoMatch, conditionOf, type PcrValues, type Term, termsOfSets } from "./pcr-set.ts";

export interface RotationStep {
  readonly name: "overlap" | "cut" | "final";
  readonly policy: KeyPolicyDocument;
  readonly fileName: string;
  /** What is so from here on. */
  readonly effect: string;
  /** Shell commands that put the policy into force and read it back. */
  readonly commands: readonly string[];
  /** What to do, and to see, before the next step. */
  readonly next: readonly string[];
}

export interface Rotation {
  readonly steps: readonly [RotationStep, RotationStep, RotationStep];
}

/**
 * Plans an upgrade: `overlap` admits old and new, `cut` admits the new and denies the old by name, `final` is what
 * {@link generateKeyPolicy} makes for the new alone. To go back from the cut is to put the overlap again.
 *
 * @param old - The parameters in force, with the old image's sets.
 * @param newSets - The new image's.
 * @param keyId - The key's id or ARN, for the commands.
 * @throws {@link KeyPolicyError} `NOTHING_TO_ROTATE` if the new sets admit every image that the old ones admit, as with
 * PCR8 and PCR3 when both images are signed alike; `INVALID_KEY_ID`; as {@link generateKeyPolicy}.
 */
export function rotateKeyPolicy(old: KeyPolicyParameters, newSets: readonly PcrValues[], keyId: string): Rotation {
  if (!/^(?:arn:aws[a-z-]*:kms:[a-z0-9-]+:[0-9]{12}:key\/)?(?:mrk-)?[0-9a-f-]{32,36}$/.test(keyId)) {
    throw new KeyPolicyError("INVALID_KEY_ID", "expected a key's id or ARN, not an alias: aliases can be moved");
  }
  const retired = denyRetired(termsOfSets(old.pcrSets), termsOfSets(newSets));
  if (newSets.length === 0 || retired.length === 0) {
    throw new KeyPolicyError("NOTHING_TO_ROTATE", "the new sets still admit every image that the old ones admit");
  }
  const overlap = generateKeyPolicy({ ...old, pcrSets: [...old.pcrSets, ...newSets] });
  const final = generateKeyPolicy({ ...old, pcrSets: newSets });
  const cut = documentOf([...statementsOf({ ...old, pcrSets: newSets }), ...retired]);
  return {
    steps: [
      {
        name: "overlap",
        policy: overlap,
        ...putting("1-overlap.json", keyId),
        effect: "the old image and the new one may use the key",
        next: [
          "start enclaves of the new image beside the old; each must report ready: it has opened the vault",
          "verify one: cloister attestation verify --pcr 0=<new PCR0> DOCUMENT",
          "move the traffic to them",
        ],
      },
      {
        name: "cut",
        policy: cut,
        ...putting("2-cut.json", keyId),
        effect: "the new image may use the key; the old one is denied by name, even if somebody allows it again",
        next: [
          "stop the enclaves of the old image: those that run keep the vault until they stop",
          "look in CloudTrail for AccessDenied of this role: somebody still starts the old image",
          "to go back instead, put 1-overlap.json again",
        ],
      },
      {
        name: "final",
        policy: final,
        ...putting("3-final.json", keyId),
        effect: 'the new image may use the key; the file is what "cloister kms-policy generate" makes for it',
        next: ["give this file, or its PCRs, to Terraform, so that the next plan shows no change"],
      },
    ],
  };
}

/**
 * Denies the old sets by name. A document may match an old set and a new one at once (PCR8 and PCR3 before, PCR0 now): it
 * is the new image then, and stays admitted.
 */
function denyRetired(oldSets: readonly Term[][], newSets: readonly Term[][]): PolicyStatement[] {
  const conditions = oldSets.flatMap((oldTerms) =>
    clausesOfNoMatch(newSets).flatMap((clause) => {
      // A document with this old set has every term that both share: that it differs from it is never so.
      if (clause.some((term) => oldTerms.includes(term))) return [];
      const known = new Set(oldTerms.map((term) => term.slice(0, 2)));
      const different = clause.filter((term) => !known.has(term.slice(0, 2)));
      return [{ oldTerms, different }];
    }),
  );
  return conditions.map(({ oldTerms, different }, at) => ({
    ...named("DenyRetiredImage", at, conditions.length),
    Effect: "Deny",
    Principal: EVERYBODY,
    Action: USE_ACTIONS,
    Resource: "*",
    Condition: {
      [SAME]: singles(oldTerms),
      ...(different.length === 0 ? {} : { [DIFFERENT]: Object.fromEntries(conditionOf(different)) }),
    },
  }));
}

function putting(fileName: string, keyId: string): { readonly fileName: string; readonly commands: readonly string[] } {
  return {
    fileName,
    commands: [
      `cloister kms-policy lint ${fileName}`,
      `aws kms put-key-policy --key-id ${keyId} --policy-name default --policy file://${fileName}`,
      `aws kms get-key-policy --key-id ${keyId} --policy-name default --query Policy --output text | cloister kms-policy lint -`,
    ],
  };
}
