import { Socket } from "node:net";
import { describe, expect, test } from "vitest";
import { AddressBook } from "../../parent-proxy/egress/address-book.ts";
import { connectFirst } from "../../parent-proxy/egress/connect-first.ts";
import { findDestination } from "../../parent-proxy/egress/destination.ts";
import { type DialOptions, dial } from "../../parent-proxy/egress/dial.ts";
import { startTcp } from "./fixture.ts";

const none = { allow: ["a.example:443"], connectTo: new Map<string, string>() };
const call = { host: "a.example", port: 443 };
const never = new AbortController().signal;

test("keeps the public addresses of a name, in their order", async () => {
  const found = await findDestination(call, none, async () => ["2600::1", "10.0.0.1", "1.1.1.1", "::ffff:1.1.1.1"]);
  expect(found).toEqual({ kind: "addresses", addresses: ["2600::1", "1.1.1.1"], port: 443 });
});

test("refuses a name whose owner points it inwards", async () => {
  const found = await findDestination(call, none, async () => ["169.254.169.254", "fd00:ec2::254"]);
  expect(found).toEqual({ kind: "refused", reason: "NOT_ALLOWED" });
});

test("a name without addresses is not found", async () => {
  expect(await findDestination(call, none, async () => [])).toMatchObject({ reason: "NAME_NOT_FOUND" });
});

test("does not ask the resolver about what is not allowed, nor about what connectTo names", async () => {
  const resolve = () => Promise.reject(new Error("asked"));
  expect(await findDestination({ ...call, port: 80 }, none, resolve)).toEqual({
    kind: "refused",
    reason: "NOT_ALLOWED",
  });
  const mapped = { ...none, connectTo: new Map([["a.example:443", "[fd00::7]:8443"]]) };
  expect(await findDestination(call, mapped, resolve)).toEqual({
    kind: "addresses",
    addresses: ["fd00::7"],
    port: 8443,
  });
});

test("tries every address until one answers", async () => {
  const port = await startTcp((socket) => socket.end("here"), "127.0.0.3");
  const socket = await connectFirst(["127.0.0.1", "127.0.0.2", "127.0.0.3"], { port, signal: never });
  expect(socket.remoteAddress).toBe("127.0.0.3");
  socket.destroy();
});

test("fails with the last address's error when none answers", async () => {
  const port = await startTcp(() => {}, "127.0.0.3");
  await expect(connectFirst(["127.0.0.1", "127.0.0.2"], { port, signal: never })).rejects.toMatchObject({
    code: "ECONNREFUSED",
    address: "127.0.0.2",
  });
  await expect(connectFirst([], { port, signal: never })).rejects.toThrow("no address");
});

test("gives up when told to", async () => {
  const aborted = AbortSignal.abort(new Error("enough"));
  await expect(connectFirst(["127.0.0.1"], { port: 1, signal: aborted })).rejects.toThrow("enough");
});

test("tells of every address that refused", async () => {
  const port = await startTcp((socket) => socket.end(), "127.0.0.3");
  const failed: string[] = [];
  const onFailure = (address: string) => failed.push(address);
  (await connectFirst(["127.0.0.1", "127.0.0.2", "127.0.0.3"], { port, signal: never, onFailure })).destroy();
  expect(failed).toEqual(["127.0.0.1", "127.0.0.2"]);
});

describe("an address that failed", () => {
  test("comes after the others until half a minute is over, the longest ago first", () => {
    let nowMs = 0;
    const book = new AddressBook(() => nowMs);
    expect(book.inOrder(["a", "b", "c"])).toEqual(["a", "b", "c"]);
    book.failed("a");
    nowMs = 1_000;
    book.failed("b");
    expect(book.inOrder(["a", "b", "c"])).toEqual(["c", "a", "b"]);
    expect(book.inOrder(["b", "a"])).toEqual(["a", "b"]);
    nowMs = 30_000;
    expect(book.inOrder(["a", "b", "c"])).toEqual(["a", "c", "b"]);
    book.connected("b");
    expect(book.inOrder(["a", "b", "c"])).toEqual(["a", "b", "c"]);
  });

  test("is forgotten before memory grows", () => {
    const book = new AddressBook(() => 0);
    for (let at = 0; at < 1025; at += 1) book.failed(`address ${at}`);
    expect(book.inOrder(["address 1", "address 0"])).toEqual(["address 0", "address 1"]);
    expect(book.inOrder(["address 1", "new"])).toEqual(["new", "address 1"]);
  });
});

describe("dialling", () => {
  /** A network in which some addresses answer, and a resolver that says one thing after the other. */
  function world(answering: readonly string[], ...resolutions: readonly (readonly string[] | Error)[]) {
    const tried: string[] = [];
    const left = [...resolutions];
    let failures = 0;
    const options: DialOptions = {
      egress: none,
      resolve: async () => {
        const next = left.shift();
        if (next === undefined) throw new Error("asked too often");
        if (next instanceof Error) throw next;
        return next;
      },
      addresses: new AddressBook(() => 0),
      signal: never,
      onFailure: () => {
        failures += 1;
      },
      connect: async (addresses, { onFailure }) => {
        for (const address of addresses) {
          tried.push(address);
          if (answering.includes(address)) return new Socket();
          onFailure?.(address);
        }
        throw new Error(`none of ${addresses.join()}`);
      },
    };
    return { options, tried, left, failures: () => failures };
  }

  test("resolves the name once more when every address failed, and tries what is new", async () => {
    const { options, tried, failures } = world(["3.3.3.3"], ["1.1.1.1", "2.2.2.2"], ["2.2.2.2", "3.3.3.3"]);
    expect(await dial(call, options)).toMatchObject({ kind: "connected" });
    expect(tried).toEqual(["1.1.1.1", "2.2.2.2", "3.3.3.3"]);
    expect(failures()).toBe(2);
  });

  test("tries no address twice for one stream, and resolves no third time", async () => {
    for (const again of [["1.1.1.1"], ["2.2.2.2"], new Error("ENOTFOUND"), []]) {
      const { options, left } = world([], ["1.1.1.1"], again, ["9.9.9.9"]);
      expect(await dial(call, options)).toMatchObject({ kind: "refused", reason: "UNREACHABLE" });
      expect(left).toEqual([["9.9.9.9"]]);
    }
  });

  test("begins with another address after one that failed for an earlier stream", async () => {
    const { options, tried } = world(["2.2.2.2"], ["1.1.1.1", "2.2.2.2"], ["1.1.1.1", "2.2.2.2"]);
    await dial(call, options);
    await dial(call, options);
    expect(tried).toEqual(["1.1.1.1", "2.2.2.2", "2.2.2.2"]);
  });

  const options = (resolve: () => Promise<readonly string[]>): DialOptions => ({ ...world([]).options, resolve });

  test("gives up at once when the look-up hangs and the signal says so", async () => {
    const abort = new AbortController();
    const dialled = dial(call, { ...options(() => new Promise(() => {})), signal: abort.signal });
    abort.abort(new Error("not within 10 ms"));
    expect(await dialled).toMatchObject({
      kind: "refused",
      reason: "UNREACHABLE",
      cause: { message: "not within 10 ms" },
    });
  });

  test("does not begin when the signal has spoken", async () => {
    const signal = AbortSignal.abort(new Error("over"));
    const resolve = () => Promise.reject(new Error("asked"));
    expect(await dial(call, { ...options(resolve), signal })).toMatchObject({
      reason: "UNREACHABLE",
      cause: { message: "over" },
    });
  });
});
