import { expect, test } from "vitest";
import type { AppHandler, Services } from "../../../enclave/operations/handler.ts";
import { eraseUser, exportUser } from "../../../enclave/operations/user-data.ts";
import { MAX_ANSWER_BYTES } from "../../../protocol/index.ts";

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

test("a page of what is held counts bytes, and leaves for the next what would make it greater than an answer", async () => {
  // Twenty thousand letters of three bytes each: fifteen of them are 900 kB as they are answered.
  const params = "語".repeat(20_000);
  const pagesOf = new Map<string | null, { readonly count: number; readonly next: string | null }>([
    [null, { count: 3, next: "apr_a" }],
    ["apr_a", { count: 15, next: "apr_b" }],
    ["apr_b", { count: 1, next: null }],
  ]);
  const services = {
    approvals: {
      heldOn: async (_app: string, _user: string, after: string | null) => {
        const { count = 0, next = null } = pagesOf.get(after) ?? {};
        return { approvals: Array(count).fill({ approvalId: "apr_1", approval: {} }), next };
      },
      view: (approvalId: string) => ({ approvalId, params }),
    },
    events: { list: async () => ({ events: [], more: false }) },
  } as unknown as Services;
  const actor = { appId: "app_1", userId: "usr_1", user: {} };
  const request = { actor } as unknown as Parameters<AppHandler<"export_user">>[0];
  const pages: number[] = [];
  for (let after: string | null = "approvals/"; after !== null; ) {
    const page: Awaited<ReturnType<typeof exportUser>> = await exportUser(request, { after }, services);
    expect(Buffer.byteLength(JSON.stringify(page))).toBeLessThan(MAX_ANSWER_BYTES);
    pages.push(page.items.length);
    after = page.next;
  }
  expect(pages).toEqual([3, 15, 1]);
});
