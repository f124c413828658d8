/** Options of commands that talk to an enclave: which one, and how it is known to be that. */
import { type Client, connect, type StampKey } from "../client/index.ts";
import { KeyFileError, openKeyFile } from "../client-node/index.ts";
import { parseHex, parsePcrs, parseRoot } from "./attestation-options.ts";
import { type CommandIo, UsageError } from "./command-io.ts";
import { readGiven } from "./command-options.ts";
import { type PassphraseOptions, readPassphrase } from "./passphrase.ts";

export const ENCLAVE_OPTIONS = {
  url: { type: "string" },
  deployment: { type: "string" },
  root: { type: "string" },
  pcr: { type: "string", multiple: true },
  "vault-id": { type: "string" },
} as const;

export const ENCLAVE_HELP = `  --url URL            where the parent listens
  --deployment NAME    as the manifest has it
  --root FILE          attestation root, PEM
  --pcr N=HEX          what the image measures to; repeat for more registers
  --vault-id HEX       refuse an enclave that has opened another vault`;

export interface EnclaveOptions {
  readonly url?: string | undefined;
  readonly deployment?: string | undefined;
  readonly root?: string | undefined;
  readonly pcr?: string[] | undefined;
  readonly "vault-id"?: string | undefined;
}

/**
 * Connects, and verifies.
 *
 * @param alsoNeeded - Further options that the command cannot do without, by name.
 * @throws {@link UsageError}, and what {@link connect} throws
 */
export async function connectTo(
  options: EnclaveOptions,
  io: CommandIo,
  alsoNeeded: Readonly<Record<string, unknown>> = {},
): Promise<Client> {
  const { url, deployment, root, pcr, "vault-id": vaultId } = options;
  const needed = { url, deployment, root, pcr, ...alsoNeeded };
  if (!url || !deployment || !root || !pcr || Object.values(alsoNeeded).some((value) => !value)) {
    const missing = Object.entries(needed).flatMap(([name, value]) => (value ? [] : [`--${name}`]));
    throw new UsageError(`${missing.join(", ")} ${missing.length === 1 ? "is" : "are"} needed`);
  }
  return connect({
    url,
    deployment,
    expected: {
      roots: [parseRoot(await readGiven(root, io), root)],
      pcrs: [parsePcrs(pcr, false)],
      manifestDigest: "covered-by-pcrs",
      vaultId: vaultId === undefined ? "any" : parseHex(vaultId, "--vault-id"),
    },
  });
}

/** @throws {@link UsageError} */
export async function openKeys(
  files: readonly string[],
  option: string,
  passphrase: PassphraseOptions,
  io: CommandIo,
): Promise<readonly StampKey[]> {
  const keys: StampKey[] = [];
  // One by one: each may ask for its passphrase.
  for (const file of files) {
    try {
      keys.push(await openKeyFile(file, () => readPassphrase(file, passphrase, io, "open")));
    } catch (cause) {
      if (!(cause instanceof KeyFileError)) throw cause;
      throw new UsageError(`${option}: ${cause.message}`, { cause });
    }
  }
  return keys;
}
