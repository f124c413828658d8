/** `cloister eif`: build, look into, compare, take apart, sign and verify enclave images. */
import { processIo } from "./command-io.ts";
import { runSubcommand } from "./subcommands.ts";

const HELP = `Usage: cloister eif <command> [options]

  build             make an image of a container image or a folder, and a kernel
  inspect           show an image and check every rule of the format; --json as nitro-cli describe-eif
  pcrs              print an image's measurements as nitro-cli does
  diff              what differs between two images, and which PCRs that moves
  extract           take an image apart into files
  sign              sign an image, or sign it anew: PCR8 becomes the certificate's
  verify-signature  exit 0 if the image's certificate signed this very image, 1 if not

Exit status: 0 done, 1 refused, 2 wrong usage. "cloister eif <command> --help" tells more; docs/eif.md explains the format
and each error code.
`;

/** @returns The exit status. */
export function run(args: readonly string[]): Promise<number> {
  return runSubcommand(args, processIo, {
    help: HELP,
    // Each loads what it needs, and building needs the most.
    subcommands: {
      build: async (rest) => (await import("./eif-build.ts")).run(rest),
      inspect: async (rest, io) => (await import("./eif-inspect.ts")).inspectEifCommand(rest, io),
      pcrs: async (rest, io) => (await import("./eif-pcrs.ts")).eifPcrsCommand(rest, io),
      diff: async (rest, io) => (await import("./eif-diff.ts")).diffEifsCommand(rest, io),
      extract: async (rest, io) => (await import("./eif-extract.ts")).extractEifCommand(rest, io),
      sign: async (rest, io) => (await import("./eif-sign.ts")).signEifCommand(rest, io),
      "verify-signature": async (rest, io) =>
        (await import("./eif-verify-signature.ts")).verifyEifSignatureCommand(rest, io),
    },
  });
}
