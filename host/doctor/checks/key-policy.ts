/** Does the key policy admit this image under this role, and nobody else? */
import { lintKeyPolicy } from "../../../kms-policy/index.ts";
import type { Measurements } from "../../nitro-cli/measurements.ts";
import { type Check, failure, type Result, skipped, unless, warning } from "../check.ts";
import type { Context } from "../context.ts";
import { FactError } from "../facts.ts";
import { openSession } from "../imds.ts";

const OPERATIONS = ["Decrypt", "GenerateDataKey"] as const;
const PCR_BYTES = 48;
const FETCH_IT =
  "as the break-glass role or an administrator: aws kms get-key-policy --key-id … --policy-name default --query Policy --output text > policy.json; then cloister doctor --key-policy policy.json";

export const checkKeyPolicy: Check = async (context) => {
  const { kmsKeyArn } = await context.needed(context.manifest, "the manifest's copy on this host");
  let policy: string;
  try {
    policy = await policyOf(context, kmsKeyArn);
  } catch (error) {
    // As it should be: the generated policy does not let the role read it.
    if (error instanceof FactError && error.code === "DENIED" && context.paths.keyPolicy === null) {
      return skipped("these credentials may not read the key policy", FETCH_IT);
    }
    if (!(error instanceof FactError)) throw error;
    return failure(`the key policy cannot be had: ${error.message}`, FETCH_IT);
  }
  const problems: Result[] = lintKeyPolicy(policy, { keyArn: kmsKeyArn }).map(
    ({ severity, code, line, message, repair }) =>
      (severity === "error" ? failure : warning)(`line ${line}, ${code}: ${message}`, repair),
  );
  const principalArn = await roleOf(context);
  const measurements = await context.measurements().catch(() => null);
  if (principalArn === null) problems.push(skipped("the role is not known, so it was not tried; see credentials"));
  else if (measurements === null)
    problems.push(skipped("measurements.json cannot be used, so no image was tried; see image"));
  else {
    try {
      problems.push(...(await tryPolicy(context, { policy, principalArn, keyArn: kmsKeyArn }, measurements)));
    } catch (error) {
      // One that cannot be read cannot be tried; the linter has said why.
      if (!problems.some(({ outcome }) => outcome === "failure")) throw error;
    }
  }
  return unless(problems, `it admits this image under ${principalArn ?? ""}, and the linter finds nothing`);
};

async function policyOf({ facts, paths }: Context, keyArn: string): Promise<string> {
  if (paths.keyPolicy === null) return facts.keyPolicy(keyArn);
  return new TextDecoder().decode(await facts.readFile(paths.keyPolicy));
}

async function roleOf(context: Context): Promise<string | null> {
  try {
    return (await (await openSession(context))?.roleArn()) ?? null;
  } catch (error) {
    if (error instanceof FactError) return null;
    throw error;
  }
}

async function tryPolicy(
  { tools }: Context,
  given: { readonly policy: string; readonly principalArn: string; readonly keyArn: string },
  measurements: Measurements,
): Promise<Result[]> {
  const problems: Result[] = [];
  const ownPcrs = await pcrsOf(measurements, given.principalArn, tools);
  const zeros = new Map([0, 1, 2, 3, 4, 8].map((index) => [index, new Uint8Array(PCR_BYTES)]));
  for (const operation of OPERATIONS) {
    const decide = (documentPcrs: ReadonlyMap<number, Uint8Array> | null) =>
      tools.decideKeyAccess({ ...given, operation, documentPcrs });
    const own = decide(ownPcrs);
    if (!own.isAllowed) {
      const by = own.statement === null ? "no statement allows it" : `denied by ${own.statement}`;
      problems.push(
        failure(
          `${operation} by ${given.principalArn} with this image: ${by}`,
          "is the image new? cloister kms-policy rotate; has the role a path? the policy must name it whole",
        ),
      );
    }
    if (decide(null).isAllowed) {
      problems.push(failure(`${operation} is allowed without an attestation document`, "cloister kms-policy generate"));
    }
    if (decide(zeros).isAllowed) {
      problems.push(failure(`${operation} is allowed to debug enclaves`, "cloister kms-policy generate"));
    }
  }
  return problems;
}

async function pcrsOf(
  measured: Measurements,
  roleArn: string,
  tools: Context["tools"],
): Promise<ReadonlyMap<number, Uint8Array>> {
  const bytes = (hex: string) => new Uint8Array(Buffer.from(hex, "hex"));
  const { PCR0, PCR1, PCR2, PCR8 } = measured;
  return new Map([
    [0, bytes(PCR0)],
    [1, bytes(PCR1)],
    [2, bytes(PCR2)],
    [3, await tools.pcr3OfRoleArn(roleArn)],
    ...(PCR8 === undefined ? [] : [[8, bytes(PCR8)] as const]),
  ]);
}
