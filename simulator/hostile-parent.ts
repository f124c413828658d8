/**
 * The parent as an enemy. It stands between an enclave and an honest parent on the unix sockets of vsock/, sees every
 * message, and changes, repeats, invents or withholds what its hooks say. Without hooks it is invisible.
 */
import { once } from "node:events";
import type { Duplex } from "node:stream";
import {
  CREDENTIALS_PORT,
  type CredentialsAnswer,
  type CredentialsCall,
  credentialsAnswer,
  credentialsCall,
  decodeCbor,
  EGRESS_PORT,
  type EgressAnswer,
  type EgressCall,
  type EnclaveAnswer,
  type EnclaveCall,
  egressAnswer,
  egressCall,
  enclaveAnswer,
  enclaveCall,
  encodeCbor,
  encodeFrame,
  FrameDecoder,
  LOG_PORT,
  type LogMessage,
  logMessage,
  RECORDS_PORT,
  REQUEST_PORT,
  type RecordsAnswer,
  type RecordsCall,
  recordsAnswer,
  recordsCall,
  type z,
} from "../protocol/index.ts";
import { guestVsock, hostVsock } from "../vsock/index.ts";

const CONNECT_TIMEOUT_MS = 5_000;

export type Direction = "to-enclave" | "to-parent";

export type WireMessage =
  | EnclaveCall
  | EnclaveAnswer
  | RecordsCall
  | RecordsAnswer
  | EgressCall
  | EgressAnswer
  | CredentialsCall
  | CredentialsAnswer
  | LogMessage;

/** What goes on in a message's place: one message, a list of them, or none. An enemy need not keep to the schemas. */
export type Verdict = object | readonly object[] | "drop";

export interface HostileHooks {
  /** Each message on a framed port, and the first frame of each direction on the egress port. */
  message?: ((port: number, direction: Direction, message: WireMessage) => Verdict | Promise<Verdict>) | undefined;
  /** Each piece of the raw bytes on the egress port. */
  bytes?: ((direction: Direction, bytes: Uint8Array) => Uint8Array | "drop") | undefined;
  /** Each stream, before anything passes: false cuts it off. */
  stream?: ((port: number) => boolean) | undefined;
}

/** What passed, as it was before any hook. */
export type Seen =
  | { readonly port: number; readonly direction: Direction; readonly message: WireMessage }
  | { readonly port: number; readonly direction: Direction; readonly bytes: Uint8Array };

export interface HostileParent {
  /** May be changed at any time. */
  readonly hooks: HostileHooks;
  readonly record: Seen[];
  close(): Promise<void>;
}

const SCHEMAS: ReadonlyMap<number, Readonly<Record<Direction, z.ZodMiniType<WireMessage>>>> = new Map([
  [REQUEST_PORT, { "to-enclave": enclaveCall, "to-parent": enclaveAnswer }],
  [RECORDS_PORT, { "to-parent": recordsCall, "to-enclave": recordsAnswer }],
  [EGRESS_PORT, { "to-parent": egressCall, "to-enclave": egressAnswer }],
  [CREDENTIALS_PORT, { "to-parent": credentialsCall, "to-enclave": credentialsAnswer }],
  [LOG_PORT, { "to-parent": logMessage, "to-enclave": logMessage }],
]);

/**
 * Starts between the two. The honest parent must listen before the enclave calls it; the enclave may come later.
 *
 * @param options.guestPath - The enclave's socket path, as its `guestVsock` has it.
 * @param options.hostPath - The honest parent's socket path, as its `hostVsock` has it. Not the same.
 * @throws VsockError `PORT_IN_USE`, `PATH_TOO_LONG`
 */
export async function startHostileParent(options: {
  readonly guestPath: string;
  readonly hostPath: string;
  readonly hooks?: HostileHooks;
}): Promise<HostileParent> {
  const hooks: HostileHooks = { ...options.hooks };
  const record: Seen[] = [];
  // To the enclave it is the parent, and to the parent it is the enclave.
  const enclave = hostVsock(options.guestPath);
  const parent = guestVsock(options.hostPath);

  async function join(port: number, caller: Duplex, from: "enclave" | "parent"): Promise<void> {
    caller.on("error", () => {});
    if (hooks.stream?.(port) === false) {
      caller.destroy();
      return;
    }
    const other = from === "enclave" ? parent : enclave;
    const listener = await other.connect(port, { timeoutMs: CONNECT_TIMEOUT_MS });
    const [ofEnclave, ofParent] = from === "enclave" ? [caller, listener] : [listener, caller];
    try {
      await Promise.all([
        pump(ofEnclave, ofParent, createTranslator(port, "to-parent", { hooks, record })),
        pump(ofParent, ofEnclave, createTranslator(port, "to-enclave", { hooks, record })),
      ]);
    } finally {
      listener.destroy();
    }
  }
  const accept = (port: number, from: "enclave" | "parent") => (stream: Duplex) => {
    join(port, stream, from).catch(() => stream.destroy());
  };

  const close = async () => {
    await Promise.all([enclave.close(), parent.close()]);
  };
  try {
    await parent.listen(REQUEST_PORT, accept(REQUEST_PORT, "parent"));
    for (const port of [RECORDS_PORT, EGRESS_PORT, CREDENTIALS_PORT, LOG_PORT]) {
      await enclave.listen(port, accept(port, "enclave"));
    }
  } catch (error) {
    await close();
    throw error;
  }
  return { hooks, record, close };
}

type Translate = (bytes: Uint8Array) => Promise<Uint8Array[]>;

/** From the bytes of one direction of one stream to the bytes that go on. */
function createTranslator(
  port: number,
  direction: Direction,
  { hooks, record }: Pick<HostileParent, "hooks" | "record">,
): Translate {
  const schema = SCHEMAS.get(port)?.[direction];
  if (schema === undefined) throw new Error(`no messages are known for port ${port}`);
  const decoder = new FrameDecoder();
  const isEgress = port === EGRESS_PORT;
  let isRaw = false;

  function translateRaw(bytes: Uint8Array): Uint8Array[] {
    if (bytes.length === 0) return [];
    record.push({ port, direction, bytes });
    const verdict = hooks.bytes?.(direction, bytes) ?? bytes;
    return verdict === "drop" ? [] : [verdict];
  }

  return async (bytes) => {
    if (isRaw) return translateRaw(bytes);
    const out: Uint8Array[] = [];
    for (const payload of decoder.push(bytes, isEgress ? 1 : undefined)) {
      const message = decodeCbor(schema, payload);
      record.push({ port, direction, message });
      const verdict = (await hooks.message?.(port, direction, message)) ?? message;
      const messages = verdict === "drop" ? [] : [verdict].flat();
      out.push(...messages.map((one) => encodeFrame(encodeCbor(one))));
      isRaw = isEgress;
    }
    if (isRaw) out.push(...translateRaw(decoder.takeRest()));
    return out;
  };
}

/** One direction: an end goes on as an end, and the other direction stays open. */
async function pump(source: Duplex, target: Duplex, translate: Translate): Promise<void> {
  for await (const bytes of source.iterator({ destroyOnReturn: false })) {
    for (const out of await translate(bytes as Uint8Array)) {
      if (target.destroyed) throw new Error("the other side is gone");
      if (!target.write(out)) await drained(target);
    }
  }
  target.end();
}

async function drained(target: Duplex): Promise<void> {
  const abort = new AbortController();
  try {
    await Promise.race([once(target, "drain", abort), once(target, "close", abort)]);
  } finally {
    abort.abort();
  }
}
