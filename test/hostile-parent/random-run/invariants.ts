/** What must hold of a run, whatever the parent did. Each check gives sentences, one for each violation. */
import { createHash } from "node:crypto";
import {
  parseTransaction,
  recoverMessageAddress,
  recoverTransactionAddress,
  serializeTransaction,
  type TransactionSerializedEIP1559,
} from "viem";
import { encodeBase64url, REQUEST_PORT } from "../../../protocol/index.ts";
import type { Seen } from "../../../simulator/hostile-parent.ts";
import type { Entry, Ledger } from "./ledger.ts";

/** One answer as the enclave gave it, before any hand touched it. */
export interface GivenAnswer {
  readonly status: number;
  readonly signature: string;
  readonly body: Uint8Array;
}

export function givenAnswers(record: readonly Seen[]): GivenAnswer[] {
  return record.flatMap((seen) => {
    if (!("message" in seen) || seen.port !== REQUEST_PORT || seen.direction !== "to-parent") return [];
    const { message } = seen;
    if (!("signature" in message) || message.signature === null) return [];
    return [{ status: message.status, signature: encodeBase64url(message.signature), body: message.body }];
  });
}

/** No answer was accepted that the enclave did not give. */
export function checkAccepted(ledger: Ledger, given: readonly GivenAnswer[]): string[] {
  const known = new Set(given.map(digestOf));
  return [...ledger.entries.values()].flatMap((entry) => {
    if (entry.accepted === null) return [];
    const violations: string[] = [];
    if (!known.has(digestOf(entry.accepted))) violations.push(`${about(entry)}: accepted what the enclave did not say`);
    const said = JSON.parse(Buffer.from(entry.accepted.body).toString()) as { requestId: string | null };
    if (entry.accepted.status === 200 && said.requestId !== entry.requestId) {
      violations.push(`${about(entry)}: accepted the result of ${said.requestId}`);
    }
    return violations;
  });
}

/** No result without a request that was asked for, stamped by whom it concerns, and allowed; each as often at most as it was stamped. */
export async function checkDone(ledger: Ledger, given: readonly GivenAnswer[]): Promise<string[]> {
  const violations: string[] = [];
  const done = new Map<string, number>();
  const wallets = new Map<string, string>();
  for (const { status, body } of given) {
    if (status !== 200) continue;
    const { requestId, result } = JSON.parse(Buffer.from(body).toString()) as { requestId: string; result: Result };
    const entry = ledger.entries.get(requestId);
    if (entry === undefined) {
      violations.push(`the enclave acted on a request that nobody made: ${requestId}`);
      continue;
    }
    const times = (done.get(requestId) ?? 0) + 1;
    done.set(requestId, times);
    if (times > entry.stamped) violations.push(`${about(entry)}: done ${times} times, stamped ${entry.stamped} times`);
    if (!entry.mayBeDone) violations.push(`${about(entry)}: done although it is forbidden`);
    violations.push(...(await wrongResult(entry, result)));
    for (const [at, wallet] of madeBy(entry, result).entries()) {
      if (wallet === undefined) continue;
      const made = `${wallet.walletId} ${wallet.accounts?.[0]?.address}`;
      const asked = `${requestId}/${at}`;
      if ((wallets.get(asked) ?? made) !== made) violations.push(`${about(entry)}: two wallets for one request id`);
      wallets.set(asked, made);
    }
  }
  return violations;
}

/** In the order in which they were asked for; undefined where one was refused. */
function madeBy({ operation }: Entry, result: Result): (Result | undefined)[] {
  if (operation === "create_wallet") return [result];
  return operation === "create_wallets" ? (result.results ?? []).map(({ wallet }) => wallet) : [];
}

interface Result {
  readonly walletId?: string;
  readonly kind?: string;
  readonly accounts?: readonly { readonly address: string }[];
  readonly signedTransaction?: TransactionSerializedEIP1559;
  readonly signature?: `0x${string}`;
  /** Of a batch. */
  readonly results?: readonly { readonly wallet?: Result; readonly result?: Result; readonly error?: object }[];
}

async function wrongResult(entry: Entry, result: Result): Promise<string[]> {
  switch (entry.operation) {
    case "sign_transaction":
      return wrongSignature(entry, entry, result);
    case "sign_batch": {
      const { results = [] } = result;
      if (results.length !== entry.elements.length) return [`${about(entry)}: ${results.length} outcomes`];
      const wrong = entry.elements.map(async (asked, at) => {
        const done = results[at]?.result;
        if (done === undefined)
          return results[at]?.error === undefined ? [`${about(entry)}: neither done nor refused`] : [];
        return asked.mayBeDone
          ? wrongSignature(entry, asked, done)
          : [`${about(entry)}: ${at} done although it is forbidden`];
      });
      return (await Promise.all(wrong)).flat();
    }
    case "sign_message": {
      const { signature } = result;
      if (signature === undefined) return [`${about(entry)}: no signature in the result`];
      const message = { raw: entry.params.message as `0x${string}` };
      const signer = await recoverMessageAddress({ message, signature });
      return signer === entry.address ? [] : [`${about(entry)}: signed by ${signer}, asked of ${entry.address}`];
    }
    case "create_wallets": {
      const made = result.results ?? [];
      const isWhole = made.length === entry.count && made.every(({ wallet, error }) => (wallet ?? error) !== undefined);
      return isWhole ? [] : [`${about(entry)}: not an outcome for each wallet`];
    }
    case "create_wallet":
      return result.kind === entry.kind ? [] : [`${about(entry)}: a wallet of kind ${result.kind}`];
    case "create_app":
    case "register_session":
    case "list_wallets":
      return result.signedTransaction === undefined && result.signature === undefined
        ? []
        : [`${about(entry)}: a signature in its result`];
  }
}

async function wrongSignature(
  entry: Entry,
  asked: { readonly params: { readonly unsignedTransaction: string }; readonly address: string },
  { signedTransaction }: Result,
): Promise<string[]> {
  if (signedTransaction === undefined) return [`${about(entry)}: no transaction in the result`];
  const { r: _r, s: _s, v: _v, yParity: _parity, ...unsigned } = parseTransaction(signedTransaction);
  if (serializeTransaction(unsigned) !== asked.params.unsignedTransaction) {
    return [`${about(entry)}: signed another transaction than was asked for`];
  }
  const signer = await recoverTransactionAddress({ serializedTransaction: signedTransaction });
  return signer === asked.address ? [] : [`${about(entry)}: signed by ${signer}, asked of ${asked.address}`];
}

function about({ operation, requestId }: Entry): string {
  return `${operation} ${requestId}`;
}

function digestOf({ status, signature, body }: GivenAnswer): string {
  return `${status} ${signature} ${createHash("sha256").update(body).digest("hex")}`;
}
