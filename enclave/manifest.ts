/** The manifest is part of the image: every attestation covers it, and nothing the parent says can change it. */
import { createHash } from "node:crypto";
import { type Document, parseDocument } from "yaml";
import { describeIssues, MAX_STAMPS, z } from "../protocol/index.ts";
import { StartError } from "./errors.ts";

const hostAndPort = z.string().check(
  z.regex(/^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?:[1-9][0-9]{0,4}$/, "expected host:port in lower case"),
  z.refine((text) => Number(text.split(":")[1]) <= 65_535, "a port over 65535"),
);

/** The largest enclaves have fewer processors than this, with one for the main thread. */
const MAX_SIGNING_WORKERS = 64;

const schema = z
  .strictObject({
    version: z.literal(1),
    /** Names this deployment in every audience, record and encryption context. */
    deployment: z.string().check(z.regex(/^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/, "expected a DNS label")),
    region: z.string().check(z.regex(/^[a-z]{2}(-[a-z]+)+-[0-9]$/, "expected an AWS region")),
    /** The full ARN, never an alias: whoever can move an alias could choose the key. */
    kmsKeyArn: z
      .string()
      .check(z.regex(/^arn:aws[a-z-]*:kms:[a-z0-9-]+:[0-9]{12}:key\/[A-Za-z0-9-]+$/, "expected a full KMS key ARN")),
    administrators: z.strictObject({
      threshold: z.int().check(z.minimum(1)),
      /** P-256, compressed, hex; no more than one request can carry stamps. */
      publicKeys: z
        .array(z.string().check(z.regex(/^0[23][0-9a-f]{64}$/, "expected a compressed P-256 key in lower-case hex")))
        .check(z.minLength(1), z.maxLength(MAX_STAMPS)),
    }),
    /** Hosts from which identity providers' keys may be fetched, besides KMS. */
    egress: z.array(hostAndPort).check(z.maxLength(64)),
    /** Threads that sign beside the main one; left out, as many as there are processors, and none on a single one. */
    signingWorkers: z.exactOptional(z.int().check(z.minimum(0), z.maximum(MAX_SIGNING_WORKERS))),
  })
  .check(
    z.refine(
      ({ administrators }) => administrators.threshold <= new Set(administrators.publicKeys).size,
      "administrators.threshold is more than the number of distinct keys",
    ),
    z.refine(({ region, kmsKeyArn }) => kmsKeyArn.split(":")[3] === region, "kmsKeyArn is of another region"),
  );

export type ManifestFields = z.output<typeof schema>;

export interface Manifest extends ManifestFields {
  /** SHA-256 of the file's bytes, as attestation documents carry it. */
  readonly digest: Uint8Array;
}

/**
 * Parses `cloister.yaml`.
 *
 * @throws {@link StartError} `MANIFEST_INVALID`
 */
export function parseManifest(bytes: Uint8Array): Manifest {
  const document = parseDocument(textOf(bytes), { uniqueKeys: true, version: "1.2" });
  const [problem] = [...document.errors, ...document.warnings];
  if (problem !== undefined) {
    const line = problem.linePos?.[0].line;
    const where = line === undefined ? "" : ` in line ${line}`;
    throw new StartError("MANIFEST_INVALID", `not YAML: ${problem.code}${where}`, { cause: problem });
  }
  const parsed = schema.safeParse(dataOf(document));
  if (!parsed.success) throw new StartError("MANIFEST_INVALID", describeIssues(parsed.error, "the manifest"));
  return { ...parsed.data, digest: createHash("sha256").update(bytes).digest() };
}

function textOf(bytes: Uint8Array): string {
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch (cause) {
    throw new StartError("MANIFEST_INVALID", "not UTF-8", { cause });
  }
}

function dataOf(document: Document): unknown {
  try {
    return document.toJS({ maxAliasCount: 0 });
  } catch (cause) {
    throw new StartError("MANIFEST_INVALID", "it uses an alias: write the value out", { cause });
  }
}

/** AWS General Reference, "AWS KMS endpoints". The region is measured, so the parent cannot send us elsewhere. */
export function kmsHost({ region }: ManifestFields): string {
  return `kms.${region}.amazonaws.com${region.startsWith("cn-") ? ".cn" : ""}`;
}
