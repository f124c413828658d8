/** Where a request waits, by what it claims: nothing is verified yet, so nothing rests on it but whom it waits beside. */
import { audienceOf, decodeSealed } from "../../protocol/index.ts";
import type { ReceivedRequest } from "../answer.ts";
import type { Place } from "./fair-queue.ts";
import { credentialOf, type ProvenCredentials } from "./proven-credentials.ts";

/**
 * `administrators`: for the deployment itself, by a key that the manifest names. `proven`: inside an app, by a credential that was answered there lately.
 * `sealed`: not opened yet. `unproven`: all others, and so whatever a stranger can send.
 */
export type AdmissionGroup = "administrators" | "proven" | "sealed" | "unproven";
type AdmissionPlace = Place<AdmissionGroup>;

/** For what names no app that anybody was answered in: strangers make up as many names as they like. */
const NOBODYS_LANE = "nobody's";
const ADMINISTRATORS = "administrators";
/** One small request has some 400. */
const BYTES_OF_COST = 2048;
/** In a batch each wallet or signature has as many at least. */
const BYTES_OF_COST_IN_BATCH = 64;
/** Opening is the least of it, and the same for all of a few sizes. */
const BYTES_OF_COST_SEALED = 16 * 1024;
const MAX_COST = 512;

/** Whom a request claims to come from. */
export interface Claim {
  /** An app's id, or {@link ADMINISTRATORS}; null if it names neither. */
  readonly app: string | null;
  readonly credential: number | undefined;
  readonly isBatch: boolean;
}

export function claimOf({ body, stamps }: ReceivedRequest, deployment: string): Claim {
  const { operation, audience } = headOf(body);
  const isBatch = operation === "create_wallets" || operation === "sign_batch";
  return { app: appOf(audience, deployment), credential: credentialOf(stamps[0]), isBatch };
}

/** What claims are held against. */
export interface Known {
  readonly deployment: string;
  /** The credentials that the manifest names. */
  readonly administrators: ReadonlySet<number>;
  readonly proven: ProvenCredentials;
}

export function placeOf({ body }: ReceivedRequest, claim: Claim, known: Known, nowMs: number): AdmissionPlace {
  const { app, credential, isBatch } = claim;
  const cost = Math.min(MAX_COST, 1 + Math.floor(body.length / (isBatch ? BYTES_OF_COST_IN_BATCH : BYTES_OF_COST)));
  const bytes = body.length;
  if (app === ADMINISTRATORS && credential !== undefined && known.administrators.has(credential)) {
    return { group: "administrators", lane: ADMINISTRATORS, cost, bytes };
  }
  if (app !== null && app !== ADMINISTRATORS && credential !== undefined && known.proven.has(app, credential, nowMs)) {
    return { group: "proven", lane: app, cost, bytes };
  }
  return { group: "unproven", lane: laneOf(app, known), cost, bytes };
}

/** Its app stands outside, where its sealing binds it: who seals in another's name is refused once it is opened. */
export function placeOfSealed(sealed: Uint8Array, known: Known): AdmissionPlace {
  const lane = laneOf(appOf(audienceOfSealed(sealed), known.deployment), known);
  return { group: "sealed", lane, cost: 1 + Math.floor(sealed.length / BYTES_OF_COST_SEALED), bytes: sealed.length };
}

function laneOf(app: string | null, { proven }: Known): string {
  return app !== null && (app === ADMINISTRATORS || proven.knowsApp(app)) ? app : NOBODYS_LANE;
}

function appOf(audience: string | undefined, deployment: string): string | null {
  if (audience === undefined) return null;
  if (audience === audienceOf(deployment, null)) return ADMINISTRATORS;
  const app = audience.slice(deployment.length + 1);
  return /^app_[0-9a-f]{32}$/.test(app) && audience === audienceOf(deployment, app) ? app : null;
}

interface Head {
  readonly operation?: string | undefined;
  readonly audience?: string | undefined;
}

const USUAL_HEAD = /^\{"operation":"([a-z0-9_]{1,64})","audience":"([^"\\]{1,256})"/;
const USUAL_HEAD_BYTES = 360;
/** More is not read to its end before its turn: that costs as much as verifying twenty stamps. */
const MAX_READ_BYTES = 8 * 1024;

/**
 * The two fields as strict JSON will find them, or wrong ones of what that refuses. Our own client and Turnkey's write
 * them first; whoever writes them elsewhere costs a reading more, and with much to read waits among strangers.
 */
function headOf(body: Uint8Array): Head {
  const start = Buffer.from(body.buffer, body.byteOffset, Math.min(body.length, USUAL_HEAD_BYTES)).toString("latin1");
  const usual = USUAL_HEAD.exec(start);
  if (usual !== null) return { operation: usual[1], audience: usual[2] };
  if (body.length > MAX_READ_BYTES) return {};
  try {
    const parsed: unknown = JSON.parse(Buffer.from(body.buffer, body.byteOffset, body.length).toString("utf8"));
    if (typeof parsed !== "object" || parsed === null) return {};
    const { operation, audience } = parsed as Record<string, unknown>;
    return {
      operation: typeof operation === "string" ? operation : undefined,
      audience: typeof audience === "string" ? audience : undefined,
    };
  } catch {
    return {};
  }
}

function audienceOfSealed(sealed: Uint8Array): string | undefined {
  try {
    return decodeSealed(sealed).audience;
  } catch {
    return undefined;
  }
}
