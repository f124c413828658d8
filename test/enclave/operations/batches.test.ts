import { expect, test } from "vitest";
import { signBatch } from "../../../enclave/operations/batches.ts";
import type { AppHandler, Services } from "../../../enclave/operations/handler.ts";
import { type Params, RequestError, WHOLE_SCOPE } from "../../../protocol/index.ts";

test("others come between the elements of a batch that takes long", async () => {
  let turns = 0;
  const before: number[] = [];
  const services = {
    policies: {},
    wallets: {
      open: async () => {
        before.push(turns);
        for (const startedAt = performance.now(); performance.now() - startedAt < 3; );
        throw new RequestError("WALLET_NOT_FOUND", "no such wallet");
      },
    },
  } as unknown as Services;
  const actor = {
    kind: "session",
    appId: "app_1",
    userId: "usr_1",
    session: { sessionId: "ses_1" },
    scope: WHOLE_SCOPE,
  };
  const request = { actor, envelope: { requestId: "r" } } as unknown as Parameters<AppHandler<"sign_batch">>[0];
  const params = { walletId: `wal_${"0".repeat(32)}`, message: "0x61" };
  const requests = Array(8).fill({ operation: "sign_message", params }) as Params<"sign_batch">["requests"];
  let isOver = false;
  const count = () => {
    turns += 1;
    if (!isOver) setImmediate(count);
  };
  setImmediate(count);
  const { results } = await signBatch(request, { requests }, services);
  isOver = true;
  expect(results.map((each) => "error" in each && each.error.code)).toEqual(Array(8).fill("WALLET_NOT_FOUND"));
  // Each element a turn later than the one before it.
  expect(new Set(before).size).toBe(8);
});
