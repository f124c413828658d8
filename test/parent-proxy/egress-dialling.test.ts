import { expect, test } from "vitest";
import { connectFirst } from "../../parent-proxy/egress/connect-first.ts";
import { findDestination } from "../../parent-proxy/egress/destination.ts";
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
