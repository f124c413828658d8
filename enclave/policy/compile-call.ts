/** Conditions on a call's arguments and on an EIP-712 message: paths into values, found once and followed each time. */
import { type ArgTest, type CallTest, RequestError, type TypedTest } from "../../protocol/index.ts";
import { type AbiValue, decodeCall, isCallOf, parseSignature } from "../signing/evm/abi.ts";
import type { AbiType } from "../signing/evm/abi-types.ts";
import type { Evaluation } from "./evaluation.ts";
import type { TypedDataStruct, TypedDataValue } from "./facts.ts";
import { least, NO, type Tri, UNSURE, YES } from "./tri.ts";
import { matcherOf, oneOf } from "./value-tests.ts";

const EACH = "[]";

export type DataTest = (data: Uint8Array, evaluation: Evaluation) => Tri;

/** @throws {@link RequestError} `INVALID_PARAMS` for what is no signature, or a place that it does not have */
export function compileCall({ call, args = [] }: CallTest): DataTest {
  const signature = parseSignature(call);
  if (signature === null) throw invalid(`${call}: not a signature in its canonical spelling`);
  const tests = args.map((test) => compileArg(test, call, signature.parameters));
  return (data, evaluation) => {
    evaluation.step();
    if (!isCallOf(signature, data)) return NO;
    const values = evaluation.decoded(signature.text, data, () => decodeCall(signature, data));
    // The contract may take what is not encoded as Solidity's compiler does.
    if (values === null) return UNSURE;
    let result: Tri = YES;
    for (const test of tests) result = least(result, test(values, evaluation));
    return result;
  };
}

type ArgsTest = (values: readonly AbiValue[], evaluation: Evaluation) => Tri;

function compileArg(test: ArgTest, call: string, parameters: readonly AbiType[]): ArgsTest {
  const path = segmentsOf(test.arg);
  const type = typeAt({ kind: "tuple", items: parameters }, path);
  if (type === null || type.kind === "array" || type.kind === "tuple") {
    throw invalid(`${call}: no single value at ${test.arg}`);
  }
  const { arg: _, call: inner, ...valueTest } = test;
  if (inner !== undefined && type.kind !== "bytes") throw invalid(`${call}: ${test.arg} holds no call`);
  if (!fits(valueTest, type)) throw invalid(`${call}: ${test.arg} is ${type.kind}, and is tested as something else`);
  const matcher = Object.keys(valueTest).length === 0 ? null : matcherOf(valueTest);
  const innerTest = inner === undefined ? null : compileCall(inner);
  return (values, evaluation) =>
    everyAt(values, path, (value) => {
      evaluation.step();
      const own = matcher === null ? YES : matcher(value as bigint | boolean | string | Uint8Array);
      return innerTest === null || !(value instanceof Uint8Array) ? own : least(own, innerTest(value, evaluation));
    });
}

function fits(test: Omit<ArgTest, "arg" | "call">, type: AbiType): boolean {
  const isNumber = type.kind === "uint" || type.kind === "int";
  if (test.is !== undefined && type.kind !== "bool") return false;
  if ((test.atLeast ?? test.atMost) !== undefined && !isNumber) return false;
  if (test.startsWith !== undefined && (isNumber || type.kind === "bool")) return false;
  return (
    test.in === undefined || (type.kind !== "bool" && (!isNumber || test.in.every((each) => /^[0-9]+$/.test(each))))
  );
}

function typeAt(type: AbiType, path: readonly string[]): AbiType | null {
  let at = type;
  for (const segment of path) {
    if (segment === EACH) {
      if (at.kind !== "array") return null;
      at = at.item;
      continue;
    }
    const item = at.kind === "tuple" ? at.items[Number(segment)] : undefined;
    if (item === undefined) return null;
    at = item;
  }
  return at;
}

/** A field of the message; one that is not there is surely not as it should be. */
export function compileTyped({ typed, ...test }: TypedTest): (message: TypedDataStruct, evaluation: Evaluation) => Tri {
  const path = segmentsOf(typed);
  const matcher = matcherOf(test);
  return (message, evaluation) =>
    everyAt(message, path, (value) => {
      evaluation.step();
      if (Array.isArray(value) || isStruct(value)) return UNSURE;
      return matcher(value as string | bigint | boolean | Uint8Array);
    });
}

/** All that a path leads to, and it leads somewhere. What holds of some elements alone is unsure: neither all, nor none. */
function everyAt(
  value: AbiValue | TypedDataValue | undefined,
  path: readonly string[],
  test: (value: AbiValue | TypedDataValue) => Tri,
): Tri {
  if (value === undefined) return NO;
  const [segment, ...rest] = path;
  if (segment === undefined) return test(value);
  if (segment === EACH) {
    if (!Array.isArray(value) || value.length === 0) return NO;
    return oneOf((value as readonly AbiValue[]).map((item) => everyAt(item, rest, test)));
  }
  if (Array.isArray(value)) return everyAt((value as readonly AbiValue[])[Number(segment)], rest, test);
  return isStruct(value) && Object.hasOwn(value, segment) ? everyAt(value[segment], rest, test) : NO;
}

function isStruct(value: AbiValue | TypedDataValue): value is TypedDataStruct {
  return typeof value === "object" && !Array.isArray(value) && !(value instanceof Uint8Array);
}

/** `a[].b` as `a`, `[]`, `b`. */
function segmentsOf(path: string): readonly string[] {
  return path.replaceAll("[]", ".[]").split(".");
}

function invalid(why: string): RequestError {
  return new RequestError("INVALID_PARAMS", `policy: ${why}`);
}
