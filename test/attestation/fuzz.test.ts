import { describe, expect, test } from "vitest";
import { type FuzzResult, fuzz } from "../../scripts/fuzz-engine.ts";
import { COUNTERS_GLOBAL, instrument } from "../../scripts/fuzz-instrument.ts";

/** A fault behind six comparisons, which chance alone would meet once in 2^48 inputs. */
const PLANTED = `
  function target(bytes) {
    if (bytes[0] === 0x84) {
      if (bytes[1] === 0x0d && bytes[2] === 0xa1) {
        switch (bytes[3]) {
          case 0x22:
            for (const byte of bytes) if (byte === 0x77) return bytes[4] === 0x58 ? fault() : 0;
        }
      }
    }
    return 0;
  }
  const fault = () => { throw new Error("planted"); };
  return target;
`;
const EXECUTIONS = 400_000;

function run(guided: boolean): FuzzResult {
  const { code, counters: size } = instrument(`export default () => {${PLANTED}}`);
  const counters = new Uint8Array(size);
  Reflect.set(globalThis, COUNTERS_GLOBAL, counters);
  const body = code.replace("export default", "return");
  const target = (new Function(body) as () => () => (input: Uint8Array) => void)()();
  return fuzz({
    run: target,
    // Without counters every input looks the same, and only the seed is changed.
    counters: guided ? counters : new Uint8Array(1),
    seeds: [new Uint8Array(8)],
    dictionary: [],
    maxBytes: 64,
    seed: 7,
    stop: (executions) => executions >= EXECUTIONS,
  });
}

describe("the fuzzer itself", () => {
  test("finds a planted fault", () => {
    const { failure, executions } = run(true);
    expect(failure?.error).toEqual(new Error("planted"));
    expect(failure?.input.subarray(0, 5)).toEqual(Uint8Array.of(0x84, 0x0d, 0xa1, 0x22, 0x58));
    expect(executions).toBeLessThan(EXECUTIONS);
  });

  test("does not find it without counting paths: what it finds, it finds by guidance", () => {
    expect(run(false).failure).toBeNull();
  });

  test("instrumented code does what it did", () => {
    const source = `export default (a) => { if (a) return a ? 1 && 2 : 3; else for (let i = 0; i < 3; i++) a += i ?? 0; return () => ({ a }); }`;
    const { code, counters } = instrument(source);
    Reflect.set(globalThis, COUNTERS_GLOBAL, new Uint8Array(counters));
    const load = (text: string) =>
      (new Function(text.replace("export default", "return")) as () => (a: number) => unknown)();
    const [plain, counted] = [load(source), load(code)];
    expect(counted(1)).toBe(plain(1));
    expect((counted(0) as () => unknown)()).toEqual((plain(0) as () => unknown)());
    // Two functions, both sides of the `if`, the loop, both arms of the conditional, `&&` and `??`.
    expect(counters).toBe(9);
  });
});
