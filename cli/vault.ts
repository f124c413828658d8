/** `cloister vault`: what administrators do with the vault. */
import { readFile } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";
import { parseArgs } from "node:util";
import { AttestationError, createPcrSet } from "../attestation/index.ts";
import { type Client, ClientError, connect, RefusedError, type StampKey, stampKeyOf } from "../client/index.ts";
import { decodeHex, encodeHex, type VaultStatus } from "../protocol/index.ts";

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
    console.error(`cloister vault: ${(error as Error).message}\n\n${HELP}`);
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
  const { values, positionals } = parseArgs({
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
  if (values.help) return null;
  const [command, ...others] = positionals;
  if ((command !== "rotate" && command !== "status") || others.length > 0) throw new Error("expected rotate or status");
  const { url, deployment, root, pcr, "admin-key": keyFiles } = values;
  if (!url || !deployment || !root || !pcr || !keyFiles) {
    throw new Error("--url, --deployment, --root, --pcr and --admin-key are all needed");
  }
  const client = await connect({
    url,
    deployment,
    expected: {
      roots: [{ name: root, der: await readPem(root) }],
      pcrs: [createPcrSet(pcr.map(readPcr))],
      manifestDigest: "covered-by-pcrs",
      vaultId: values["vault-id"] === undefined ? "any" : decodeHex(values["vault-id"]),
    },
  });
  return { command, client, keys: await Promise.all(keyFiles.map(readKey)) };
}

function readPcr(text: string): readonly [number, Uint8Array] {
  const [, index, hex] = /^([0-9]{1,2})=([0-9a-fA-F]{96})$/.exec(text) ?? [];
  if (index === undefined || hex === undefined) throw new Error("--pcr: expected N= and 96 hex digits");
  return [Number(index), decodeHex(hex)];
}

async function readPem(file: string): Promise<Uint8Array> {
  const body = /-----BEGIN CERTIFICATE-----([A-Za-z0-9+/=\s]+)-----END CERTIFICATE-----/.exec(
    await readFile(file, "utf8"),
  );
  if (body?.[1] === undefined) throw new Error(`--root: ${file} holds no certificate in PEM`);
  return Uint8Array.from(Buffer.from(body[1], "base64"));
}

async function readKey(file: string): Promise<StampKey> {
  const algorithm = { name: "ECDSA", namedCurve: "P-256" } as const;
  try {
    const jwk = JSON.parse(await readFile(file, "utf8")) as JsonWebKey;
    const { kty, crv, x, y } = jwk;
    const publicJwk = { kty, crv, x, y } as JsonWebKey;
    return await stampKeyOf({
      privateKey: await crypto.subtle.importKey("jwk", jwk, algorithm, false, ["sign"]),
      publicKey: await crypto.subtle.importKey("jwk", publicJwk, algorithm, true, ["verify"]),
    });
  } catch (cause) {
    throw new Error(`--admin-key: ${file} is no P-256 key as JWK`, { cause });
  }
}
