/** The simulator as the soak's traffic sees it: apps, tokens, and answers that come over HTTP. */
import { createHash } from "node:crypto";
import type { ReceivedRequest } from "../../../enclave/answer.ts";
import { audienceOf, BOOT_HEADER, encodeHex, type OperationName } from "../../../protocol/index.ts";
import type { Simulator } from "../../../simulator/index.ts";
import { AUDIENCE, type SoakKey } from "../callers.ts";
import type { Kind, TrafficOptions } from "../traffic.ts";
import { type HttpAnswer, requestOf } from "./connection.ts";
import { isForLater, LATE, type Outcomes } from "./outcomes.ts";
import type { Pool } from "./pool.ts";

/** Far below what a request may be early or late. */
const LATE_MS = 1_000;

/** The whole run, and its clock that is moved on. */
export const SESSION_S = 86_400;

/** The parent takes the path as a hint. */
const OPERATIONS: Readonly<Partial<Record<Kind, OperationName>>> = {
  signMessage: "sign_message",
  signBatch: "sign_batch",
  list: "list_wallets",
  createWallet: "create_wallet",
  createWallets: "create_wallets",
  logIn: "register_session",
  logInAgain: "register_session",
  revoke: "revoke_session",
};

type Deployment = Pick<TrafficOptions, "answer" | "isForLater" | "token" | "boot" | "audiences"> & {
  readonly appIds: readonly string[];
};

export async function deploymentOf(
  simulator: Simulator,
  apps: number,
  pool: Pool,
  outcomes: Outcomes,
): Promise<Deployment> {
  const client = await simulator.connect();
  const { issuer, jwksUri } = simulator.issuer;
  const appIds: string[] = [];
  for (let at = 0; at < apps; at += 1) {
    const { appId } = await client.createApp([simulator.administratorKey], {
      name: `soak ${at}`,
      issuers: [{ issuer, audiences: [AUDIENCE], jwksUri, algorithms: ["ES256"] }],
      sessionLifetimeS: SESSION_S,
      signingPolicy: { evmChainIds: ["1"], messages: "allow" },
    });
    appIds.push(appId);
  }
  const ready = await pool.ask("GET /readyz HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n");
  const boot = new RegExp(`^${BOOT_HEADER}: *([0-9a-f]+)\r?$`, "im").exec(ready.head)?.[1] ?? "";
  return {
    ...{ appIds, boot, isForLater },
    audiences: appIds.map((appId) => audienceOf(simulator.deployment, appId)),
    async token(subject: string, key: SoakKey): Promise<string> {
      const nonce = createHash("sha256").update(encodeHex(key.publicKey)).digest("hex");
      return tokenOf(simulator, subject, nonce);
    },
    async answer({ body, stamps }: ReceivedRequest, kind: Kind): Promise<HttpAnswer> {
      const sentAt = performance.now();
      const answer = await pool.ask(requestOf(`/v1/${OPERATIONS[kind] ?? "sign_transaction"}`, body, stamps));
      const isLate = answer.status !== 200 && performance.now() - sentAt > LATE_MS;
      const told = isLate ? lateAnswer(answer) : answer;
      outcomes.total += 1;
      if (told.status !== 200) await noteRefusal(told, kind);
      return told;
    },
  };

  async function noteRefusal({ body }: HttpAnswer, kind: Kind): Promise<void> {
    const { code } = errorOf(body);
    if (kind === "outOfTime" || kind === "replay" || !isForLater(code)) return;
    outcomes.excused += 1;
    // Whoever asks for attestation makes the enclave look at the NSM's clock.
    if (code === "REQUEST_FROM_FUTURE") {
      await pool.ask(`GET /v1/attestation?nonce=${"5a".repeat(16)} HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n`);
    }
  }
}

/** A session ends with its token, if not before. */
export function tokenOf({ issuer }: Simulator, subject: string, nonce: string): Promise<string> {
  return issuer.mint({ subject, audience: AUDIENCE, nonce, algorithm: "ES256", lifetimeS: SESSION_S });
}

function lateAnswer({ status, head, body }: HttpAnswer): HttpAnswer {
  const { code, message } = errorOf(body);
  const late = code.startsWith("E") || code.startsWith("CONNECTION") ? code : `${LATE}${code}`;
  return { status, head, body: Buffer.from(JSON.stringify({ error: { code: late, message } })) };
}

function errorOf(body: Uint8Array): { readonly code: string; readonly message: string } {
  const { error } = JSON.parse(Buffer.from(body).toString("utf8")) as {
    readonly error: { readonly code: string; readonly message: string };
  };
  return error;
}
