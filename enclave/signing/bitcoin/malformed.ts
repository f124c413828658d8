import { RequestError } from "../../../protocol/index.ts";

export function malformed(why: string): never {
  throw new RequestError("TRANSACTION_MALFORMED", why);
}
