/** A policy for tests of what is not policy: everything that can be parsed is signed. */
import type { Policy } from "../../protocol/index.ts";

export const ALLOW_ALL: Policy = { v: 1, rules: [{ id: "everything", effect: "allow", when: [] }] };
