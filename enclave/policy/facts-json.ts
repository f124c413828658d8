/** Facts as a file holds them, for trying policies: integers of chains as decimal strings, bytes as `0x` and hex. */
import { decodeHex, FACT_KINDS, type FactKind, type JsonValue, RequestError } from "../../protocol/index.ts";
import type { Facts, TypedDataStruct, TypedDataValue } from "./facts.ts";

type Shape =
  | "text"
  | "text?"
  | "uint"
  | "uint?"
  | "bytes"
  | "flag"
  | "count"
  | "typed"
  | readonly [Fields | Shape]
  | Fields;
interface Fields {
  readonly [field: string]: Shape;
}

const MOVE: Fields = {
  ...{ standard: "text", effect: "text", token: "text", owner: "text", recipient: "text" },
  ...{ amount: "uint?", tokenId: "uint?" },
};
const CALL: Fields = { to: "text", valueWei: "uint", data: "bytes" };
const MESSAGE: Fields = { from: "text", message: "bytes" };

/** What a kind must have; what else it has, and no field of a policy reads, is passed over. */
const SHAPES: { readonly [Kind in FactKind]: Fields } = {
  "evm-transaction": {
    ...{ type: "count", chainId: "uint", nonce: "uint", from: "text", to: "text?", valueWei: "uint", data: "bytes" },
    ...{ gasLimit: "uint", maxFeePerGasWei: "uint", maxFeeWei: "uint", tokenMoves: [MOVE], hasUnreadTokenCall: "flag" },
    ...{ blobs: "count", authorizations: [{ chainId: "uint", delegate: "text", nonce: "uint", authority: "text?" }] },
  },
  "evm-message": MESSAGE,
  "evm-typed-data": {
    ...{ from: "text", primaryType: "text", message: "typed" },
    domain: { name: "text?", version: "text?", chainId: "uint?", verifyingContract: "text?", salt: "text?" },
  },
  "evm-authorization": { from: "text", chainId: "uint", delegate: "text", nonce: "uint" },
  "evm-user-operation": {
    ...{ from: "text", version: "text", chainId: "uint", entryPoint: "text", sender: "text", nonce: "uint" },
    ...{ callData: "bytes", calls: [CALL], tokenMoves: [MOVE], hasUnreadTokenCall: "flag", factory: "text?" },
    ...{ delegate: "text?", paymaster: "text?", maxFeeWei: "uint" },
  },
  "solana-transaction": {
    ...{
      from: "text",
      feePayer: "text",
      programs: ["text?"],
      unknownInstructions: ["count"],
      usesAddressTables: "flag",
    },
    transfers: [
      { asset: "text", effect: "text", mint: "text?", source: "text?", destination: "text?", amount: "uint" },
    ],
    maxFeeLamports: "uint",
  },
  "solana-message": MESSAGE,
  "bitcoin-transaction": {
    ...{ network: "text", feeSats: "uint", spentSats: "uint", sighashTypes: ["text"] },
    inputs: [{ address: "text?", amountSats: "uint", isOwn: "flag" }],
    outputs: [{ address: "text?", amountSats: "uint", isChange: "flag" }],
  },
  "bitcoin-message": MESSAGE,
  "raw-digest": { curve: "text", scheme: "text", from: "text", digest: "bytes" },
  "wallet-export": { form: "text", from: "text?", recipient: "bytes" },
};

/** @throws {@link RequestError} `INVALID_PARAMS`, with the place */
export function factsFromJson(json: JsonValue): Facts {
  const kind = isObject(json) ? json["kind"] : undefined;
  const known = FACT_KINDS.find((each) => each === kind);
  if (known === undefined) throw wrong("kind", `one of ${FACT_KINDS.join(", ")}`);
  const rest = isObject(json) ? json : {};
  return { ...rest, ...(read(SHAPES[known], json, "") as object), kind: known } as unknown as Facts;
}

function read(shape: Shape, value: JsonValue | undefined, at: string): unknown {
  if (isList(shape)) {
    // Smart accounts' calls that could not be read.
    if (value === null && at === "calls") return null;
    if (!Array.isArray(value)) throw wrong(at, "a list");
    return value.map((item, index) => read(shape[0], item, `${at}[${index}]`));
  }
  if (typeof shape === "object") {
    if (!isObject(value)) throw wrong(at, "an object");
    const place = at === "" ? "" : `${at}.`;
    return Object.fromEntries(
      Object.entries(shape).map(([name, inner]) => [name, read(inner, value[name], `${place}${name}`)]),
    );
  }
  if (value === null && shape.endsWith("?")) return null;
  switch (shape) {
    case "text":
    case "text?":
      if (typeof value === "string") return value;
      throw wrong(at, "text");
    case "uint":
    case "uint?":
      if (typeof value === "string" && /^[0-9]{1,78}$/.test(value)) return BigInt(value);
      throw wrong(at, "a decimal string");
    case "bytes":
      if (typeof value === "string" && /^0x(?:[0-9a-f]{2})*$/.test(value)) return decodeHex(value.slice(2));
      throw wrong(at, "0x and lower-case hex");
    case "flag":
      if (typeof value === "boolean") return value;
      throw wrong(at, "true or false");
    case "count":
      if (typeof value === "number") return value;
      throw wrong(at, "a number");
    case "typed":
      if (isObject(value)) return typed(value);
      throw wrong(at, "an object");
  }
}

/** What is written in digits is taken for an integer: types are not known here. */
function typed(value: JsonValue): TypedDataValue {
  if (Array.isArray(value)) return value.map(typed);
  if (isObject(value)) {
    const struct: TypedDataStruct = Object.fromEntries(
      Object.entries(value).map(([name, each]) => [name, typed(each)]),
    );
    return struct;
  }
  if (typeof value === "number" || (typeof value === "string" && /^(?:0|[1-9][0-9]*)$/.test(value)))
    return BigInt(value);
  if (typeof value === "string" || typeof value === "boolean") return value;
  throw wrong("message", "no null");
}

function isList(shape: Shape): shape is readonly [Fields | Shape] {
  return Array.isArray(shape);
}

function isObject(value: JsonValue | undefined): value is { [key: string]: JsonValue } {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function wrong(at: string, expected: string): RequestError {
  return new RequestError("INVALID_PARAMS", `${at === "" ? "facts" : at}: expected ${expected}`);
}
