/** The table of access and the operations' params agree: what the enclave judges by is there to be judged. */
import { expect, test } from "vitest";
import {
  ACCESS,
  APP_OPERATIONS,
  type AppAccess,
  isAppOperation,
  isBatch,
  OPERATIONS,
  type OperationName,
} from "../../protocol/index.ts";
import { permissions, scope } from "../../protocol/scope.ts";

const names = Object.keys(ACCESS) as OperationName[];
const fieldsOf = (name: OperationName) => Object.keys(OPERATIONS[name].params.shape);

test("every operation stands in both tables", () => {
  expect(names.sort()).toEqual(Object.keys(OPERATIONS).sort());
});

test("an operation names a wallet in its params if, and only if, its entry says so", () => {
  for (const name of names) {
    const entry: { readonly kind: string; readonly wallet?: AppAccess["wallet"] } = ACCESS[name];
    expect([name, entry.wallet === "named"]).toEqual([name, fieldsOf(name).includes("walletId")]);
  }
});

test("an operation whose params hold a login token is sealed by clients", () => {
  for (const name of names.filter((each) => fieldsOf(each).includes("jwt"))) expect(ACCESS[name].bearer).toBe(true);
});

test("nobody may call what names no caller; scopes and permissions name operations inside apps alone", () => {
  for (const name of APP_OPERATIONS) expect(ACCESS[name].callers.length).toBeGreaterThan(0);
  for (const name of names) {
    const named = { operations: [name], wallets: null, chains: null };
    for (const schema of [scope, permissions]) {
      expect(schema.safeParse(named).success).toBe(isAppOperation(name) && !isBatch(name));
    }
  }
});

test("permissions list their operations, while a scope may leave them open", () => {
  const whole = { operations: null, wallets: null, chains: null };
  expect(scope.safeParse(whole).success).toBe(true);
  expect(permissions.safeParse(whole).success).toBe(false);
  for (const wrong of [
    {},
    { operations: null },
    { ...whole, more: 1 },
    { ...whole, chains: ["1"] },
    { ...whole, wallets: ["x"] },
  ]) {
    expect(scope.safeParse(wrong).success).toBe(false);
  }
});
