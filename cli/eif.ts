/** `cloister eif`: build, look into, compare, take apart, sign and verify enclave images. */
import { processIo } from "./command-io.ts";

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
export async function run([command, ...args]: readonly string[]): Promise<number> {
  switch (command) {
    case "build":
      return (await import("./eif-build.ts")).run(args);
    case "inspect":
      return (await import("./eif-inspect.ts")).inspectEifCommand(args, processIo);
    case "pcrs":
      return (await import("./eif-pcrs.ts")).eifPcrsCommand(args, processIo);
    case "diff":
      return (await import("./eif-diff.ts")).diffEifsCommand(args, processIo);
    case "extract":
      return (await import("./eif-extract.ts")).extractEifCommand(args, processIo);
    case "sign":
      return (await import("./eif-sign.ts")).signEifCommand(args, processIo);
    case "verify-signature":
      return (await import("./eif-verify-signature.ts")).verifyEifSignatureCommand(args, processIo);
    case "--help":
      processIo.out(HELP);
      return 0;
    default:
      processIo.err(HELP);
      return 2;
  }
}
