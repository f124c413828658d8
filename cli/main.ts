/** The `cloister` command: one file per subcommand. */
import { readFileSync } from "node:fs";

const HELP = `cloister: a self-hosted signing appliance for AWS Nitro Enclaves

Usage: cloister <command> [options]

Commands:
  simulate      run enclave, parent, KMS and a login issuer on this machine
  emulate       the same, with the enclave's own image booted in QEMU
  simulate-kms  run the simulated KMS alone, for any AWS SDK
  attestation   verify or inspect an attestation document
  kms-policy    write, check, rotate and try the KMS key policy
  policy        try and check policies of what may be signed
  admin         make administrators' keys, stamp with them, manage apps
  enclave       keep the enclave of this EC2 instance running
  doctor        find what on this EC2 instance is not as it should be
  vault         rotate the vault secret of a running enclave
  bench         put load on a deployment, and measure it
  events        check a file of a user's events
  recover       put a split wallet's secret together from its user's two shares
  eif           build, inspect, compare, take apart and sign enclave images

Options:
  --help        show this; "cloister <command> --help" tells more
  --version     print the version
`;

process.exitCode = await main(inFull(process.argv.slice(2)));

/** What other commands understand too: `-h`, `-v`, and `help simulate` for `simulate --help`. */
function inFull(args: readonly string[]): readonly string[] {
  const [first, second] = args;
  if (first === "-v") return ["--version"];
  if (first === "help" && second !== undefined) return [second, "--help"];
  const end = args.indexOf("--");
  return args.map((arg, at) => (arg === "-h" && (end < 0 || at < end) ? "--help" : arg));
}

async function main([command, ...args]: readonly string[]): Promise<number> {
  switch (command) {
    case "simulate":
      return (await import("./simulate.ts")).run(args);
    case "emulate":
      return (await import("./emulate.ts")).run(args);
    case "simulate-kms":
      return (await import("./simulate-kms.ts")).run(args);
    case "attestation":
      return (await import("./attestation.ts")).run(args);
    case "admin":
      return (await import("./admin.ts")).run(args);
    case "vault":
      return (await import("./vault.ts")).run(args);
    case "eif":
      return (await import("./eif.ts")).run(args);
    case "enclave":
      return (await import("./enclave.ts")).run(args);
    case "doctor":
      return (await import("./doctor.ts")).run(args);
    case "bench":
      return (await import("./bench.ts")).run(args);
    case "events":
      return (await import("./events.ts")).run(args);
    case "recover":
      return (await import("./recover.ts")).run(args);
    case "policy":
      return (await import("./policy.ts")).run(args);
    case "kms-policy":
      return (await import("./kms-policy.ts")).run(args);
    case "--version":
      console.log(version());
      return 0;
    case "--help":
    case "help":
      console.log(HELP);
      return 0;
    case undefined:
      console.error(HELP);
      return 2;
    default:
      console.error(`cloister: there is no command ${JSON.stringify(command)}; "cloister --help" lists them`);
      return 2;
  }
}

function version(): string {
  for (const path of ["../package.json", "../../../package.json"]) {
    try {
      return (JSON.parse(readFileSync(new URL(path, import.meta.url), "utf8")) as { version: string }).version;
    } catch {
      // The other place: beside the sources, or above dist/js.
    }
  }
  return "unknown";
}
