/** `cloister vault`: what administrators do with the vault. */
import { readFile } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";
import { parseArgs } from "node:util";
import { AttestationError } from "../attestation/index.ts";
import { type Client, ClientError, connect, RefusedError, type StampKey, stampKeyFromJwk } from "../client/index.ts";
import { encodeHex, type VaultStatus } from "../protocol/index.ts";
import { parseHex, parsePcrs, parseRoot } from "./attestation-options.ts";
import { UsageError } from "./command-io.ts";

const HELP = `Usage: cloister vault rotate|status --url URL --deployment NAME --root FILE --pcr 0=HEX --admin-key FILE…

Talks to an enclave that it has verified. "rotate" begins a new generation of the vault secret and stays until the old
one is retired: a minute at the least, because writes that were under way may settle late. Interrupted, it goes on inside
the enclave; ask again to watch it. "status" tells which generation is in use.

  --url URL            where the parent listens
  --deployment NAME    as the manifest has it
  --root FILE          attestation root, PEM
  --pcr N=HEX          what the image measures to; repeat for more registers
  --vault-id HEX       refuse an enclave that has opened another vault
  --admin-key FILE     an administrator's P-256 key as JWK; repeat for as many as the manifest asks for
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

function parse(args: readonly string[]) {
  try {
    return parseArgs({
      args: [...args],
      allowPositionals: true,
      options: {
        url: { type: "string" },
        deployment: { type: "string" },
        root: { type: "string" },
        pcr: { type: "string", multiple: true },
        "vault-id": { type: "string" },
        "admin-key": { type: "string", multiple: true },
        help: { type: "boolean", default: false },
      },
    });
  } catch (cause) {
    throw new UsageError((cause as Error).message, { cause });
  }
}

/** @returns Null where help was asked for. */
async function readOptions(args: readonly string[]): Promise<Options | null> {
  const { values, positionals } = parse(args);
  if (values.help) return null;
  const [command, ...others] = positionals;
  if ((command !== "rotate" && command !== "status") || others.length > 0)
    throw new UsageError("expected rotate or status");
  const { url, deployment, root, pcr, "admin-key": keyFiles } = values;
  if (!url || !deployment || !root || !pcr || !keyFiles) {
    const given = { url, deployment, root, pcr, "admin-key": keyFiles };
    const missing = Object.entries(given).flatMap(([name, value]) => (value ? [] : [`--${name}`]));
    throw new UsageError(`${missing.join(", ")} ${missing.length === 1 ? "is" : "are"} needed`);
  }
  const client = await connect({
    url,
    deployment,
    expected: {
      roots: [parseRoot(await readInput(root, "--root"), root)],
      pcrs: [parsePcrs(pcr, false)],
      manifestDigest: "covered-by-pcrs",
      vaultId: values["vault-id"] === undefined ? "any" : parseHex(values["vault-id"], "--vault-id"),
    },
  });
  return { command, client, keys: await Promise.all(keyFiles.map(readKey)) };
}

async function readInput(file: string, option: string): Promise<Uint8Array> {
  try {
    return await readFile(file);
  } catch (cause) {
    throw new UsageError(`${option}: ${file} cannot be read`, { cause });
  }
}

async function readKey(file: string): Promise<StampKey> {
  const text = Buffer.from(await readInput(file, "--admin-key")).toString("utf8");
  try {
    return await stampKeyFromJwk(JSON.parse(text) as JsonWebKey);
  } catch (cause) {
    throw new UsageError(`--admin-key: ${file} is no P-256 key as JWK`, { cause });
  }
}
