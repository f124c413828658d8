/** The program behind `cloister simulate-kms`: a simulated KMS alone, until a signal or its parent's end. */
import { KmsError, KmsStoreError } from "./errors.ts";
import type { KmsLogEntry } from "./server-options.ts";
import { type StandaloneKms, startStandaloneKms } from "./standalone.ts";
import {
  readStandaloneOptions,
  STANDALONE_HELP,
  type StandaloneOptions,
  StandaloneUsageError,
} from "./standalone-options.ts";

// Heard from the first moment on: a signal during the start is not lost.
const stopped = new Promise<void>((resolve) => {
  for (const signal of ["SIGINT", "SIGTERM", "disconnect"] as const) process.once(signal, () => resolve());
});
process.exitCode = await run(process.argv.slice(2));
if (process.connected) process.disconnect();

async function run(args: readonly string[]): Promise<number> {
  let options: StandaloneOptions | null;
  try {
    options = readStandaloneOptions(args);
  } catch (error) {
    if (!(error instanceof StandaloneUsageError)) throw error;
    say(process.stderr, `cloister simulate-kms: ${error.message}\n\n${STANDALONE_HELP}`);
    return 2;
  }
  if (options === null) {
    say(process.stdout, STANDALONE_HELP);
    return 0;
  }
  const { verbose } = options;
  const log = (entry: KmsLogEntry) => {
    if (verbose) say(process.stderr, JSON.stringify(entry));
  };
  let kms: StandaloneKms;
  try {
    kms = await startStandaloneKms(options, { nowMs: Date.now, log });
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    const foreseen = error instanceof KmsStoreError || error instanceof KmsError || code !== undefined;
    if (!foreseen) throw error;
    say(process.stderr, `cloister simulate-kms: ${code}: ${message}`);
    return 1;
  }
  say(process.stdout, introduction(kms, options));
  await stopped;
  say(process.stdout, "stopping");
  await kms.close();
  return 0;
}

function introduction(kms: StandaloneKms, { region, stateFile, roots, nsm }: StandaloneOptions): string {
  const [first, ...others] = kms.principals;
  const trusted = [...roots.map(({ name }) => name), ...(kms.nsm === null ? [] : [kms.nsm.rootFile])];
  return [
    `ready: ${kms.endpoint}   (SIMULATOR - NOT AWS; state in ${stateFile ?? "memory"})`,
    "",
    `Key                 ${kms.keyArn}   (${kms.keyAlias})`,
    `CA certificate      ${kms.caFile ?? "none: plain HTTP, for SDKs that cannot be given one"}`,
    `Attestation roots   ${trusted.join(", ") || "none: every Recipient is refused; give --root, --aws-root or --nsm"}`,
    ...(nsm === null
      ? []
      : [`NSM                 ${nsm.socket}   (u32 big-endian length, then the module's own CBOR)`]),
    "",
    `AWS CLI and SDKs, as ${first?.arn ?? "nobody"}:`,
    ...environmentOf(kms, region, first),
    "",
    ...others.flatMap(({ arn, accessKeyId, secretAccessKey }) => [
      `or, as ${arn}:`,
      `  export AWS_ACCESS_KEY_ID=${accessKeyId} AWS_SECRET_ACCESS_KEY=${secretAccessKey}`,
      "",
    ]),
    "Try (an AWS CLI older than 2.13 also wants --endpoint-url):",
    `  aws kms encrypt --key-id ${kms.keyAlias} --plaintext fileb:///etc/hostname`,
    "",
    "Ctrl-C stops it; docs/kms-simulator.md tells more.",
  ].join("\n");
}

function environmentOf(
  { endpoint, caFile }: StandaloneKms,
  region: string,
  principal: StandaloneKms["principals"][number] | undefined,
): string[] {
  const token = principal?.sessionToken ?? null;
  return [
    `  export AWS_ENDPOINT_URL_KMS=${endpoint} AWS_REGION=${region} AWS_DEFAULT_REGION=${region}`,
    `  export AWS_ACCESS_KEY_ID=${principal?.accessKeyId} AWS_SECRET_ACCESS_KEY=${principal?.secretAccessKey}`,
    ...(token === null ? [] : [`  export AWS_SESSION_TOKEN=${token}`]),
    ...(caFile === null ? [] : [`  export AWS_CA_BUNDLE=${caFile} NODE_EXTRA_CA_CERTS=${caFile}`]),
  ];
}

function say(stream: NodeJS.WriteStream, text: string): void {
  stream.write(`${text}\n`);
}
