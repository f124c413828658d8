/** What a batch of signatures takes and gives, each element with the types of the operation that it names. */
import {
  type BatchRefusal,
  type JsonValue,
  OPERATIONS,
  type Params,
  type Result,
  type SigningOperation,
} from "../protocol/index.ts";
import { ClientError } from "./errors.ts";

/** One thing to sign. */
export type BatchSigning = {
  readonly [Name in SigningOperation]: { readonly operation: Name; readonly params: Params<Name> };
}[SigningOperation];

export type BatchOutcome<Name extends SigningOperation> =
  | { readonly result: Result<Name> }
  | { readonly error: BatchRefusal };

/** In the order in which they were asked for. */
export type BatchOutcomes<Requests extends readonly BatchSigning[]> = {
  readonly [At in keyof Requests]: BatchOutcome<Requests[At]["operation"]>;
};

export function asJson({ operation, params }: BatchSigning): { operation: SigningOperation; params: JsonValue } {
  // Params are what their schema reads out of JSON.
  return { operation, params: params as JsonValue };
}

/** @throws {@link ClientError} `ANSWER_MALFORMED` where an answer does not fit what was asked */
export function outcomesOf<const Requests extends readonly BatchSigning[]>(
  requests: Requests,
  { results }: Result<"sign_batch">,
): BatchOutcomes<Requests> {
  if (results.length !== requests.length) throw malformed();
  const outcomes = requests.map(({ operation }, at) => {
    const outcome = results[at];
    if (outcome === undefined || "error" in outcome) return outcome;
    const parsed = OPERATIONS[operation].result.safeParse(outcome.result);
    if (!parsed.success) throw malformed();
    return { result: parsed.data };
  });
  return outcomes as BatchOutcomes<Requests>;
}

function malformed(): ClientError {
  return new ClientError("ANSWER_MALFORMED", "a batch's answer that does not fit what was asked");
}
