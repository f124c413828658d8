/** Rotation against a KMS and a store in memory: what interrupts it, and what a parent can do to it. */
import { describe, expect, test } from "vitest";
import { StartError } from "../../../enclave/errors.ts";
import { generationOf } from "../../../enclave/vault/record-cipher.ts";
import { change } from "../../../enclave/vault/records.ts";
import { encodeCbor } from "../../../protocol/index.ts";
import {
  type Boot,
  COUNT,
  expectAllThere,
  fill,
  finish,
  MANY,
  notes,
  outwait,
  SETTLED_MS,
  World,
} from "./rotation-world.ts";

const TEXT = encodeCbor({ text: "late" });

test("seals everything anew, retires the old generation, and the ids stay", async () => {
  const world = new World();
  const boot = await world.boot();
  await fill(boot);
  const id = boot.vault.ids.derive("app", ["x"]);
  expect(boot.rotation.status()).toEqual({ generation: 1, retiring: [], resealed: 0 });

  expect(await boot.rotation.begin()).toMatchObject({ generation: 2, retiring: [1] });
  await boot.vault.records.write([change(notes, "a/new", null, { text: "new" })]);
  await expect.poll(() => [...world.generations()]).toEqual([2]);
  expect(boot.rotation.status()).toMatchObject({ retiring: [1], resealed: COUNT });
  expect(world.wrapped()).toEqual(["vault/1", "vault/2"]);

  await finish(world, boot);
  expect(world.wrapped()).toEqual(["vault/2"]);
  await expectAllThere(boot);
  const next = await world.boot();
  await expectAllThere(next);
  expect(next.vault.ids.derive("app", ["x"])).toBe(id);
  expect(next.rotation.status()).toEqual({ generation: 2, retiring: [], resealed: 0 });
  for (const each of [boot, next]) each.stop();
});

test("asked for twice, or twice at once, it is one rotation", async () => {
  const world = new World();
  const boot = await world.boot();
  await fill(boot);
  const statuses = await Promise.all([boot.rotation.begin(), boot.rotation.begin()]);
  expect(statuses.map(({ generation }) => generation)).toEqual([2, 2]);
  expect((await boot.rotation.begin()).generation).toBe(2);
  await finish(world, boot);
  expect((await boot.rotation.begin()).generation).toBe(3);
  boot.stop();
});

test("asked for again and again while it runs, it neither starts over nor puts off its end", async () => {
  const world = new World();
  const boot = await world.boot();
  await fill(boot);
  await boot.rotation.begin();
  await expect.poll(() => boot.rotation.status().resealed).toBe(COUNT);
  world.nowMs += SETTLED_MS - 1;
  expect(await boot.rotation.begin()).toEqual({ generation: 2, retiring: [1], resealed: COUNT });
  world.nowMs += 1;
  await expect.poll(() => boot.rotation.status().retiring).toEqual([]);
  boot.stop();
});

test("cut off after any of its writes, nothing is lost and the next boot finishes it", async () => {
  // The switch, a beat, and four of the pass.
  for (let writes = 0; writes < 6; writes += 1) {
    const world = new World();
    const boot = await world.boot();
    await fill(boot, MANY);
    let left = writes;
    world.parent.answer = (call, act) => {
      if (call.kind !== "write") return act();
      left -= 1;
      // The last one is made, and its answer lost; then the enclave is gone.
      if (left < 0) return { kind: "failed" };
      const answer = act();
      return left === 0 ? { kind: "failed" } : answer;
    };
    await boot.rotation.begin().catch((error: unknown) => expect(error).toMatchObject({ code: "RECORDS_UNAVAILABLE" }));
    if (writes > 1) await expect.poll(() => left).toBeLessThan(0);
    boot.stop();
    world.parent.answer = (_call, act) => act();

    const next = await world.boot();
    await expectAllThere(next, MANY);
    if (next.rotation.status().retiring.length > 0) {
      await outwait(world);
      await finish(world, next);
    } else expect(world.wrapped()).toHaveLength(1);
    await expectAllThere(next, MANY);
    next.stop();
  }
});

