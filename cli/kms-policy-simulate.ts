/** `cloister kms-policy simulate`: would KMS allow this? */
import { AttestationError, verifyAttestation } from "../attestation/index.ts";
import { isKeyAction } from "../kms-policy/index.ts";
import type { KeyAccessDecision } from "../simulator/index.ts";
import { readAttestationOptions, readDocument } from "./attestation-options.ts";
import { printable, UsageError } from "./command-io.ts";
import { onePositional, parseOptions, required } from "./command-options.ts";
import { type KmsPolicyIo, readMeasurements, readPcrs, readText, reporting } from "./kms-policy-options.ts";

const HELP = `Usage: cloister kms-policy simulate FILE|- --principal ARN --operation NAME <document> [options]

Asks the simulated KMS's evaluator whether a key with this policy would serve a request, and names the statement that
decided. <document> is one of:

  --no-document          a request without Recipient
  --pcr N=HEX            a verified document with these PCRs; repeated for each PCR
  --measurements FILE    a verified document with these PCRs, as nitro-cli prints them
  --document FILE        this document, verified: raw, base64 or hex

  --principal ARN        a role, a user, the root, or a session arn:aws:sts::…:assumed-role/…
  --operation NAME       such as Decrypt
  --key-arn ARN          the key (default: one in the principal's account)
  --context NAME=VALUE   a pair of the encryption context; may be repeated
  --root FILE            trust this root for --document in place of AWS's; may be repeated
  --at TIME              judge --document at: now (default), document (its own time), or ISO 8601
  --json                 print JSON
  --help                 show this

Exit status: 0 allowed, 1 denied, 2 wrong usage.
`;

type Document = { readonly pcrs: ReadonlyMap<number, Uint8Array> | null } | { readonly refused: string };

/** @returns The exit status. */
export function simulateCommand(args: readonly string[], io: KmsPolicyIo): Promise<number> {
  return reporting("simulate", io, async () => {
    const { values, positionals } = parseOptions(args, {
      principal: { type: "string" },
      operation: { type: "string" },
      "no-document": { type: "boolean", default: false },
      pcr: { type: "string", multiple: true },
      measurements: { type: "string" },
      document: { type: "string" },
      "key-arn": { type: "string" },
      context: { type: "string", multiple: true, default: [] },
      root: { type: "string", multiple: true, default: [] },
      at: { type: "string" },
      json: { type: "boolean", default: false },
      help: { type: "boolean", default: false },
    });
    if (values.help) {
      io.out(HELP);
      return 0;
    }
    const path = onePositional(positionals, "FILE");
    const operation = readOperation(required(values.operation, "--operation"));
    const principalArn = required(values.principal, "--principal");
    const document = await readGivenDocument(values, io);
    // A request for which KMS would not even look at the policy.
    if ("refused" in document) return answer({ kind: "refused", code: document.refused }, values.json, io);

    // Loaded only here: with it comes the whole simulator.
    const { decideKeyAccess, KmsError } = await import("../simulator/index.ts");
    try {
      const decision = decideKeyAccess({
        policy: await readText(path, io),
        principalArn,
        operation,
        documentPcrs: document.pcrs,
        encryptionContext: readContext(values.context),
        ...(values["key-arn"] === undefined ? {} : { keyArn: values["key-arn"] }),
      });
      return answer(decision, values.json, io);
    } catch (error) {
      if (error instanceof KmsError) throw new UsageError(`${error.code}: ${error.message}`, { cause: error });
      throw error;
    }
  });
}

/** @throws {@link UsageError}: an operation that does not exist would be denied, and the answer mean nothing. */
function readOperation(text: string): string {
  const name = text.replace(/^kms:/, "");
  if (!isKeyAction(`kms:${name}`)) {
    throw new UsageError(
      `--operation: ${JSON.stringify(name)} is none that KMS has for a key; expected Decrypt or another`,
    );
  }
  return name;
}

