/** What the `cloister kms-policy` commands have in common: options, PCRs, input and errors. */
import type { ParseArgsOptionsConfig } from "node:util";
import { pcr3OfRoleArn } from "../attestation/index.ts";
import { createPcrValues, KeyPolicyError, type KeyPrincipals, type PcrValues } from "../kms-policy/index.ts";
import { type CommandIo, UsageError } from "./command-io.ts";
import { readGiven, required } from "./command-options.ts";

/** The world outside, so that tests can stand in for it. */
export interface KmsPolicyIo extends CommandIo {
  /** Fails if there is such a file. */
  write(path: string, text: string): Promise<void>;
}

export const PRINCIPALS_HELP = `  --role ARN             the parent instance's role, whose credentials the enclave uses
  --break-glass ARN      the only role that may change the policy or destroy the key
  --administrator ARN    may describe and tag the key; may be repeated
  --account ID           the key's account (default: the break-glass role's)`;

export const PRINCIPALS_OPTIONS = {
  role: { type: "string" },
  "break-glass": { type: "string" },
  administrator: { type: "string", multiple: true },
  account: { type: "string" },
} as const satisfies ParseArgsOptionsConfig;

export function readPrincipals(values: {
  readonly role?: string | undefined;
  readonly "break-glass"?: string | undefined;
  readonly administrator?: readonly string[] | undefined;
  readonly account?: string | undefined;
}): KeyPrincipals {
  const breakGlassRoleArn = required(values["break-glass"], "--break-glass");
  return {
    roleArn: required(values.role, "--role"),
    breakGlassRoleArn,
    administratorArns: values.administrator ?? [],
    accountId: values.account ?? breakGlassRoleArn.split(":")[4] ?? "",
  };
}

/** `N=HEX`, or several with commas between. */
export function readPcrs(text: string, option: string): [index: number, hex: string][] {
  return text.split(",").map((term) => {
    const [, index, hex] = /^([0-9]{1,2})=([0-9A-Fa-f]+)$/.exec(term.trim()) ?? [];
    if (index === undefined || hex === undefined) throw new UsageError(`${option}: expected N=HEX, such as 0=9f…`);
    return [Number(index), hex];
  });
}

/** Which PCRs stand for an image: `image` is PCR0, `signer` PCR8 and the PCR3 of the role. */
export type PcrChoice = "image" | "signer";

export function readPcrChoice(text: string): PcrChoice {
  if (text !== "image" && text !== "signer") throw new UsageError("--by: expected image or signer");
  return text;
}

/** @throws {@link UsageError}, {@link KeyPolicyError} */
export async function readPcrSets(
  given: {
    readonly pcrs: readonly string[];
    readonly measurements: readonly string[];
    readonly option: string;
    readonly by: PcrChoice;
    readonly roleArn: string;
  },
  io: KmsPolicyIo,
): Promise<PcrValues[]> {
  const sets = given.pcrs.map((text) => createPcrValues(readPcrs(text, given.option)));
  for (const path of given.measurements) {
    sets.push(createPcrValues(await chosen(await readMeasurements(path, io), path, given.by, given.roleArn)));
  }
  return sets;
}

async function chosen(
  measured: ReadonlyMap<number, string>,
  path: string,
  by: PcrChoice,
  roleArn: string,
): Promise<[index: number, hex: string][]> {
  const index = by === "image" ? 0 : 8;
  const hex = measured.get(index);
  if (hex === undefined)
    throw new UsageError(`${path} has no PCR${index}${by === "signer" ? ": it is not signed" : ""}`);
  if (by === "image") return [[0, hex]];
  return [
    [8, hex],
    [3, Buffer.from(await pcr3OfRoleArn(roleArn)).toString("hex")],
  ];
}

/** What `nitro-cli build-enclave` and `describe-eif` print: `{"Measurements": {"PCR0": "…"}}`. */
export async function readMeasurements(path: string, io: KmsPolicyIo): Promise<Map<number, string>> {
  let file: unknown;
  try {
    file = JSON.parse(await readText(path, io));
  } catch (cause) {
    if (cause instanceof UsageError) throw cause;
    throw new UsageError(`${path} is not JSON`, { cause });
  }
  const measurements = fieldOf(file, "Measurements");
  if (typeof measurements !== "object" || measurements === null) throw new UsageError(`${path} has no "Measurements"`);
  return new Map(
    Object.entries(measurements).flatMap(([name, hex]): [number, string][] => {
      const index = /^PCR([0-9]{1,2})$/.exec(name)?.[1];
      if (index === undefined) return [];
      if (typeof hex !== "string") throw new UsageError(`${path}: ${name} is not text`);
      return [[Number(index), hex]];
    }),
  );
}

function fieldOf(value: unknown, name: string): unknown {
  return typeof value === "object" && value !== null ? (value as Record<string, unknown>)[name] : undefined;
}

/** @throws {@link UsageError} if there is no such file, or if it is no UTF-8. */
export async function readText(path: string, io: KmsPolicyIo): Promise<string> {
  const bytes = await readGiven(path, io);
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch (cause) {
    throw new UsageError(`cannot read ${path}: ${(cause as Error).message}`, { cause });
  }
}

/** Runs a command and turns wrong use into exit status 2. */
export async function reporting(name: string, io: KmsPolicyIo, work: () => Promise<number>): Promise<number> {
  try {
    return await work();
  } catch (error) {
    if (error instanceof KeyPolicyError) io.err(`cloister kms-policy ${name}: ${error.code}: ${error.message}\n`);
    else if (error instanceof UsageError) io.err(`cloister kms-policy ${name}: ${error.message}\n`);
    else throw error;
    return 2;
  }
}
