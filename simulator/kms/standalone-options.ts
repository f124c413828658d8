/** The command line of a simulated KMS that runs alone. */
import { readFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { type AttestationRoot, AWS_NITRO_ROOT_G1 } from "../../attestation/index.ts";
import { latencyPlan, parseFaultScript } from "./fault-script.ts";
import { type KeyPolicyInput, parseIdentityPolicy, parseKeyPolicy } from "./policy-document.ts";
import { identityOf, type KmsPrincipal } from "./principal.ts";
import type { KmsFaults } from "./server-options.ts";
import { AWS_REQUEST_QUOTAS } from "./throttle.ts";

export const STANDALONE_HELP = `Usage: cloister simulate-kms [--port N] [--state FILE] [--policy FILE] [--root PEM]... [options]

Runs a KMS that verifies attestation documents and enforces key policies, for tests of enclaves with any AWS SDK. Its keys
and credentials are its own: nothing that it gives out is worth anything elsewhere.

  --port N           on 127.0.0.1 (default 8443; 0 takes a free one)
  --state FILE       where keys, policies, grants and aliases are kept; left out, they go with the process
  --policy FILE      the key policy of alias/cloister, which is made where there is none (default: AWS's default policy)
  --root PEM         trust attestation documents under this root; may be repeated
  --aws-root         trust genuine documents, under AWS's own root
  --max-age SECONDS  how old a document may be (default 300)
  --region NAME      default us-east-1
  --account N        twelve digits (default 111122223333)
  --principals FILE  credentials in place of the two that are made: a JSON list of objects with arn, accessKeyId,
                     secretAccessKey and, if need be, sessionToken, identityPolicies, conditionKeys
  --http             no TLS, for SDKs that cannot be given a certificate authority
  --ca-file FILE     where the certificate authority is written (default: beside the state, or in a temporary folder)
  --tls-name NAME    one more name in the certificate, such as that of a container; may be repeated
  --host ADDRESS     listen there instead of 127.0.0.1
  --nsm SOCKET       serve a simulated NSM at this unix socket, and trust its root
  --pcr N=HEX        a PCR of that NSM's documents; may be repeated (default: PCR0 of 48 bytes 01)
  --latency MS       delay every answer; MIN-MAX for a random time between
  --throttle RATE    requests per second for each group of operations, or "aws" for AWS's quotas
  --fault FILE       faults by rules, see docs/kms-simulator.md
  --verbose          show every request and why it was refused
  --help             show this

Ctrl-C stops it. Exit status: 0 stopped, 1 failed, 2 wrong usage.
`;

export interface StandaloneOptions {
  readonly port: number;
  readonly host: string;
  readonly stateFile: string | null;
  readonly policy: KeyPolicyInput | null;
  readonly roots: readonly AttestationRoot[];
  readonly maxAgeMs: number;
  readonly region: string;
  readonly accountId: string;
  /** Null: an administrator and an enclave's role are made. */
  readonly principals: readonly KmsPrincipal[] | null;
  readonly http: boolean;
  readonly caFile: string | null;
  readonly tlsNames: readonly string[];
  readonly nsm: { readonly socket: string; readonly pcrs: ReadonlyMap<number, Uint8Array> } | null;
  readonly faults: KmsFaults | null;
  readonly throttle: Readonly<Record<string, number>> | null;
  readonly verbose: boolean;
}

/** Wrong use: exit status 2. */
export class StandaloneUsageError extends Error {
  override readonly name = "StandaloneUsageError";
}

/**
 * @returns Null where help was asked for.
 * @throws {@link StandaloneUsageError}
 */
export function readStandaloneOptions(args: readonly string[]): StandaloneOptions | null {
  const values = parse(args);
  if (values.help) return null;
  if (values.latency !== undefined && values.fault !== undefined) usage("expected --latency or --fault, not both");
  if (values.pcr !== undefined && values.nsm === undefined) usage("--pcr: is for documents of --nsm");
  return {
    port: numberOf("--port", values.port, 0, 65_535),
    host: values.host,
    stateFile: values.state ?? null,
    policy: values.policy === undefined ? null : readPolicy(values.policy),
    roots: [...(values.root ?? []).map(readRoot), ...(values["aws-root"] ? [AWS_NITRO_ROOT_G1] : [])],
    maxAgeMs: numberOf("--max-age", values["max-age"], 0, 1e9) * 1000,
    region: /^[a-z]{2}(-[a-z]+)+-[0-9]$/.test(values.region) ? values.region : usage("--region: expected a region"),
    accountId: /^[0-9]{12}$/.test(values.account) ? values.account : usage("--account: expected twelve digits"),
    principals: values.principals === undefined ? null : readPrincipals(values.principals),
    http: values.http,
    caFile: values["ca-file"] ?? null,
    tlsNames: values["tls-name"] ?? [],
    nsm: values.nsm === undefined ? null : { socket: values.nsm, pcrs: readPcrs(values.pcr ?? []) },
    faults: readFaults(values),
    throttle: values.throttle === undefined ? null : readThrottle(values.throttle),
    verbose: values.verbose,
  };
}

function parse(args: readonly string[]) {
  const text = { type: "string" } as const;
  const many = { type: "string", multiple: true } as const;
  const flag = { type: "boolean", default: false } as const;
  try {
    return parseArgs({
      args: [...args],
      options: {
        ...{ port: { type: "string", default: "8443" }, host: { type: "string", default: "127.0.0.1" } },
        ...{ state: text, policy: text, root: many, "aws-root": flag, "max-age": { type: "string", default: "300" } },
        ...{ region: { type: "string", default: "us-east-1" }, account: { type: "string", default: "111122223333" } },
        ...{ principals: text, http: flag, "ca-file": text, "tls-name": many, nsm: text, pcr: many },
        ...{ latency: text, throttle: text, fault: text, verbose: flag, help: flag },
      },
    }).values;
  } catch (cause) {
    throw new StandaloneUsageError((cause as Error).message, { cause });
  }
}

function readPolicy(path: string): string {
  const text = readText("--policy", path);
  try {
    return parseKeyPolicy(text).text;
  } catch (cause) {
    return usage(`--policy: ${path}: ${(cause as Error).message}`);
  }
}

function readRoot(path: string): AttestationRoot {
  const pem = /-----BEGIN CERTIFICATE-----([A-Za-z0-9+/=\s]+)-----END CERTIFICATE-----/.exec(readText("--root", path));
  if (pem === null) return usage(`--root: ${path}: expected a certificate in PEM`);
  return { name: path, der: new Uint8Array(Buffer.from(pem[1] ?? "", "base64")) };
}

function readPrincipals(path: string): KmsPrincipal[] {
  try {
    const list: unknown = JSON.parse(readText("--principals", path));
    if (!Array.isArray(list) || list.length === 0) throw new Error("expected a list of principals");
    return list.map(parsePrincipal);
  } catch (cause) {
    if (cause instanceof StandaloneUsageError) throw cause;
    return usage(`--principals: ${path}: ${(cause as Error).message}`);
  }
}

function parsePrincipal(value: unknown, index: number): KmsPrincipal {
  const { arn, accessKeyId, secretAccessKey, sessionToken, identityPolicies, conditionKeys, ...others } = (value ??
    {}) as Record<string, unknown>;
  const [unknown] = Object.keys(others);
  if (unknown !== undefined) throw new Error(`[${index}].${unknown} is not known`);
  if (typeof arn !== "string" || typeof accessKeyId !== "string" || typeof secretAccessKey !== "string") {
    throw new Error(`[${index}]: expected arn, accessKeyId and secretAccessKey`);
  }
  if (!/^[A-Za-z0-9]{1,128}$/.test(accessKeyId)) throw new Error(`[${index}].accessKeyId: expected letters and digits`);
  identityOf(arn);
  if (sessionToken !== undefined && typeof sessionToken !== "string") throw new Error(`[${index}].sessionToken`);
  return {
    ...{ arn, accessKeyId, secretAccessKey, sessionToken: sessionToken ?? null, expiresAtMs: null },
    ...(identityPolicies === undefined ? {} : { identityPolicies: parsePolicies(index, identityPolicies) }),
    ...(conditionKeys === undefined ? {} : { conditionKeys: parseConditionKeys(index, conditionKeys) }),
  };
}

function parsePolicies(index: number, value: unknown): string[] {
  if (!Array.isArray(value)) throw new Error(`[${index}].identityPolicies: expected a list of policies`);
  return value.map((policy) => parseIdentityPolicy(JSON.stringify(policy)).text);
}

function parseConditionKeys(index: number, value: unknown): Record<string, string | readonly string[]> {
  const entries = Object.entries(value ?? {}).map(([key, values]: [string, unknown]) => {
    const list = Array.isArray(values) ? values : [values];
    const texts = list.filter((one) => typeof one === "string");
    if (texts.length !== list.length) throw new Error(`[${index}].conditionKeys.${key}: expected strings`);
    return [key, texts] as const;
  });
  return Object.fromEntries(entries);
}

function readPcrs(options: readonly string[]): ReadonlyMap<number, Uint8Array> {
  if (options.length === 0) return new Map([[0, new Uint8Array(48).fill(1)]]);
  return new Map(
    options.map((option) => {
      const [, index = "", hex = ""] = /^([0-9]{1,2})=([0-9a-fA-F]{96})$/.exec(option) ?? [];
      if (index === "" || Number(index) > 31) usage("--pcr: expected 0 to 31, = and 96 hex digits");
      return [Number(index), new Uint8Array(Buffer.from(hex, "hex"))] as const;
    }),
  );
}

function readFaults({
  latency,
  fault,
}: {
  readonly latency?: string | undefined;
  readonly fault?: string | undefined;
}) {
  if (fault !== undefined) {
    const text = readText("--fault", fault);
    try {
      return { plan: parseFaultScript(text) };
    } catch (cause) {
      return usage(`--fault: ${fault}: ${(cause as Error).message}`);
    }
  }
  if (latency === undefined) return null;
  const [, min = "", max = min] = /^([0-9]{1,6})(?:-([0-9]{1,6}))?$/.exec(latency) ?? [];
  if (min === "" || Number(min) > Number(max)) usage("--latency: expected milliseconds, or MIN-MAX");
  return { plan: latencyPlan([Number(min), Number(max)]) };
}

function readThrottle(text: string): Readonly<Record<string, number>> {
  if (text === "aws") return AWS_REQUEST_QUOTAS;
  const rate = Number(text);
  return /^[0-9]+(\.[0-9]+)?$/.test(text) && rate > 0 ? { "*": rate } : usage('--throttle: expected a rate or "aws"');
}

function numberOf(option: string, text: string, min: number, max: number): number {
  const value = /^[0-9]{1,10}$/.test(text) ? Number(text) : Number.NaN;
  return value >= min && value <= max ? value : usage(`${option}: expected ${min} to ${max}`);
}

function readText(option: string, path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch (cause) {
    throw new StandaloneUsageError(`${option}: cannot read ${path}`, { cause });
  }
}

function usage(why: string): never {
  throw new StandaloneUsageError(why);
}
