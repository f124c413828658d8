/** The parent's configuration file: JSON, strict, so that a misspelt limit or destination is refused at the start. */
import { readFile } from "node:fs/promises";
import { describeIssues, parseStrictJson, z } from "../protocol/index.ts";
import { parseAddressAndPort } from "./egress/destination.ts";
import { StartError } from "./errors.ts";
import { parseProxies } from "./http/trusted-proxies.ts";

const MAX_CONFIG_BYTES = 256 * 1024;

const text = z.string().check(z.minLength(1), z.maxLength(4096));
const positive = z.int().check(z.minimum(1));
const destination = z
  .string()
  .check(z.regex(/^[a-z0-9.-]{1,253}:[1-9][0-9]{0,4}$/, "expected host:port in lower case"));
const addressAndPort = z
  .string()
  .check(z.refine((value) => parseAddressAndPort(value) !== undefined, "expected ip:port or [ip]:port"));

const isProxy = (entry: string) => parseProxies([entry]) !== undefined;

/** 0 to 2 are the hypervisor's, the machine's and the host's, 3 is the parent's, and the highest number is nobody's. */
const enclaveCid = z.int().check(z.minimum(4), z.maximum(0xffff_fffe));

const config = z.strictObject({
  vsock: z.discriminatedUnion("kind", [
    z.strictObject({
      kind: z.literal("unix-socket"),
      /** The enclave's end; streams to the parent arrive at `<path>_<port>`. */
      path: text,
    }),
    /** On EC2. Needs `make native`. */
    z.strictObject({
      kind: z.literal("af-vsock"),
      /** As `nitro-cli run-enclave` was told, or as `describe-enclaves` tells. */
      enclaveCid,
      /** Where `vhost_vsock` is loaded beside the enclave: see `hostAfVsock`. */
      toHost: z.optional(z.boolean()),
    }),
  ]),
  http: z.strictObject({
    host: text,
    /** 0: a free one, which the ready line names. */
    port: z.int().check(z.minimum(0), z.maximum(65_535)),
    /** Addresses, or `address/bits`, whose `X-Forwarded-For` is believed. */
    trustedProxies: z.optional(
      z.array(z.string().check(z.refine(isProxy, "expected an address, or address/bits"))).check(z.maxLength(64)),
    ),
  }),
  records: z.discriminatedUnion("kind", [
    /** One file, made when it is not there. */
    z.strictObject({ kind: z.literal("sqlite"), file: text }),
    z.strictObject({
      kind: z.literal("postgres"),
      /** A name, which the server's certificate must have, or the folder of a unix socket. */
      host: text,
      port: z._default(z.int().check(z.minimum(1), z.maximum(65_535)), 5432),
      database: text,
      user: text,
      /** Its one line is the password. */
      passwordFile: z._default(z.nullable(text), null),
      tls: z.discriminatedUnion("kind", [
        /** The system's authorities where no file is named. */
        z.strictObject({ kind: z.literal("verify-full"), caFile: z._default(z.nullable(text), null) }),
        z.strictObject({ kind: z.literal("none") }),
      ]),
      maxConnections: z._default(positive, 8),
    }),
  ]),
  egress: z.strictObject({
    allow: z.array(destination).check(z.maxLength(256)),
    connectTo: z.optional(z.record(destination, addressAndPort)),
    maxStreamsPerDestination: z.optional(positive),
  }),
  credentials: z.discriminatedUnion("kind", [
    /** The SDK's order: environment, files, container, instance. */
    z.strictObject({ kind: z.literal("aws") }),
    /** For a simulated KMS. They do not expire, so they are not for AWS. */
    z.strictObject({
      kind: z.literal("static"),
      accessKeyId: text,
      secretAccessKey: text,
      sessionToken: z.nullable(text),
    }),
  ]),
  limits: z.optional(
    z.strictObject({
      maxConnections: z.optional(positive),
      receiveTimeoutMs: z.optional(positive),
      sendTimeoutMs: z.optional(positive),
      maxUnsentBytes: z.optional(positive),
      maxInFlight: z.optional(positive),
      requestTimeoutMs: z.optional(positive),
      statusTimeoutMs: z.optional(positive),
      drainTimeoutMs: z.optional(positive),
      maxEgressStreams: z.optional(positive),
      egressConnectTimeoutMs: z.optional(positive),
      egressIdleTimeoutMs: z.optional(positive),
    }),
  ),
  logLevel: z.optional(z.enum(["debug", "info", "warn", "error"])),
});

/** What `--config` names. `connectTo`, `limits` and `logLevel` may be left out. */
export type ParentConfig = z.output<typeof config>;

/** @throws {@link StartError} `CONFIG_INVALID`, naming the wrong fields and never their content. */
export async function readConfig(file: string): Promise<ParentConfig> {
  try {
    return parseConfig(await readFile(file));
  } catch (cause) {
    throw new StartError("CONFIG_INVALID", `${file}: ${(cause as Error).message}`, { cause });
  }
}

/** @throws {@link StartError} `CONFIG_INVALID`, as {@link readConfig}. */
export function parseConfig(bytes: Uint8Array): ParentConfig {
  try {
    if (bytes.length > MAX_CONFIG_BYTES) throw new Error(`over ${MAX_CONFIG_BYTES} bytes`);
    const parsed = config.safeParse(parseStrictJson(bytes));
    if (parsed.success) return parsed.data;
    throw new Error(describeIssues(parsed.error, "the file"));
  } catch (cause) {
    throw new StartError("CONFIG_INVALID", (cause as Error).message, { cause });
  }
}
