import type { Policy } from "../../protocol/index.ts";

export interface CompiledPolicy {
  readonly document: Policy;
}
export function compilePolicy(document: Policy): CompiledPolicy {
  return { document };
}
