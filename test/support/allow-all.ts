/** A policy for tests of what is not policy: everything that can be parsed is signed, and what it takes a name for is named. */
import { KINDS_TO_NAME, type Policy } from "../../protocol/index.ts";

export const ALLOW_ALL: Policy = {
  v: 1,
  rules: [
    { id: "everything", effect: "allow", when: [] },
    { id: "blind", effect: "allow", when: [{ field: "kind", in: [...KINDS_TO_NAME] }] },
  ],
};