async function readGivenDocument(
  given: {
    readonly "no-document": boolean;
    readonly pcr?: readonly string[] | undefined;
    readonly measurements?: string | undefined;
    readonly document?: string | undefined;
    readonly root: readonly string[];
    readonly at?: string | undefined;
  },
  io: KmsPolicyIo,
): Promise<Document> {
  const { pcr, measurements, document } = given;
  const count = [given["no-document"] || undefined, pcr, measurements, document].filter((one) => one !== undefined);
  if (count.length !== 1) {
    throw new UsageError("expected exactly one of --no-document, --pcr, --measurements and --document");
  }
  if (pcr !== undefined) return { pcrs: bytesOf(pcr.flatMap((text) => readPcrs(text, "--pcr"))) };
  if (measurements !== undefined) return { pcrs: bytesOf([...(await readMeasurements(measurements, io))]) };
  if (document === undefined) return { pcrs: null };

  const roots = given.root.flatMap((path) => ["--root", path]);
  const at = given.at === undefined ? [] : ["--at", given.at];
  const options = await readAttestationOptions([document, ...roots, ...at], io, "now");
  if (options === null) throw new UsageError("--document: expected a file");
  try {
    // As KMS: a debug enclave's document is genuine, and the policy must refuse its zeros.
    const expected = { ...options.expected, allowDebug: true };
    return { pcrs: (await verifyAttestation(await readDocument(document, io), expected)).pcrs };
  } catch (error) {
    if (error instanceof AttestationError && error.step > 0) return { refused: error.code };
    if (error instanceof AttestationError) throw new UsageError(error.message, { cause: error });
    throw error;
  }
}

/** Not as for a policy: zeros, and sets that name no image, are what one wants to try. */
function bytesOf(entries: readonly (readonly [number, string])[]): ReadonlyMap<number, Uint8Array> {
  const pcrs = new Map<number, Uint8Array>();
  for (const [index, hex] of entries) {
    if (index > 31 || !/^[0-9A-Fa-f]{96}$/.test(hex)) {
      throw new UsageError(`PCR${index}: expected a PCR from 0 to 31 with 96 hex digits, got ${hex.length}`);
    }
    if (pcrs.has(index)) throw new UsageError(`PCR${index} is given twice`);
    pcrs.set(index, new Uint8Array(Buffer.from(hex, "hex")));
  }
  return pcrs;
}

function readContext(texts: readonly string[]): ReadonlyMap<string, string> {
  return new Map(
    texts.map((text) => {
      const at = text.indexOf("=");
      if (at < 1) throw new UsageError("--context: expected NAME=VALUE");
      return [text.slice(0, at), text.slice(at + 1)];
    }),
  );
}

type Answer = KeyAccessDecision | { readonly kind: "refused"; readonly code: string };

function answer(decision: Answer, json: boolean, io: KmsPolicyIo): number {
  if (json) io.out(`${JSON.stringify(decision)}\n`);
  else io.out(`${draw(decision).join("\n")}\n`);
  return decision.kind === "allow" ? 0 : 1;
}

function draw(decision: Answer): string[] {
  if (decision.kind === "refused") return [`denied: the document does not verify: ${decision.code}`];
  return [
    ...(decision.kind === "allow"
      ? [`allowed by ${placeOf(decision.statement)}`]
      : decision.reason === "EXPLICIT_DENY"
        ? [`denied by ${placeOf(decision.statement)}`]
        : ["denied: no statement allows it"]),
    ...decision.unresolved.map(
      ({ statement, operator, key }) =>
        `not judged: ${printable(operator)} on ${printable(key)} in ${placeOf(statement)}; it counts against the request`,
    ),
  ];
}

function placeOf(statement: { readonly index: number; readonly sid: string | null } | null): string {
  if (statement === null) return "a grant";
  const number = `statement #${statement.index + 1}`;
  return statement.sid === null ? number : `${number} ${printable(statement.sid)}`;
}
