/** `cloister policy check`: what policies say of one transaction, and why. */
import { type Caller, type Facts, type Level, tryPolicies } from "../enclave/index.ts";
import type { Policy } from "../protocol/index.ts";
import { type CommandIo, printable, UsageError } from "./command-io.ts";
import { parseOptions } from "./command-options.ts";
import { FACTS_OPTIONS, readFacts } from "./policy-facts.ts";
import { readPolicy, reporting } from "./policy-options.ts";

const HELP = `Usage: cloister policy check --policy FILE… (--transaction|--solana-transaction|--psbt|… FILE) [options]

Judges by the enclave's own parser and evaluator, without an enclave. What limits have left is not known here.

  --policy [LEVEL=]FILE      a policy, or an app's configuration with one; LEVEL is app (unless given), user or wallet

What is judged, one of:
  --transaction FILE         an EVM transaction, unsigned, types 0 to 4: hex
  --typed-data FILE          EIP-712: JSON
  --message FILE             EIP-191: the message's bytes
  --solana-transaction FILE  in its wire form, legacy or version 0: base64 or hex
  --psbt FILE                a Bitcoin transaction, version 0 or 2: base64, hex or binary
  --facts FILE               facts as JSON, of any kind (docs/policies.md)

Whose keys sign:
  --from ADDRESS             the account that signs; with all of the above but --psbt and --facts
  --accounts FILE            for --psbt: the wallet's accounts, as create_wallet answers: JSON
  --fingerprint HEX          for --psbt: keys that it says come from this master key count as the wallet's (the enclave
                             derives them, and does not believe it)
  --network NAME             for --psbt: bitcoin (unless given) or bitcoin-testnet
  --sighash TYPE             for --psbt: a type other than ALL and DEFAULT that the request allows, such as SINGLE; may repeat

Who asks, and when:
  --operation NAME           what is asked for (default: the one that signs such a thing)
  --wallet ID                whose key signs
  --user ID                  who asks (default: nobody in particular)
  --api-key HEX              an API key asks, and no user
  --passkey ID               the user's passkey asks
  --at TIME                  when, such as 2026-01-31T12:00:00Z (default: now)

  --json                     print JSON
  --help                     show this

Example:
  cloister policy check --policy app.json --transaction unsigned.hex --from 0xd8dA6BF26964aF9D7eEd9e03E53415D37aA96045

Exit status: 0 allowed (perhaps within limits, or once approved), 1 denied, 2 wrong usage.
`;

const OPTIONS = {
  policy: { type: "string", multiple: true },
  ...FACTS_OPTIONS,
  operation: { type: "string" },
  wallet: { type: "string", default: "" },
  user: { type: "string", default: "" },
  "api-key": { type: "string" },
  passkey: { type: "string" },
  at: { type: "string" },
  json: { type: "boolean", default: false },
  help: { type: "boolean", default: false },
} as const;
type Values = ReturnType<typeof parseOptions<typeof OPTIONS>>["values"];
type Explained = ReturnType<typeof tryPolicies>;

const OPERATIONS: { readonly [Kind in Facts["kind"]]: string } = {
  "evm-transaction": "sign_transaction",
  "evm-message": "sign_message",
  "evm-typed-data": "sign_typed_data",
  "evm-authorization": "sign_authorization",
  "evm-user-operation": "sign_user_operation",
  "solana-transaction": "sign_solana_transaction",
  "solana-message": "sign_solana_message",
  "bitcoin-transaction": "sign_bitcoin_transaction",
  "bitcoin-message": "sign_bitcoin_message",
  "raw-digest": "sign_digest",
  "wallet-export": "export_wallet",
};

/** @returns The exit status. */
export function checkCommand(args: readonly string[], io: CommandIo): Promise<number> {
  return reporting("check", io, async () => {
    const { values, positionals } = parseOptions(args, OPTIONS);
    if (values.help) {
      io.out(HELP);
      return 0;
    }
    if (positionals.length > 0) throw new UsageError(`did not expect ${positionals[0]}`);
    const documents = await Promise.all((values.policy ?? []).map((text) => readLevel(text, io)));
    if (documents.length === 0) throw new UsageError("--policy is required");
    const facts = await readFacts(values, io);
    const request = {
      ...{ caller: callerOf(values), operation: values.operation ?? OPERATIONS[facts.kind] },
      ...{ walletId: values.wallet, facts, nowMs: timeOf(values.at, io) },
    };
    const explained = tryPolicies(request, documents);
    io.out(values.json ? `${JSON.stringify(explained, null, 2)}\n` : draw(explained));
    return explained.verdict.kind === "denied" ? 1 : 0;
  });
}

async function readLevel(text: string, io: CommandIo): Promise<{ readonly level: Level; readonly policy: Policy }> {
  const [, level = "app", path = text] = /^(app|user|wallet)=(.+)$/.exec(text) ?? [];
  return { level: level as Level, policy: await readPolicy(path, io) };
}

function callerOf({ user, "api-key": apiKey, passkey }: Values): Caller {
  if (apiKey !== undefined) {
    return { kind: "api-key", userId: null, sessionId: null, loginId: null, publicKey: apiKey };
  }
  const kind = passkey === undefined ? "session" : "passkey";
  return { kind, userId: user, sessionId: null, loginId: passkey ?? null, publicKey: null };
}

function timeOf(at: string | undefined, io: CommandIo): number {
  const atMs = at === undefined ? io.nowMs() : Date.parse(at);
  if (Number.isNaN(atMs)) throw new UsageError("--at: expected a time such as 2026-01-31T12:00:00Z");
  return atMs;
}

function draw({ verdict, rules }: Explained): string {
  const lines = [headline(verdict)];
  for (const { level, rule, effect, findings } of rules) {
    const isMet = findings.every(({ is }) => is === "yes");
    const holds = isMet || (effect === "deny" && findings.every(({ is }) => is === "yes" || is === "unsure"));
    lines.push(`  ${level}/${rule} (${effect}): ${holds ? "holds" : "does not hold"}`);
    for (const { condition, is, fact } of findings) {
      lines.push(`    ${is.padEnd(6)} ${printable(condition)}${fact === null ? "" : `  found ${printable(fact)}`}`);
    }
  }
  return `${lines.join("\n")}\n`;
}

function headline(verdict: Explained["verdict"]): string {
  if (verdict.kind === "denied") {
    const { reason, level, rule } = verdict;
    return `denied: ${reason}${level === null ? "" : ` at the level of the ${level}`}${rule === null ? "" : ` by ${rule}`}`;
  }
  const ways = verdict.levels.map(({ level, candidates }) => {
    const names = candidates.map(({ id, limits, approvals }) => {
      const asks = [limits === undefined ? "" : "within its limits", approvals === undefined ? "" : "once approved"];
      return [id, ...asks.filter((each) => each !== "")].join(" ");
    });
    return `${level} by ${names.join(", or ")}`;
  });
  return `allowed: ${ways.join("; ")}`;
}