test("an attempt whose answer was lost is taken up by the next, in the same boot", async () => {
  const world = new World();
  const boot = await world.boot();
  await fill(boot);
  world.parent.answer = (call, act) => {
    const answer = act();
    return call.kind === "write" ? { kind: "failed" } : answer;
  };
  await expect(boot.rotation.begin()).rejects.toMatchObject({ code: "RECORDS_UNAVAILABLE" });
  world.parent.answer = (_call, act) => act();
  expect(await boot.rotation.begin()).toMatchObject({ generation: 2, retiring: [1] });
  await finish(world, boot);
  await expectAllThere(boot);
  boot.stop();
});

test("records that are written meanwhile are sealed anew by that", async () => {
  const world = new World();
  const boot = await world.boot();
  await fill(boot);
  await boot.rotation.begin();
  for (let at = 0; at < COUNT; at += 1) {
    const read = await boot.vault.records.read(notes, `a/${at}`);
    const isWritten = await boot.vault.records.write([change(notes, `a/${at}`, read, { text: `text ${at}` })]);
    // Otherwise the pass was there first, and a caller would look again.
    if (!isWritten) expect(generationOf(world.parent.records.get(`note/a/${at}`)?.value ?? new Uint8Array())).toBe(2);
  }
  await finish(world, boot);
  await expectAllThere(boot);
  boot.stop();
});

test("comes to its end over a store of which every eleventh and every thirteenth call fails", async () => {
  const world = new World();
  const boot = await world.boot();
  await fill(boot, MANY);
  await boot.rotation.begin();
  let calls = 0;
  world.parent.answer = (_call, act) => {
    calls += 1;
    return calls % 11 === 0 || calls % 13 === 0 ? { kind: "failed" } : act();
  };
  await expect.poll(() => world.generations().size, { timeout: 10_000 }).toBe(1);
  world.nowMs += SETTLED_MS;
  await expect.poll(() => boot.rotation.status().retiring, { timeout: 10_000 }).toEqual([]);
  world.parent.answer = (_call, act) => act();
  expect(world.wrapped()).toEqual(["vault/2"]);
  await expectAllThere(boot, MANY);
  boot.stop();
});

test("retiring that fails is tried again, without another look at all records", async () => {
  const world = new World();
  const boot = await world.boot();
  await fill(boot);
  await boot.rotation.begin();
  await expect.poll(() => boot.rotation.status().resealed).toBe(COUNT);
  let failures = 0;
  let lists = 0;
  world.parent.answer = (call, act) => {
    const isRetiring = call.kind === "write" && call.changes.some(({ name }) => name === "vault/1");
    if (isRetiring) failures += 1;
    if (failures > 0 && call.kind === "list") lists += 1;
    return isRetiring && failures < 5 ? { kind: "failed" } : act();
  };
  world.nowMs += SETTLED_MS;
  await expect.poll(() => boot.rotation.status().retiring).toEqual([]);
  expect(failures).toBe(5);
  expect(lists).toBe(0);
  await expectAllThere(boot);
  boot.stop();
});

test("an enclave that ends in the middle of a pass does not retire what it has not looked for", async () => {
  const world = new World();
  const boot = await world.boot();
  await fill(boot, MANY);
  await boot.rotation.begin();
  await expect.poll(() => boot.rotation.status().resealed).toBe(MANY);
  // One of the old generation is left where the next pass looks last, as if this enclave had been started anew in the middle.
  const next = await world.boot();
  const late = { name: "note/z", version: 1, value: next.vault.cipher.seal({ name: "note/z", version: 1 }, TEXT, 1) };
  world.parent.records.set(late.name, { ...late, value: Uint8Array.from(late.value) });
  boot.stop();
  const atPage = Promise.withResolvers<void>();
  const goOn = Promise.withResolvers<void>();
  let isSettled = false;
  world.parent.answer = async (call, act) => {
    if (isSettled && call.kind === "list" && call.after !== null && call.after > "note/a/2") {
      atPage.resolve();
      await goOn.promise;
    }
    return act();
  };
  world.nowMs += SETTLED_MS;
  isSettled = true;
  await outwait(world);
  await atPage.promise;
  next.stop();
  goOn.resolve();
  await new Promise((resolve) => setTimeout(resolve, 50));
  expect(world.wrapped()).toEqual(["vault/1", "vault/2"]);
  const last = await world.boot();
  await outwait(world);
  await finish(world, last);
  expect((await last.vault.records.read(notes, "z"))?.value.text).toBe("late");
  last.stop();
});

