import { expect, test } from "vitest";
import type { AppHandler, Services } from "../../../enclave/operations/handler.ts";
import { eraseUser } from "../../../enclave/operations/user-data.ts";

test("what limits have counted is not forgotten as long as there is a wallet: whoever has it fail midway would begin anew", async () => {
  const done: string[] = [];
  const doing = (what: string) => async () => {
    done.push(what);
  };
  const user = { identities: [], sessions: [], passkeys: [] };
  const services = {
    policies: { erase: doing("limits") },
    approvals: { erase: doing("approvals") },
    userPolicies: { erase: doing("policies") },
    wallets: {
      erase: async () => {
        throw new Error("the parent fails");
      },
    },
    events: { erase: doing("events") },
    users: {
      change: async (_app: string, _user: string, decide: (of: typeof user) => Promise<unknown>) => decide(user),
    },
  } as unknown as Services;
  const request = {
    actor: { kind: "session", appId: "app_1", userId: "usr_1", user, session: { sessionId: "ses_1" } },
  };
  const erased = eraseUser(
    request as unknown as Parameters<AppHandler<"erase_user">>[0] as never,
    { userId: "usr_1" },
    services,
  );
  await expect(erased).rejects.toThrow("the parent fails");
  expect(done).toEqual([]);
});
