/** What `cloister policy check` is given to judge: files of each kind, and the facts that the enclave's parsers make of them. */
import {
  type Facts,
  factsFromJson,
  factsOfEvmTransaction,
  factsOfPsbt,
  factsOfSolanaTransaction,
  factsOfTypedData,
} from "../enclave/index.ts";
import {
  type Account,
  accountSchema,
  BITCOIN_NETWORKS,
  type BitcoinNetworkName,
  decodeHex,
  OPEN_SIGHASH_TYPES,
  type OpenSighashType,
  z,
} from "../protocol/index.ts";
import { type CommandIo, UsageError } from "./command-io.ts";
import { readGiven } from "./command-options.ts";
import { readJson } from "./json-input.ts";

export const FACTS_OPTIONS = {
  transaction: { type: "string" },
  "typed-data": { type: "string" },
  message: { type: "string" },
  "solana-transaction": { type: "string" },
  psbt: { type: "string" },
  facts: { type: "string" },
  from: { type: "string" },
  accounts: { type: "string" },
  fingerprint: { type: "string" },
  network: { type: "string", default: "bitcoin" },
  sighash: { type: "string", multiple: true },
} as const;

interface FactsValues {
  readonly transaction?: string | undefined;
  readonly "typed-data"?: string | undefined;
  readonly message?: string | undefined;
  readonly "solana-transaction"?: string | undefined;
  readonly psbt?: string | undefined;
  readonly facts?: string | undefined;
  readonly from?: string | undefined;
  readonly accounts?: string | undefined;
  readonly fingerprint?: string | undefined;
  readonly network: string;
  readonly sighash?: readonly string[] | undefined;
}

const SOURCES = ["transaction", "typed-data", "message", "solana-transaction", "psbt", "facts"] as const;
type Source = (typeof SOURCES)[number];

const ENCODINGS = {
  hex: /^(?:0x)?((?:[0-9a-fA-F]{2})+)$/,
  base64: /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/,
};
/** "psbt" and 0xff. */
const PSBT_MAGIC = Uint8Array.of(0x70, 0x73, 0x62, 0x74, 0xff);

/** @throws {@link UsageError}; RequestError what the enclave's parsers throw */
export async function readFacts(values: FactsValues, io: CommandIo): Promise<Facts> {
  const given = SOURCES.filter((name) => values[name] !== undefined);
  const [source, ...others] = given;
  if (source === undefined || others.length > 0) {
    throw new UsageError(`expected one of ${SOURCES.map((name) => `--${name}`).join(", ")}`);
  }
  const path = values[source] ?? "";
  if (source === "facts") return factsFromJson(await readJson(path, io));
  if (source === "psbt") return await readPsbt(path, values, io);
  const { from } = values;
  if (from === undefined) throw new UsageError("--from is required: the address of the account that signs");
  switch (source) {
    case "transaction":
      return factsOfEvmTransaction(textOf(await readGiven(path, io), source, ["hex"]).toString("hex"), from);
    case "solana-transaction":
      return factsOfSolanaTransaction(textOf(await readGiven(path, io), source, ["hex", "base64"]), from);
    case "typed-data":
      return factsOfTypedData(await readJson(path, io), from);
    case "message":
      return { kind: "evm-message", from, message: await readGiven(path, io) };
  }
}

async function readPsbt(path: string, values: FactsValues, io: CommandIo): Promise<Facts> {
  const { accounts: accountsPath, fingerprint, from, network, sighash = [] } = values;
  if (from !== undefined) throw new UsageError("--from is not for --psbt: give --accounts, or --fingerprint");
  if (accountsPath === undefined && fingerprint === undefined) {
    throw new UsageError("--psbt needs --accounts or --fingerprint: whose inputs and change are the wallet's?");
  }
  if (fingerprint !== undefined && !/^[0-9a-fA-F]{8}$/.test(fingerprint)) {
    throw new UsageError("--fingerprint: expected eight hex digits");
  }
  if (!isNetwork(network)) throw new UsageError(`--network: expected ${BITCOIN_NETWORKS.join(" or ")}`);
  const types = sighash.map((type) => {
    if (isOpenSighash(type)) return type;
    throw new UsageError(`--sighash: expected one of ${OPEN_SIGHASH_TYPES.join(", ")}`);
  });
  const accounts = accountsPath === undefined ? [] : await readAccounts(accountsPath, io);
  const bytes = await readGiven(path, io);
  const isBinary = Buffer.compare(bytes.subarray(0, PSBT_MAGIC.length), PSBT_MAGIC) === 0;
  const keys = {
    network,
    accounts,
    fingerprint: fingerprint === undefined ? null : decodeHex(fingerprint.toLowerCase()),
  };
  return factsOfPsbt(isBinary ? bytes : textOf(bytes, "psbt", ["hex", "base64"]), keys, types);
}

/** A list, or a wallet that has one. */
async function readAccounts(path: string, io: CommandIo): Promise<readonly Account[]> {
  const json = await readJson(path, io);
  const isWallet = typeof json === "object" && json !== null && !Array.isArray(json) && Object.hasOwn(json, "accounts");
  const parsed = z.array(accountSchema).safeParse(isWallet ? (json as { accounts: unknown }).accounts : json);
  if (parsed.success) return parsed.data;
  throw new UsageError(`${path} has no accounts: expected a wallet as create_wallet answers, or its list of accounts`);
}

function textOf(bytes: Uint8Array, source: Source, encodings: readonly (keyof typeof ENCODINGS)[]): Buffer {
  const text = new TextDecoder().decode(bytes).trim();
  for (const encoding of encodings) {
    const found = text === "" ? null : ENCODINGS[encoding].exec(text);
    if (found !== null) return Buffer.from(found[1] ?? found[0], encoding);
  }
  throw new UsageError(`--${source}: expected ${encodings.join(" or ")}`);
}

function isNetwork(name: string): name is BitcoinNetworkName {
  return (BITCOIN_NETWORKS as readonly string[]).includes(name);
}

function isOpenSighash(type: string): type is OpenSighashType {
  return (OPEN_SIGHASH_TYPES as readonly string[]).includes(type);
}
