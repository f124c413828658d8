/** `cloister doctor`: what on this EC2 parent is not as the enclave needs it. */
import { pcr3OfRoleArn } from "../attestation/index.ts";
import {
  Context,
  DEFAULT_PATHS,
  drawFindings,
  type Facts,
  fetchKeyPolicy,
  nodeFacts,
  runChecks,
  statusOf,
  type Tools,
} from "../host/index.ts";
import { parseConfig } from "../parent-proxy/index.ts";
import { type CommandIo, printable, processIo, UsageError } from "./command-io.ts";
import { parseOptionsAlone } from "./command-options.ts";
import { measureImage } from "./measure-image.ts";

const HELP = `Usage: cloister doctor [options]

Looks at the EC2 instance that it runs on: CPUs, huge pages, nitro-cli, the image, the enclave, the parent, credentials, key
policy and clock. It changes nothing. Most of it needs no root; what does says so. It protects nothing either: what keeps
keys safe from this host is checked inside the enclave and by KMS.

  --enclave FILE         default ${DEFAULT_PATHS.enclaveConfig}
  --parent FILE          default ${DEFAULT_PATHS.parentConfig}
  --measurements FILE    of the image, as its build wrote them; default ${DEFAULT_PATHS.measurements}
  --manifest FILE        a copy of the image's manifest; default ${DEFAULT_PATHS.manifest}
  --allocator FILE       default ${DEFAULT_PATHS.allocator}
  --key-policy FILE      judge this policy, fetched by whoever may; default: ask KMS
  --strict               fail on warnings too
  --json                 print JSON: [{"check", "outcome", "found", "todo"}]
  --help                 show this

Outcomes: ok, warning, failure, skipped. Exit status: 0 no failure, 1 failures (with --strict: or warnings), 2 wrong usage.
`;

const OPTIONS = {
  enclave: { type: "string", default: DEFAULT_PATHS.enclaveConfig },
  parent: { type: "string", default: DEFAULT_PATHS.parentConfig },
  measurements: { type: "string", default: DEFAULT_PATHS.measurements },
  manifest: { type: "string", default: DEFAULT_PATHS.manifest },
  allocator: { type: "string", default: DEFAULT_PATHS.allocator },
  "key-policy": { type: "string" },
  strict: { type: "boolean", default: false },
  json: { type: "boolean", default: false },
  help: { type: "boolean", default: false },
} as const;

/** @returns The exit status. */
export async function run(
  args: readonly string[],
  io: CommandIo = processIo,
  facts: Facts = nodeFacts({ fetchKeyPolicy }),
): Promise<number> {
  try {
    const values = parseOptionsAlone(args, OPTIONS);
    if (values.help) {
      io.out(HELP);
      return 0;
    }
    const paths = {
      enclaveConfig: values.enclave,
      parentConfig: values.parent,
      measurements: values.measurements,
      manifest: values.manifest,
      allocator: values.allocator,
      keyPolicy: values["key-policy"] ?? null,
      // As AWS's SDKs name it.
      imds: process.env["AWS_EC2_METADATA_SERVICE_ENDPOINT"]?.replace(/\/$/, "") ?? DEFAULT_PATHS.imds,
    };
    const findings = await runChecks(new Context(facts, await doctorTools(), paths));
    io.out(values.json ? `${JSON.stringify(findings, null, 2)}\n` : drawFindings(findings, printable));
    return statusOf(findings, { strict: values.strict });
  } catch (error) {
    if (!(error instanceof UsageError)) throw error;
    io.err(`cloister doctor: ${error.message}; "cloister doctor --help" tells more\n`);
    return 2;
  }
}

/** The very judges of other commands. Loaded only here: with them come the enclave's parts and the simulator's. */
export async function doctorTools(): Promise<Tools> {
  const [{ kmsHost, parseManifest }, { decideKeyAccess }] = await Promise.all([
    import("../enclave/index.ts"),
    import("../simulator/index.ts"),
  ]);
  return {
    parseParentConfig: parseConfig,
    parseManifest(bytes) {
      const manifest = parseManifest(bytes);
      return { ...manifest, kmsHost: kmsHost(manifest) };
    },
    measureImage,
    pcr3OfRoleArn,
    decideKeyAccess(question) {
      const decision = decideKeyAccess(question);
      const statement = "statement" in decision ? decision.statement : null;
      return {
        isAllowed: decision.kind === "allow",
        statement: statement === null ? null : (statement.sid ?? `statement ${statement.index + 1}`),
      };
    },
  };
}
