/** One request by several administrators: written down, stamped by each where their key is, sent by anybody. */
import { randomUUID } from "node:crypto";
import { writeFile } from "node:fs/promises";
import {
  ACCESS,
  decodeRequest,
  describeIssues,
  encodeRequest,
  encodeStamp,
  isOperationName,
  type JsonValue,
  OPERATIONS,
  ProtocolError,
  type RequestEnvelope,
  z,
} from "../protocol/index.ts";
import { type CommandIo, printable, UsageError } from "./command-io.ts";
import { onePositional, parseOptions } from "./command-options.ts";
import { connectTo, ENCLAVE_OPTIONS, openKeys } from "./enclave-options.ts";
import { readJson } from "./json-input.ts";
import { PASSPHRASE_OPTIONS } from "./passphrase.ts";

const requestFile = z.strictObject({
  kind: z.literal("cloister-request"),
  version: z.literal(1),
  /** The very text that stamps cover. */
  body: z.string(),
  /** `X-Stamp` header values. */
  stamps: z.array(z.string()),
});
type RequestFile = z.output<typeof requestFile>;

export async function prepareCommand(args: readonly string[], io: CommandIo): Promise<void> {
  const { values, positionals } = parseOptions(args, {
    params: { type: "string" },
    deployment: { type: "string" },
    out: { type: "string" },
  });
  const operation = onePositional(positionals, "OPERATION");
  const { params: paramsFile, deployment, out } = values;
  if (!deployment || !out) throw new UsageError("--deployment and --out are needed");
  if (!isOperationName(operation) || ACCESS[operation].kind !== "administrators") {
    const names = Object.entries(ACCESS).flatMap(([name, { kind }]) => (kind === "administrators" ? [name] : []));
    throw new UsageError(`expected one of ${names.join(", ")}`);
  }
  const params = paramsFile === undefined ? {} : await readJson(paramsFile, io);
  const parsed = OPERATIONS[operation].params.safeParse(params);
  if (!parsed.success) throw new UsageError(`--params: ${describeIssues(parsed.error)}`);
  const request = { operation, audience: deployment, requestId: randomUUID(), issuedAtMs: io.nowMs(), params };
  const body = Buffer.from(encodeRequest(request)).toString("utf8");
  await write(out, { kind: "cloister-request", version: 1, body, stamps: [] });
}

export async function stampCommand(args: readonly string[], io: CommandIo): Promise<void> {
  const { values, positionals } = parseOptions(args, {
    key: { type: "string", multiple: true },
    out: { type: "string" },
    ...PASSPHRASE_OPTIONS,
  });
  const { key: keyFiles, out } = values;
  if (!keyFiles || !out) throw new UsageError("--key and --out are needed");
  const file = await read(onePositional(positionals, "FILE"), io);
  // What is stamped is what is shown: the text itself, and not what somebody says about it.
  io.err(`${describe(decode(file))}\n`);
  const body = new TextEncoder().encode(file.body);
  const keys = await openKeys(keyFiles, "--key", values, io);
  const stamps = await Promise.all(
    keys.map(async ({ scheme, publicKey, sign }) => encodeStamp({ scheme, publicKey, signature: await sign(body) })),
  );
  await write(out, { ...file, stamps: [...file.stamps, ...stamps] });
}

export async function sendCommand(args: readonly string[], io: CommandIo): Promise<void> {
  const { values, positionals } = parseOptions(args, ENCLAVE_OPTIONS);
  const files = await Promise.all(positionals.map((path) => read(path, io)));
  const [first, ...others] = files;
  if (first === undefined) throw new UsageError("expected one FILE or more");
  if (others.some(({ body }) => body !== first.body)) {
    throw new UsageError("these files hold different requests: stamps over one say nothing of another");
  }
  const stamps = [...new Set(files.flatMap((file) => file.stamps))];
  const client = await connectTo(values, io);
  io.out(`${JSON.stringify(await client.sendStamped(new TextEncoder().encode(first.body), stamps), null, 2)}\n`);
}

async function read(path: string, io: CommandIo): Promise<RequestFile> {
  const parsed = requestFile.safeParse(await readJson(path, io));
  if (!parsed.success) throw new UsageError(`${path}: no prepared request`);
  return parsed.data;
}

/** @throws {@link UsageError} */
function decode({ body }: RequestFile): RequestEnvelope {
  try {
    return decodeRequest(new TextEncoder().encode(body));
  } catch (cause) {
    if (!(cause instanceof ProtocolError)) throw cause;
    throw new UsageError(`no request: ${cause.message}`, { cause });
  }
}

function describe({ operation, audience, issuedAtMs, params }: RequestEnvelope): string {
  const shown = JSON.stringify(params as JsonValue, null, 2)
    .split("\n")
    .map(printable)
    .join("\n");
  return `${printable(operation)} for ${printable(audience)}, written ${new Date(issuedAtMs).toISOString()}\n${shown}`;
}

async function write(path: string, file: RequestFile): Promise<void> {
  try {
    await writeFile(path, `${JSON.stringify(file, null, 2)}\n`, { flag: "wx" });
  } catch (cause) {
    throw new UsageError(`--out: ${path} is there already, or cannot be written`, { cause });
  }
}
