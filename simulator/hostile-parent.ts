/**
 * The parent as an enemy. It stands between an enclave and an honest parent on the unix sockets of vsock/, sees every
 * message, and changes, repeats, invents or withholds what its hooks and its script say. Without either it is invisible.
 */
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
import { Lane } from "./hostile-parent/lane.ts";
import { Mischief, type Unit } from "./hostile-parent/mischief.ts";
import type { Direction, Done, Script } from "./hostile-parent/script.ts";

export type { Direction, Done, Misdeed, Recorded, Rule, Script } from "./hostile-parent/script.ts";

const CONNECT_TIMEOUT_MS = 5_000;

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
  /** Misbehaviour as data, done to what the hooks above let through. */
  script?: Script | undefined;
}

/** What passed, as it was before any hook. */
export type Seen =
  | {
      readonly port: number;
      readonly direction: Direction;
      readonly message: WireMessage;
      /** The frame's payload, byte for byte. */
      readonly payload: Uint8Array;
    }
  | { readonly port: number; readonly direction: Direction; readonly bytes: Uint8Array };

export interface HostileParent {
  /** May be changed at any time. */
  readonly hooks: HostileHooks;
  readonly record: Seen[];
  /** What its scripts have done so far. */
  readonly done: readonly Done[];
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
  const mischief = new Mischief(() => hooks.script);
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
    const stream = mischief.nextStream(port);
    const carry = (source: Duplex, target: Duplex, direction: Direction) => {
      const place = { port, direction, stream };
      const lanes = { frames: new Lane(target, place, mischief, true), raw: new Lane(target, place, mischief, false) };
      return pump(source, lanes, createTranslator(port, direction, { hooks, record }));
    };
    try {
      await Promise.all([carry(ofEnclave, ofParent, "to-parent"), carry(ofParent, ofEnclave, "to-enclave")]);
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
  return { hooks, record, done: mischief.done, close };
}

type Translate = (bytes: Uint8Array) => Promise<Unit[]>;

/** From the bytes of one direction of one stream to the units that go on. */
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

  function translateRaw(bytes: Uint8Array): Unit[] {
    if (bytes.length === 0) return [];
    record.push({ port, direction, bytes });
    const verdict = hooks.bytes?.(direction, bytes) ?? bytes;
    return verdict === "drop" ? [] : [{ of: "bytes", message: null, bytes: verdict }];
  }

  return async (bytes) => {
    if (isRaw) return translateRaw(bytes);
    const out: Unit[] = [];
    for (const payload of decoder.push(bytes, isEgress ? 1 : undefined)) {
      const message = decodeCbor(schema, payload);
      record.push({ port, direction, message, payload });
      const verdict = (await hooks.message?.(port, direction, message)) ?? message;
      const messages = verdict === "drop" ? [] : [verdict].flat();
      const of = nameOf(port, message);
      out.push(...messages.map((one) => ({ of, message: one, bytes: encodeFrame(encodeCbor(one)) })));
      isRaw = isEgress;
    }
    if (isRaw) out.push(...translateRaw(decoder.takeRest()));
    return out;
  };
}

/** What a script calls a message. */
function nameOf(port: number, message: WireMessage): string {
  if ("kind" in message) return message.kind;
  if (port === EGRESS_PORT) return "connect";
  return port === LOG_PORT ? "line" : "answer";
}

/** One direction: an end goes on as an end, and the other direction stays open. */
async function pump(
  source: Duplex,
  lanes: { readonly frames: Lane; readonly raw: Lane },
  translate: Translate,
): Promise<void> {
  for await (const bytes of source.iterator({ destroyOnReturn: false })) {
    for (const unit of await translate(bytes as Uint8Array)) {
      await (unit.message === null ? lanes.raw : lanes.frames).pass(unit);
    }
  }
  await lanes.frames.settle();
  await lanes.raw.end();
}