test("a record that the parent keeps back from the pass is lost to all, as if it were deleted", async () => {
  const world = new World();
  const boot = await world.boot();
  await fill(boot);
  const kept = world.parent.records.get("note/a/7");
  if (kept === undefined) throw new Error("no such record");
  world.parent.records.delete(kept.name);
  await boot.rotation.begin();
  await finish(world, boot);
  world.parent.records.set(kept.name, kept);
  for (const each of [boot, await world.boot()]) {
    await expect(each.vault.records.read(notes, "a/7")).rejects.toMatchObject({ code: "RECORD_TAMPERED" });
    each.stop();
  }
});

describe("several enclaves over one store", () => {
  test("while all of them write, one makes the pass, the others follow through KMS, and nothing is lost", async () => {
    const world = new World();
    const boots = [await world.boot(), await world.boot(), await world.boot()];
    const [first, second, third] = boots as [Boot, Boot, Boot];
    await fill(first);
    await second.rotation.begin();
    // The first has not looked since: it reads what is sealed under a generation that it does not know.
    await second.vault.records.write([change(notes, "a/new", null, { text: "new" })]);
    const before = world.kms.decryptions;
    expect((await first.vault.records.read(notes, "a/new"))?.value.text).toBe("new");
    expect(first.rotation.status()).toMatchObject({ generation: 2, retiring: [1] });
    expect(world.kms.decryptions).toBe(before + 1);
    // The third has neither read nor looked: what it writes is of the old generation for a moment, and not for longer.
    await third.vault.records.write([change(notes, "a/old", null, { text: "old" })]);
    expect(generationOf(world.parent.records.get("note/a/old")?.value ?? new Uint8Array())).toBe(1);
    world.nowMs += 5_000;
    await third.vault.records.write([change(notes, "a/later", null, { text: "later" })]);
    expect(generationOf(world.parent.records.get("note/a/later")?.value ?? new Uint8Array())).toBe(2);

    // The pass may have been over before the third wrote that: it is made again when every write has settled.
    world.nowMs += SETTLED_MS;
    await expect.poll(() => second.rotation.status().retiring).toEqual([]);
    expect(world.wrapped()).toEqual(["vault/2"]);
    for (const boot of boots) {
      expect(await boot.rotation.currentStatus()).toMatchObject({ generation: 2, retiring: [] });
      await expectAllThere(boot);
      expect((await boot.vault.records.read(notes, "a/old"))?.value.text).toBe("old");
      boot.stop();
    }
  });

  test("asked of all of them at once, it is one rotation", async () => {
    const world = new World();
    const boots = [await world.boot(), await world.boot(), await world.boot()];
    await fill(boots[0] as Boot);
    const statuses = await Promise.all(boots.map(({ rotation }) => rotation.begin()));
    expect(statuses.map(({ generation }) => generation)).toEqual([2, 2, 2]);
    expect(world.wrapped()).toEqual(["vault/1", "vault/2"]);
    await finish(world, boots[0] as Boot);
    for (const boot of boots) {
      await expectAllThere(boot);
      boot.stop();
    }
  });

  test("the enclave that makes the pass dies in its middle, and another goes on", async () => {
    const world = new World();
    const [first, second] = [await world.boot(), await world.boot()];
    await fill(first, MANY);
    let writes = 0;
    world.parent.answer = (call, act) => {
      if (call.kind === "write") writes += 1;
      // The switch, a beat and some records; then it hangs for ever, as a machine that is gone.
      return writes > 4 && call.kind === "write" ? new Promise(() => {}) : act();
    };
    await first.rotation.begin();
    await expect.poll(() => writes).toBeGreaterThan(4);
    first.stop();
    world.parent.answer = (_call, act) => act();
    expect(await second.rotation.currentStatus()).toMatchObject({ generation: 2, retiring: [1] });
    await outwait(world);
    await finish(world, second);
    expect(world.wrapped()).toEqual(["vault/2"]);
    await expectAllThere(second, MANY);
    second.stop();
  });

  test("one that was taken for dead while its writes were under way ends its pass, and neither undoes the other's", async () => {
    const world = new World();
    const [first, second] = [await world.boot(), await world.boot()];
    await fill(first, MANY);
    const held: (() => void)[] = [];
    let writes = 0;
    world.parent.answer = async (call, act) => {
      if (call.kind === "write") writes += 1;
      // After the switch and a beat: two of the pass are on their way, and arrive when the other is far ahead.
      if (call.kind === "write" && writes > 2 && held.length < 2) {
        await new Promise<void>((resolve) => void held.push(resolve));
      }
      return act();
    };
    await first.rotation.begin();
    await expect.poll(() => held.length).toBe(2);
    await second.rotation.currentStatus();
    await outwait(world);
    await expect.poll(() => [...world.generations()]).toEqual([2]);
    expect(second.rotation.status().resealed).toBe(MANY);
    for (const arrive of held) arrive();
    await finish(world, second);
    expect(await first.rotation.currentStatus()).toMatchObject({ generation: 2, retiring: [], resealed: 0 });
    expect(world.wrapped()).toEqual(["vault/2"]);
    for (const boot of [first, second]) await expectAllThere(boot, MANY);
    for (const boot of [first, second]) boot.stop();
  });

  test("one that was about to retire a generation does not retire the next, which another began meanwhile", async () => {
    const world = new World();
    const [first, second] = [await world.boot(), await world.boot()];
    await fill(first);
    await first.rotation.begin();
    await expect.poll(() => first.rotation.status().resealed).toBe(COUNT);
    const atRetiring = Promise.withResolvers<void>();
    const goOn = Promise.withResolvers<void>();
    let hold: "the end of a pass" | "what comes next" | "nothing" = "the end of a pass";
    world.parent.answer = async (call, act) => {
      if (call.kind === "get" && call.name === "keys/vault" && hold === "what comes next") {
        hold = "nothing";
        atRetiring.resolve();
        await goOn.promise;
      }
      const answer = act();
      if (hold === "the end of a pass" && answer.kind === "records" && answer.records.length === 0)
        hold = "what comes next";
      return answer;
    };
    world.nowMs += SETTLED_MS;
    await atRetiring.promise;
    await second.rotation.currentStatus();
    await outwait(world);
    world.nowMs += SETTLED_MS;
    await expect.poll(() => world.wrapped()).toEqual(["vault/2"]);
    expect(await second.rotation.begin()).toMatchObject({ generation: 3, retiring: [2] });
    expect(await first.rotation.currentStatus()).toMatchObject({ generation: 3, retiring: [2] });
    goOn.resolve();
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(world.wrapped()).toEqual(["vault/2", "vault/3"]);
    await expectAllThere(first);
    for (const boot of [first, second]) boot.stop();
  });

  test("one that boots while the generations change opens the vault as it is by then", async () => {
    const world = new World();
    const first = await world.boot();
    await fill(first);
    let lists = 0;
    world.parent.answer = async (call, act) => {
      const answer = act();
      // Between its look at the wrapped secrets and the one at the sealed list of them.
      if (call.kind === "list" && call.prefix === "vault/") {
        lists += 1;
        if (lists === 2) await first.rotation.begin();
      }
      return answer;
    };
    const second = await world.boot();
    expect(second.rotation.status()).toMatchObject({ generation: 2 });
    await expectAllThere(second);
    for (const boot of [first, second]) boot.stop();
  });

  test("a generation of a parent's making costs no call to KMS, and its records do not open", async () => {
    const world = new World();
    const boot = await world.boot();
    await fill(boot);
    const note = world.parent.records.get("note/a/1");
    const wrapped = world.parent.records.get("vault/1");
    if (note === undefined || wrapped === undefined) throw new Error("no such record");
    const value = Uint8Array.from(note.value);
    value[4] = 9;
    world.parent.records.set(note.name, { ...note, value, version: note.version + 1 });
    const before = world.kms.decryptions;
    for (let at = 0; at < 20; at += 1) {
      await expect(boot.vault.records.read(notes, "a/1")).rejects.toMatchObject({ code: "RECORD_TAMPERED" });
    }
    // Not even with a wrapped secret under that number: it says in itself which generation it is of.
    world.parent.records.set("vault/9", { ...wrapped, name: "vault/9" });
    world.nowMs += 1_000;
    await expect(boot.vault.records.read(notes, "a/1")).rejects.toMatchObject({ code: "RECORD_TAMPERED" });
    expect(world.kms.decryptions).toBe(before);
    boot.stop();
  });

  test("KMS_FAILED while KMS does not give a new generation's secret, and it is followed once KMS does", async () => {
    const world = new World();
    const [first, second] = [await world.boot(), await world.boot()];
    await fill(first);
    await first.rotation.begin();
    await expect.poll(() => [...world.generations()]).toEqual([2]);
    world.kms.failure = new StartError("KMS_UNAVAILABLE", "throttled");
    await expect(second.vault.records.read(notes, "a/1")).rejects.toMatchObject({ code: "KMS_FAILED" });
    world.kms.failure = undefined;
    world.nowMs += 1_000;
    await expectAllThere(second);
    for (const boot of [first, second]) boot.stop();
  });

  test("the generations of another vault of the same image are not followed", async () => {
    const [world, foreign] = [new World(), new World()];
    foreign.kms = world.kms;
    const [boot, there] = [await world.boot(), await foreign.boot()];
    await fill(boot);
    await there.rotation.begin();
    for (const name of ["vault/2", "keys/vault", "keys/ids"]) {
      const record = foreign.parent.records.get(name);
      if (record !== undefined) world.parent.records.set(name, record);
    }
    await expect(boot.rotation.currentStatus()).rejects.toMatchObject({ code: "RECORD_TAMPERED" });
    expect(boot.rotation.status()).toMatchObject({ generation: 1, retiring: [] });
    for (const each of [boot, there]) each.stop();
  });
});

