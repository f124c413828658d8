/** What `cloister attestation verify` and `inspect` have in common: options, input, and text for a terminal. */
import {
  type AttestationRoot,
  AWS_NITRO_ROOT_G1,
  createPcrSet,
  type ExpectedAttestation,
  type PcrSet,
} from "../attestation/index.ts";
import { type CommandIo, MAX_INPUT_BYTES, UsageError } from "./command-io.ts";
import { parseOptions, parseTime, readGiven } from "./command-options.ts";

export interface AttestationOptions {
  readonly path: string;
  readonly expected: ExpectedAttestation;
  readonly json: boolean;
}

const OPTIONS = {
  at: { type: "string" },
  nonce: { type: "string" },
  pcr: { type: "string", multiple: true },
  root: { type: "string", multiple: true },
  "max-age": { type: "string", default: "300" },
  "allow-debug": { type: "boolean", default: false },
  json: { type: "boolean", default: false },
  help: { type: "boolean", default: false },
} as const;

/**
 * @param defaultAt - What `--at` is where it is not given.
 * @returns Null where help was asked for.
 * @throws {@link UsageError}
 */
export async function readAttestationOptions(
  args: readonly string[],
  io: CommandIo,
  defaultAt: "now" | "document",
): Promise<AttestationOptions | null> {
  const { values, positionals } = parseOptions(args, OPTIONS);
  if (values.help) return null;
  if (positionals.length > 1) throw new UsageError(`expected one FILE, got ${positionals.length}`);
  const roots = await Promise.all((values.root ?? []).map((path) => readRoot(path, io)));
  const expected: ExpectedAttestation = {
    roots: roots.length === 0 ? [AWS_NITRO_ROOT_G1] : roots,
    atMs: readTime(values.at ?? defaultAt, io),
    nonce: values.nonce === undefined ? "unchecked" : parseHex(values.nonce, "--nonce"),
    pcrs: values.pcr === undefined ? "unchecked" : [parsePcrs(values.pcr, values["allow-debug"])],
    maxAgeMs: readSeconds(values["max-age"]) * 1000,
    allowDebug: values["allow-debug"],
  };
  return { path: positionals[0] ?? "-", expected, json: values.json };
}

function readTime(text: string, io: CommandIo): number | "document" {
  if (text === "document") return text;
  if (text === "now") return io.nowMs();
  const ms = parseTime(text);
  if (ms === null) throw new UsageError("--at: expected now, document, or a time such as 2026-01-31T12:00:00Z");
  return ms;
}

function readSeconds(text: string): number {
  if (!/^\d{1,9}$/.test(text)) throw new UsageError("--max-age: expected whole seconds");
  return Number(text);
}

export function parseHex(text: string, option: string): Uint8Array {
  if (!/^([0-9a-fA-F]{2})+$/.test(text)) throw new UsageError(`${option}: expected pairs of hex digits`);
  return new Uint8Array(Buffer.from(text, "hex"));
}

/** @throws {@link UsageError} for what is not N=HEX, or pins no image. */
export function parsePcrs(texts: readonly string[], allowDebug: boolean): PcrSet {
  const entries = texts.map((text): [number, Uint8Array] => {
    const [, index = "", value = ""] = /^(\d{1,2})=(.*)$/.exec(text) ?? [];
    if (index === "") throw new UsageError("--pcr: expected N=HEX, such as 0=9f…");
    return [Number(index), parseHex(value, `--pcr ${index}`)];
  });
  try {
    return allowDebug ? new Map(entries) : createPcrSet(entries);
  } catch (cause) {
    throw new UsageError(`--pcr: ${(cause as Error).message}`, { cause });
  }
}

async function readRoot(path: string, io: CommandIo): Promise<AttestationRoot> {
  return parseRoot(await readGiven(path, io), path);
}

/** @throws {@link UsageError} for what is no certificate in PEM or DER. */
export function parseRoot(bytes: Uint8Array, path: string): AttestationRoot {
  const pem = /-----BEGIN CERTIFICATE-----([A-Za-z0-9+/=\s]+)-----END CERTIFICATE-----/.exec(
    Buffer.from(bytes).toString("latin1"),
  );
  const der = pem === null ? bytes : new Uint8Array(Buffer.from(pem[1] ?? "", "base64"));
  if (der[0] !== 0x30) throw new UsageError(`--root: ${path} is neither PEM nor DER`);
  return { name: path, der };
}

/**
 * Reads a document that may be raw, base64 or hex. A raw one begins with 0x84 or 0xd2, which no text does.
 *
 * @throws {@link UsageError} if there is no such file.
 */
export async function readDocument(path: string, io: CommandIo): Promise<Uint8Array> {
  const bytes = await readGiven(path, io);
  // Too large for any form: the verifier refuses it by its size.
  if (bytes.length > MAX_INPUT_BYTES || bytes.some((byte) => byte > 0x7e)) return bytes;
  const text = Buffer.from(bytes).toString("latin1").replaceAll(/\s/g, "");
  if (/^([0-9a-fA-F]{2})+$/.test(text)) return new Uint8Array(Buffer.from(text, "hex"));
  if (/^[A-Za-z0-9+/_-]+={0,2}$/.test(text)) return new Uint8Array(Buffer.from(text, "base64"));
  return bytes;
}

export function hexOf(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString("hex");
}
