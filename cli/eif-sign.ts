/** `cloister eif sign`: sign an image with a key in a file or in KMS. */
import { createKeyFileSigner, type EifSigner, signEif } from "../eif/index.ts";
import { type CommandIo, printableJson, UsageError } from "./command-io.ts";
import { progress, readOptionFile, readTime, runEifCommand } from "./eif-options.ts";

const HELP = `Usage: cloister eif sign FILE --certificate PEM (--private-key PEM | --kms-key ARN) [--out FILE]

Signs PCR0 of an image; the hypervisor then measures the certificate as PCR8. A signature that is there already is
replaced, and the header's table and CRC are written anew. Without --out the image itself is replaced, at once and only
when everything has succeeded. Prints the measurements as nitro-cli sign-eif does.

  --certificate PEM   the signing certificate, on P-256, P-384 or P-521, valid now
  --private-key PEM   its key
  --kms-key ARN       its key in KMS (SIGN_VERIFY); the digest is computed here. Credentials and endpoint are taken as the
                      AWS CLI takes them
  --out FILE          write the signed image there and leave FILE as it is

Exit status: 0 signed, 1 refused, 2 wrong usage.
`;

/** @returns The exit status. */
export async function signEifCommand(args: readonly string[], io: CommandIo): Promise<number> {
  const options = {
    certificate: { type: "string" },
    "private-key": { type: "string" },
    "kms-key": { type: "string" },
    out: { type: "string" },
  } as const;
  return runEifCommand(
    { name: "sign", help: HELP, options, files: ["FILE"] },
    args,
    io,
    async (values, [path = ""]) => {
      const signer = await readSigner(values, io);
      const measurements = await signEif(path, values.out ?? path, signer, progress(io, "signing"));
      io.out(`${printableJson({ Measurements: measurements })}\n`);
      return 0;
    },
  );
}

interface SignerOptions {
  readonly certificate?: string | undefined;
  readonly "private-key"?: string | undefined;
  readonly "kms-key"?: string | undefined;
}

async function readSigner(options: SignerOptions, io: CommandIo): Promise<EifSigner> {
  const { certificate, "private-key": privateKey, "kms-key": kmsKey } = options;
  if (certificate === undefined) throw new UsageError("expected --certificate PEM");
  if ((privateKey === undefined) === (kmsKey === undefined)) {
    throw new UsageError("expected either --private-key PEM or --kms-key ARN");
  }
  const certificatePem = await readOptionFile(certificate, io);
  const nowMs = readTime(undefined, io);
  if (privateKey !== undefined) {
    return createKeyFileSigner(certificatePem, await readOptionFile(privateKey, io), nowMs);
  }
  const { createKmsSigner } = await import("./eif-kms-signer.ts");
  return createKmsSigner(certificatePem, kmsKey ?? "", nowMs);
}
