/** `cloister vault`: what administrators do with the vault. */
import { setTimeout as sleep } from "node:timers/promises";
import { AttestationError } from "../attestation/index.ts";
import { type Client, ClientError, RefusedError, type StampKey } from "../client/index.ts";
import { encodeHex, type VaultStatus } from "../protocol/index.ts";
import { processIo, UsageError } from "./command-io.ts";
import { parseOptions } from "./command-options.ts";
import { connectTo, ENCLAVE_HELP, ENCLAVE_OPTIONS, openKeys } from "./enclave-options.ts";
import { PASSPHRASE_HELP, PASSPHRASE_OPTIONS } from "./passphrase.ts";

const HELP = `Usage: cloister vault rotate|status --url URL --deployment NAME --root FILE --pcr 0=HEX --admin-key FILE…

Talks to an enclave that it has verified. "rotate" begins a new generation of the vault secret and stays until the old
one is retired: a minute at the least, because writes that were under way may settle late. Interrupted, it goes on inside
the enclave; ask again to watch it. "status" tells which generation is in use.

${ENCLAVE_HELP}
  --admin-key FILE     an administrator's key ("cloister admin init"), or a P-256 key as JWK; repeat for as many as the
                       manifest asks for
${PASSPHRASE_HELP}
  --help               show this

Exit status: 0 done, 1 refused or failed, 2 wrong usage.
`;

const POLL_MS = 1_000;

interface Options {
  readonly command: "rotate" | "status";
  readonly client: Client;
  readonly keys: readonly StampKey[];
}

/** @returns The exit status. */
export async function run(args: readonly string[]): Promise<number> {
  try {
    const options = await readOptions(args);
    if (options === null) {
      console.log(HELP);
      return 0;
    }
    await (options.command === "rotate" ? rotate(options) : status(options));
    return 0;
  } catch (error) {
    if (error instanceof RefusedError || error instanceof ClientError || error instanceof AttestationError) {
      console.error(`cloister vault: ${error.code}: ${error.message}`);
      return 1;
    }
    if (!(error instanceof UsageError)) throw error;
    console.error(`cloister vault: ${error.message}; "cloister vault --help" tells more`);
    return 2;
  }
}

async function rotate({ client, keys }: Options): Promise<void> {
  let state = await client.rotateVault(keys);
  console.log(`vault ${vaultName(client)}: ${describe(state)}`);
  while (state.retiring.length > 0) {
    await sleep(POLL_MS);
    const next = await client.vaultStatus(keys);
    if (next.resealed !== state.resealed || next.retiring.length !== state.retiring.length) console.log(describe(next));
    state = next;
  }
}

async function status({ client, keys }: Options): Promise<void> {
  console.log(`vault ${vaultName(client)}: ${describe(await client.vaultStatus(keys))}`);
}

function vaultName({ vaultId }: Client): string {
  return vaultId === null ? "(not open)" : encodeHex(vaultId);
}

function describe({ generation, retiring, resealed }: VaultStatus): string {
  if (retiring.length === 0) return `generation ${generation}, no other in use`;
  return `generation ${generation}, retiring ${retiring.join(", ")}; ${resealed} records sealed anew`;
}

/** @returns Null where help was asked for. */
async function readOptions(args: readonly string[]): Promise<Options | null> {
  const { values, positionals } = parseOptions(args, {
    ...ENCLAVE_OPTIONS,
    ...PASSPHRASE_OPTIONS,
    "admin-key": { type: "string", multiple: true },
    help: { type: "boolean", default: false },
  });
  if (values.help) return null;
  const [command, ...others] = positionals;
  if ((command !== "rotate" && command !== "status") || others.length > 0)
    throw new UsageError("expected rotate or status");
  const { "admin-key": keyFiles = [] } = values;
  const client = await connectTo(values, processIo, { "admin-key": values["admin-key"] });
  return { command, client, keys: await openKeys(keyFiles, "--admin-key", values, processIo) };
}