describe("refusals", () => {
  test("KMS_FAILED leaves the generation as it was", async () => {
    const world = new World();
    const boot = await world.boot();
    await fill(boot);
    world.kms.failure = new StartError("KMS_ACCESS_DENIED", "no");
    await expect(boot.rotation.begin()).rejects.toMatchObject({ code: "KMS_FAILED" });
    expect(boot.rotation.status()).toEqual({ generation: 1, retiring: [], resealed: 0 });
    expect(world.wrapped()).toEqual(["vault/1"]);
    await expectAllThere(boot);
    boot.stop();
  });

  test("RECORD_CONFLICT where another enclave was first", async () => {
    const world = new World();
    const boot = await world.boot();
    world.parent.answer = (call, act) => (call.kind === "write" ? { kind: "conflict", name: "vault/2" } : act());
    await expect(boot.rotation.begin()).rejects.toMatchObject({ code: "RECORD_CONFLICT" });
    expect(boot.rotation.status().generation).toBe(1);
    boot.stop();
  });

  test("VAULT_INVALID for a parent that keeps a generation back, or brings a retired one back", async () => {
    const world = new World();
    const boot = await world.boot();
    await fill(boot);
    const old = world.parent.records.get("vault/1");
    const oldNote = world.parent.records.get("note/a/1");
    if (old === undefined || oldNote === undefined) throw new Error("no such record");
    await boot.rotation.begin();
    boot.stop();
    const kept = world.parent.records.get("vault/2");
    if (kept === undefined) throw new Error("no such record");
    world.parent.records.delete("vault/2");
    await expect(world.boot()).rejects.toMatchObject({ code: "VAULT_INVALID" });

    world.parent.records.set("vault/2", kept);
    const next = await world.boot();
    await outwait(world);
    await finish(world, next);
    next.stop();
    world.parent.records.set("vault/1", old);
    world.parent.records.set("note/a/1", oldNote);
    const last = await world.boot();
    // It opens, and counts for nothing: what was sealed under it stays shut.
    await expect(last.vault.records.read(notes, "a/1")).rejects.toMatchObject({ code: "RECORD_TAMPERED" });
    last.stop();
  });
});
