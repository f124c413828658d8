import { RequestError } from "../protocol/index.ts";

export type Refusal = Pick<RequestError, "code" | "message" | "details">;

/** What is not a refusal is a fault of ours, and its words stay inside. */
export function asRefusal(error: unknown): Refusal {
  if (error instanceof RequestError) return error;
  return { code: "INTERNAL", message: "the enclave failed; nothing was signed", details: undefined };
}
