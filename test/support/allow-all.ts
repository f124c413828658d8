/** Policies for tests of what is not policy. */
import type { Policy } from "../../protocol/index.ts";

/** Everything that can be parsed is signed; what a rule must name is not among that. */
export const ALLOW_ALL: Policy = { v: 1, rules: [{ id: "everything", effect: "allow", when: [] }] };

/** Secrets may leave as well. */
export const ALLOW_EXPORTS: Policy = {
  v: 1,
  rules: [...ALLOW_ALL.rules, { id: "exports", effect: "allow", when: [{ field: "kind", in: ["wallet-export"] }] }],
};
