import fc from "fast-check";
import { expect, test } from "vitest";
import { Ids } from "../../../enclave/vault/ids.ts";

const KEY = Uint8Array.from({ length: 32 }, (_, at) => at);
const ids = new Ids(KEY);

// Computed with Python's hmac: an id that changes loses the record that it names.
test.each<[string, "app" | "usr" | "wal", string[]]>([
  ["app_5cc669124f57337676626e95910c7ee6", "app", []],
  ["usr_033b18509bcf06782026efb19c3eb9eb", "usr", ["app_1", "https://issuer.example", "alice"]],
  ["wal_51161d15ed3b257c780703649de70307", "wal", ["€", "𝄞"]],
])("%s", (id, kind, parts) => {
  expect(ids.derive(kind, parts)).toBe(id);
});

test("the same parts give the same id, and only under the same key", () => {
  expect(new Ids(KEY).derive("app", ["x"])).toBe(ids.derive("app", ["x"]));
  expect(new Ids(KEY.with(0, 1)).derive("app", ["x"])).not.toBe(ids.derive("app", ["x"]));
});

test("no two lists of parts give one id: each part goes in with its length", () => {
  const part = fc.string({ maxLength: 4 });
  fc.assert(
    fc.property(fc.array(part, { maxLength: 4 }), fc.array(part, { maxLength: 4 }), (one, two) => {
      const areEqual = JSON.stringify(one) === JSON.stringify(two);
      expect(ids.derive("usr", one) === ids.derive("usr", two)).toBe(areEqual);
    }),
  );
  const alike = [["ab", "c"], ["a", "bc"], ["abc"], ["abc", ""], ["", "abc"]].map((parts) => ids.derive("usr", parts));
  expect(new Set(alike).size).toBe(alike.length);
});

test("the kind goes into the id and not only before it", () => {
  const [app, wallet] = [ids.derive("app", ["x"]), ids.derive("wal", ["x"])];
  expect(app).toMatch(/^app_[0-9a-f]{32}$/);
  expect(wallet).toMatch(/^wal_[0-9a-f]{32}$/);
  expect(app.slice(4)).not.toBe(wallet.slice(4));
});

test("nothing of the parts can be read in it", () => {
  expect(ids.derive("usr", ["alice"])).not.toContain("alice");
  expect(ids.derive("usr", ["alice"])).not.toContain(Buffer.from("alice").toString("hex"));
});
