/**
 * Works through the addons' arguments: every function with what it takes, and with each argument of another type or length.
 * Also run as a program of its own, with an addon that was compiled with sanitizers:
 *
 *   node test/support/addon-arguments.ts secp256k1|p256 ADDON
 */
import { randomBytes } from "node:crypto";
import { createRequire } from "node:module";

type Argument =
  /** Bytes of one of these lengths, or of any. */
  | { readonly lengths: readonly number[] }
  | { readonly any: true }
  | { readonly orNull: number }
  | { readonly most: number };

const KEY: Argument = { lengths: [32] };
const POINT: Argument = { lengths: [33, 65] };
const SIGNATURE: Argument = { lengths: [64] };
const ANY: Argument = { any: true };
const KEY_OR_NULL: Argument = { orNull: 32 };

export const ADDON_FUNCTIONS: Readonly<Record<string, Readonly<Record<string, readonly Argument[]>>>> = {
  secp256k1: {
    randomize: [KEY],
    isPrivateKey: [ANY],
    publicKey: [KEY, POINT],
    addTweak: [KEY, KEY],
    tweakPublicKey: [POINT, KEY, POINT],
    signRecoverable: [KEY, KEY, SIGNATURE],
    recover: [KEY, SIGNATURE, { most: 3 }, POINT],
    verifyDer: [KEY, ANY, ANY],
    signSchnorr: [KEY, KEY, KEY_OR_NULL, KEY_OR_NULL, SIGNATURE],
    verifySchnorr: [SIGNATURE, ANY, KEY],
  },
  p256: {
    isPrivateKey: [ANY],
    publicKey: [KEY, POINT],
    addTweak: [KEY, KEY],
    signDigest: [KEY, KEY, SIGNATURE],
    keccak256: [ANY, KEY],
  },
};

type Addon = Readonly<Record<string, (...args: readonly unknown[]) => unknown>>;

/** @returns What was taken and should not have been, or the other way round; and how many calls there were. */
export function tryArguments(
  name: string,
  addon: Addon,
): { readonly calls: number; readonly wrong: readonly string[] } {
  const wrong: string[] = [];
  let calls = 0;
  const isRefused = (call: string, args: readonly unknown[]): boolean => {
    calls += 1;
    try {
      addon[call]?.(...args);
      return false;
    } catch (error) {
      if (!(error instanceof TypeError) || (error as { code?: unknown }).code !== "ERR_INVALID_ARG_TYPE")
        wrong.push(`${call}: ${String(error)}`);
      return true;
    }
  };
  for (const [call, shape] of Object.entries(ADDON_FUNCTIONS[name] ?? {})) {
    for (let round = 0; round < 100; round += 1) {
      const args = shape.map((argument) => right(argument, round));
      if (isRefused(call, args)) wrong.push(`${call} refuses ${describe(args)}`);
    }
    for (const [at, argument] of shape.entries()) {
      for (const bad of wrongFor(argument)) {
        const args = shape.map((other, index) => (index === at ? bad : right(other, 7)));
        if (!isRefused(call, args)) wrong.push(`${call} takes ${describe(args)}`);
      }
    }
    const args = shape.map((argument) => right(argument, 7));
    for (const other of [args.slice(1), args.slice(0, -1), [...args, new Uint8Array(32)], []])
      if (!isRefused(call, other)) wrong.push(`${call} takes ${other.length} arguments`);
  }
  return { calls, wrong };
}

/** Keys and points that are some, and that are none: zeros, the order of each curve and above, points off the curve. */
function right(argument: Argument, round: number): unknown {
  if ("most" in argument) return round % (argument.most + 1);
  if ("orNull" in argument && round % 3 === 0) return null;
  const length = lengthOf(argument, round);
  if (round % 10 === 1) return new Uint8Array(length);
  if (round % 10 === 2) return new Uint8Array(length).fill(0xff);
  const bytes = Uint8Array.from(randomBytes(length));
  if (length === 33 || length === 65) bytes[0] = length === 33 ? 2 + (round % 2) : 4;
  // The middle of other memory, and a Buffer, are byte arrays like any.
  if (round % 10 === 3)
    return new Uint8Array(Buffer.concat([Buffer.alloc(5), bytes, Buffer.alloc(5)]).buffer.slice(0)).subarray(
      5,
      5 + length,
    );
  return round % 10 === 4 ? Buffer.from(bytes) : bytes;
}

function lengthOf(argument: Argument, round: number): number {
  if ("lengths" in argument) return argument.lengths[round % argument.lengths.length] ?? 0;
  if ("orNull" in argument) return argument.orNull;
  return [0, 1, 32, 33, 65, 72, 1000][round % 7] ?? 0;
}

function wrongFor(argument: Argument): unknown[] {
  if ("most" in argument) return [-1, argument.most + 1, 0.5, Number.NaN, 2 ** 32, "0", null, undefined, 1n];
  const kinds: unknown[] = [
    ...[undefined, 0, 32, "0".repeat(32), {}, [], Array.from({ length: 32 }, () => 1), () => 32, Symbol("key")],
    ...[new ArrayBuffer(32), new DataView(new ArrayBuffer(32)), { length: 32, buffer: new ArrayBuffer(32) }],
    ...[new Uint8ClampedArray(32), new Int8Array(32), new Uint16Array(32), new Float64Array(32), new BigUint64Array(4)],
  ];
  if (!("orNull" in argument)) kinds.push(null);
  if ("any" in argument) return kinds;
  const lengths = [0, 1, 31, 32, 33, 34, 63, 64, 65, 66, 1000].filter((length) =>
    "orNull" in argument ? length !== argument.orNull : !argument.lengths.includes(length),
  );
  return [...kinds, ...lengths.map((length) => new Uint8Array(length)), detached(lengthOf(argument, 0))];
}

/** An array whose memory has been given away. */
function detached(length: number): Uint8Array {
  const bytes = new Uint8Array(length);
  structuredClone(bytes.buffer, { transfer: [bytes.buffer] });
  return bytes;
}

function describe(args: readonly unknown[]): string {
  return args
    .map((value) => (ArrayBuffer.isView(value) ? `${value.constructor.name}(${value.byteLength})` : String(value)))
    .join(", ");
}

if (import.meta.main) {
  const [name = "", path = ""] = process.argv.slice(2);
  process.stdout.write(JSON.stringify(tryArguments(name, createRequire(import.meta.url)(path))));
}
