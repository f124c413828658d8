/** What all apps together have little of: none takes it from the others. */
import { randomBytes } from "node:crypto";
import { expect, test } from "vitest";
import type { Randomness } from "../../../enclave/nsm/randomness.ts";
import { Imports } from "../../../enclave/wallets/imports.ts";
import { Keystores } from "../../../enclave/wallets/keystore-v3.ts";
import type { Wallets } from "../../../enclave/wallets/wallets.ts";

const randomness = { bytes: (length: number) => randomBytes(length) } as unknown as Randomness;
const codeOf = (work: Promise<unknown>) =>
  work.then(
    () => "done",
    (error: { code: string }) => error.code,
  );

test("an app takes half of the targets for imports, and another's users still begin theirs", async () => {
  let nowMs = 1_000;
  const imports = new Imports({
    ...{ wallets: {} as Wallets, randomness, maxTargets: 40, nowMs: () => nowMs },
    attest: async () => new Uint8Array(1),
  });
  const begin = (appId: string, userId: string) =>
    codeOf(imports.begin({ appId, userId }, "a", { kind: "hd" }, new Uint8Array(32)));
  const noisy: string[] = [];
  for (let user = 0; user < 30; user += 1) noisy.push(await begin("noisy", `usr_${user}`));
  expect([noisy.indexOf("BUSY"), noisy.at(-1)]).toEqual([20, "BUSY"]);
  for (let user = 0; user < 10; user += 1) expect(await begin("quiet", `usr_${user}`)).toBe("done");
  // Who begins a ninth loses the first, which makes the room that it needs.
  for (let n = 0; n < 9; n += 1) expect(await begin("third", "usr_1")).toBe(n < 5 ? "done" : "BUSY");
  nowMs += 21 * 60_000;
  expect(await begin("noisy", "usr_99")).toBe("done");
});

test("an app's keystores wait for one of each other app's, and never take all places", {
  timeout: 60_000,
}, async () => {
  const keystores = new Keystores({ randomness });
  const order: string[] = [];
  const make = async (appId: string) => {
    const outcome = await codeOf(keystores.make(appId, new Uint8Array(32).fill(1), `0x${"0".repeat(40)}`, "password"));
    if (outcome === "done") order.push(appId);
    return outcome;
  };
  const noisy = Array.from({ length: 14 }, () => make("noisy"));
  const quiet = [make("quiet"), make("quiet")];
  expect(await Promise.all(quiet)).toEqual(["done", "done"]);
  expect(order.indexOf("quiet")).toBeLessThanOrEqual(2);
  const outcomes = await Promise.all(noisy);
  expect(outcomes.filter((outcome) => outcome === "BUSY")).not.toHaveLength(0);
  expect(order.filter((appId) => appId === "noisy").length).toBeGreaterThanOrEqual(9);
});
