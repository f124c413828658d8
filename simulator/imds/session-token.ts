/** IMDSv2's session tokens. Each carries its own end, under a key of this service's own, so none has to be remembered. */
import { createHmac, randomBytes, timingSafeEqual } from "node:crypto";

/** EC2 User Guide, "Use IMDSv2": one second to six hours. */
const MAX_TTL_S = 21_600;
const END_BYTES = 8;
const MAC_BYTES = 32;

export class SessionTokens {
  readonly #key = randomBytes(32);

  /** @param nowMs - The token is good for `ttlS` seconds from then. */
  issue(ttlS: number, nowMs: number): string {
    const end = Buffer.alloc(END_BYTES);
    end.writeBigUInt64BE(BigInt(Math.floor(nowMs) + ttlS * 1000));
    return Buffer.concat([end, this.#mac(end)]).toString("base64url");
  }

  accepts(token: string, nowMs: number): boolean {
    const bytes = Buffer.from(token, "base64url");
    if (bytes.length !== END_BYTES + MAC_BYTES || bytes.toString("base64url") !== token) return false;
    const end = bytes.subarray(0, END_BYTES);
    return timingSafeEqual(bytes.subarray(END_BYTES), this.#mac(end)) && nowMs < Number(end.readBigUInt64BE());
  }

  #mac(end: Uint8Array): Buffer {
    return createHmac("sha256", this.#key).update(end).digest();
  }
}

/** Seconds from 1 to 21 600; undefined for anything else. */
export function parseTtl(text: string): number | undefined {
  if (!/^[1-9][0-9]{0,4}$/.test(text)) return undefined;
  const ttlS = Number(text);
  return ttlS <= MAX_TTL_S ? ttlS : undefined;
}
