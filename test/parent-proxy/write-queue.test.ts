import { expect, test } from "vitest";
import type { RecordChange, WriteOutcome } from "../../parent-proxy/records/record-store.ts";
import { type Write, WriteQueue } from "../../parent-proxy/records/write-queue.ts";

const write = (name: string, bytes = 1): RecordChange[] => [
  { name, expectedVersion: 0, version: 1, value: new Uint8Array(bytes) },
];
const written: WriteOutcome = { kind: "written" };

/** Commits when told to, and says what it was given. */
function committer(maxUnderWay: number, leftNothing = false) {
  const commits: { readonly names: readonly string[]; readonly end: (error?: Error) => Promise<void> }[] = [];
  const queue = new WriteQueue({
    maxUnderWay,
    leftNothing: () => leftNothing,
    commit(writes: readonly Write[]) {
      const { promise, resolve, reject } = Promise.withResolvers<readonly WriteOutcome[]>();
      const end = async (error?: Error) => {
        if (error === undefined) resolve(writes.map(() => written));
        else reject(error);
        // What follows from it has happened then.
        await new Promise((followed) => setImmediate(followed));
      };
      commits.push({ names: writes.map(([first]) => first?.name ?? ""), end });
      return promise;
    },
  });
  return { queue, commits };
}

test("what finds room goes at once, and what comes meanwhile goes together, in its order", async () => {
  const { queue, commits } = committer(2);
  const all = ["a", "b", "c", "d", "e"].map((name) => queue.write(write(name)));
  expect(commits.map(({ names }) => names)).toEqual([["a"], ["b"]]);
  await commits[1]?.end();
  expect(await all[1]).toEqual(written);
  expect(commits.map(({ names }) => names)).toEqual([["a"], ["b"], ["c", "d", "e"]]);
  await commits[2]?.end();
  await commits[0]?.end();
  expect(await Promise.all(all)).toEqual(Array(5).fill(written));
});

test("64 writes at most, and a mebibyte at most unless one has more", async () => {
  const { queue, commits } = committer(1);
  const all = [queue.write(write("first"))];
  for (let at = 0; at < 65; at += 1) all.push(queue.write(write(`small/${at}`)));
  for (let at = 0; at < 3; at += 1) all.push(queue.write(write(`large/${at}`, 600_000)));
  for (let at = 0; at < 6; at += 1) {
    await commits[at]?.end();
  }
  expect(commits.map(({ names }) => names.length)).toEqual([1, 64, 2, 1, 1]);
  expect(await Promise.all(all)).toEqual(all.map(() => written));
});

test("a failure of which nobody knows what it left is everybody's", async () => {
  const { queue, commits } = committer(1);
  const all = ["a", "b", "c"].map((name) => queue.write(write(name)));
  await commits[0]?.end();
  const settled = Promise.allSettled(all);
  await commits[1]?.end(new Error("cut"));
  const ends = await settled;
  expect(ends.map(({ status }) => status)).toEqual(["fulfilled", "rejected", "rejected"]);
  expect(commits).toHaveLength(2);
});

test("after one that left nothing each is tried by itself", async () => {
  const { queue, commits } = committer(1, true);
  const all = ["a", "b", "c"].map((name) => queue.write(write(name)));
  await commits[0]?.end();
  const settled = Promise.allSettled(all);
  await commits[1]?.end(new Error("refused"));
  expect(commits.slice(2).map(({ names }) => names)).toEqual([["b"], ["c"]]);
  await commits[2]?.end(new Error("refused again"));
  await commits[3]?.end();
  const ends = await settled;
  expect(ends.map(({ status }) => status)).toEqual(["fulfilled", "rejected", "fulfilled"]);
  const next = queue.write(write("next"));
  await commits[4]?.end();
  expect(await next).toEqual(written);
});
