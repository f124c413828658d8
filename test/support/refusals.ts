import { RefusedError } from "../../client/index.ts";

/** The code of a refusal; `done` where there was none. */
export async function codeOf(attempt: Promise<unknown>): Promise<string> {
  try {
    await attempt;
    return "done";
  } catch (error) {
    if (!(error instanceof RefusedError)) throw error;
    return error.code;
  }
}
