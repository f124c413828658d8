/** What a worker says within a turn: together, in order, and not for long. */
import { setImmediate as turnsEnd } from "node:timers/promises";
import fc from "fast-check";
import { beforeEach, expect, test } from "vitest";
import { Gathered } from "../../../enclave/workers/gathered.ts";

let sent: (readonly string[])[];
let said: Gathered<string>;
beforeEach(() => {
  sent = [];
  said = new Gathered((messages) => sent.push(messages));
});

/** Longer than anything is held. */
function work(): void {
  const until = performance.now() + 2;
  while (performance.now() < until);
}

test("what is said in one turn is one message at its end, and nothing is said twice", async () => {
  for (const word of ["a", "b", "c"]) said.say(word);
  await Promise.resolve();
  await turnsEnd();
  expect(sent.flat()).toEqual(["a", "b", "c"]);
  await turnsEnd();
  expect(sent.flat()).toEqual(["a", "b", "c"]);
});

test("what is said in the next turn is not lost", async () => {
  said.say("a");
  await turnsEnd();
  said.say("b");
  await turnsEnd();
  expect(sent).toEqual([["a"], ["b"]]);
});

test("a turn that lasts holds nothing for more than the next word", async () => {
  said.say("a");
  work();
  expect(sent).toEqual([]);
  said.say("b");
  expect(sent).toEqual([["a", "b"]]);
  said.say("c");
  work();
  said.say("d");
  expect(sent).toEqual([
    ["a", "b"],
    ["c", "d"],
  ]);
  said.say("e");
  await turnsEnd();
  expect(sent.flat()).toEqual(["a", "b", "c", "d", "e"]);
});

test("what is said at once takes along what was said before", async () => {
  said.say("a");
  said.sayAtOnce("b");
  expect(sent).toEqual([["a", "b"]]);
  said.flush();
  await turnsEnd();
  expect(sent).toEqual([["a", "b"]]);
});

test("however it is said, all arrives in its order", async () => {
  const way = fc.constantFrom("say", "sayAtOnce", "flush", "work", "turn");
  await fc.assert(
    fc.asyncProperty(fc.array(way, { maxLength: 30 }), async (ways) => {
      const arrived: number[] = [];
      const numbers = new Gathered<number>((messages) => arrived.push(...messages));
      let last = 0;
      for (const each of ways) {
        if (each === "work") work();
        else if (each === "turn") await turnsEnd();
        else if (each === "flush") numbers.flush();
        else {
          last += 1;
          numbers[each](last);
        }
      }
      await turnsEnd();
      expect(arrived).toEqual(Array.from({ length: last }, (_, at) => at + 1));
    }),
    { numRuns: 30 },
  );
});
