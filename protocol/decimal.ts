import { z } from "./zod.ts";

const MAX_UINT256 = 2n ** 256n - 1n;

/** An integer that may pass 2^53: decimal, no sign, no leading zero. */
export const decimal = z.string().check(
  z.regex(/^(?:0|[1-9][0-9]{0,77})$/, "expected a decimal string"),
  // Asked of every text, whatever the check before said of it.
  z.refine((text) => !/^[0-9]+$/.test(text) || BigInt(text) <= MAX_UINT256, "over 2^256 - 1"),
);
