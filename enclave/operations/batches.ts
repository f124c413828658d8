/** One stamp for many. Whoever asks was judged once; what they ask is judged one by one, as if it had come by itself. */
import { setImmediate as nextTurn } from "node:timers/promises";
import {
  ACCESS,
  type AppAccess,
  describeIssues,
  type JsonValue,
  OPERATIONS,
  type Params,
  RequestError,
  type SigningOperation,
} from "../../protocol/index.ts";
import type { Actor, ActorOf } from "../auth/actor.ts";
import type { AppRequest } from "../auth/authorise.ts";
import { ownerOf } from "../auth/owner.ts";
import { checkScope } from "../auth/scope.ts";
import { asRefusal, type Refusal } from "../refusal.ts";
import type { AppHandler, Services } from "./handler.ts";
import { lookAnew } from "./look-anew.ts";
import { SIGNING_HANDLERS, type SigningHandlers } from "./signing-handlers.ts";

export const createWallets: AppHandler<"create_wallets"> = async ({ actor, envelope }, params, { wallets }) => {
  const made = await wallets.createMany(ownerOf(actor), envelope.requestId, params.wallets);
  return { results: made.map((each) => ("wallet" in each ? each : { error: refusalJson(asRefusal(each.error)) })) };
};

/** Then what others ask of this thread comes between: what a batch asks for may all be in memory, and takes no turn to wait. */
const LONGEST_TURN_MS = 2;
/** Of all that policies deny in it: what they found on sixty elements can be greater than an answer. Those after it have none. */
const MAX_DETAILS_CHARACTERS = 64 * 1024;

type BatchRequest = AppRequest & { readonly actor: ActorOf<"sign_batch"> };

/** One after another, in their order: what one uses up of a limit, the next does not have. */
export const signBatch: AppHandler<"sign_batch"> = async (request, { requests }, services) => {
  if (request.envelope.approvalId !== undefined) {
    throw new RequestError("INVALID_PARAMS", "a batch collects no approval: send what was approved by itself");
  }
  const results: ({ result: JsonValue } | { error: ReturnType<typeof refusalJson> })[] = [];
  let characters = 0;
  let sinceMs = performance.now();
  for (const [at, { operation, params }] of requests.entries()) {
    try {
      results.push({ result: await signOne(operation, params, at, request, services) });
    } catch (error) {
      const { code, message, details } = refusalJson(asRefusal(error));
      // Others, such as what waits for approval, are few words, and nobody can do without them.
      const isLong = details !== undefined && code === "POLICY_DENIED";
      characters += isLong ? JSON.stringify(details).length : 0;
      const isShown = details !== undefined && (!isLong || characters <= MAX_DETAILS_CHARACTERS);
      results.push({ error: { code, message, ...(isShown ? { details } : {}) } });
    }
    if (performance.now() - sinceMs < LONGEST_TURN_MS) continue;
    await nextTurn();
    sinceMs = performance.now();
  }
  return { results };
};

async function signOne<Name extends SigningOperation>(
  operation: Name,
  given: JsonValue,
  at: number,
  request: BatchRequest,
  services: Services,
): Promise<JsonValue> {
  const parsed = OPERATIONS[operation].params.safeParse(given);
  if (!parsed.success) {
    throw new RequestError("INVALID_PARAMS", describeIssues(parsed.error), { cause: parsed.error });
  }
  const params = parsed.data as Params<Name>;
  const { actor } = request;
  const { callers }: AppAccess = ACCESS[operation];
  if (!callers.includes(actor.kind))
    throw new RequestError("CALLER_NOT_ALLOWED", `${operation} is not for ${actor.kind}`);
  checkScope(actor.scope, operation, params);
  // As its own request would say it: limits and approvals tell elements, and the same one asked again, by this.
  const requestId = `${request.envelope.requestId}/${at}`;
  const envelope = { ...request.envelope, operation, params: given, requestId };
  const handlers: SigningHandlers = SIGNING_HANDLERS;
  // Its kind is one that the operation's entry names: looked at just now.
  const single = { ...request, envelope, actor: actor as Actor as ActorOf<Name> };
  // What an operation answers is JSON by its schema.
  return (await lookAnew(services, (each) => handlers[operation](single, params, each))) as JsonValue;
}

function refusalJson({ code, message, details }: Refusal): { code: string; message: string; details?: JsonValue } {
  return details === undefined ? { code, message } : { code, message, details };
}
