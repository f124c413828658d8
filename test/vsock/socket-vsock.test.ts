/** What no test socket does by itself: silence, errnos at any moment. The addon is one of ours, in TypeScript. */
import { constants } from "node:os";
import type { Duplex } from "node:stream";
import { expect, test, vi } from "vitest";
import { type AcceptedHandle, READABLE, type SocketAddon, type SocketHandle } from "../../vsock/socket-addon.ts";
import { socketVsock } from "../../vsock/socket-vsock.ts";

const { EAGAIN, ECONNRESET, EMFILE, ENOTCONN, ETIMEDOUT, ENODEV, ENOMEM } = constants.errno;

/** Answers as it is told, EAGAIN otherwise, and remembers what is closed and watched. */
function fakeAddon(answers: Partial<SocketAddon> = {}) {
  const closed: SocketHandle[] = [];
  const watched = new Map<SocketHandle, number>();
  const addon: SocketAddon = {
    maxWriteBytes: 10,
    listen: () => ({}),
    connect: () => ({}),
    connectResult: () => 0,
    accept: () => -EAGAIN,
    watch(handle, events) {
      watched.set(handle, events);
      return 0;
    },
    read: () => -EAGAIN,
    write: (_handle, bytes, offset) => Math.min(10, bytes.length - offset),
    shutdown: () => 0,
    close: (handle) => void closed.push(handle),
    ...answers,
  };
  const handle: SocketHandle = {};
  const vsock = socketVsock(addon, { peerCid: 3, listen: () => handle, connect: () => handle });
  return { addon, closed, watched, handle, vsock };
}

async function connectedTo(answers: Partial<SocketAddon>) {
  const fake = fakeAddon(answers);
  const opening = fake.vsock.connect(5000, { timeoutMs: 1_000 });
  fake.handle.onReady?.(2);
  const stream = await opening;
  const errors: Error[] = [];
  stream.on("error", (error) => errors.push(error));
  return { ...fake, stream, errors };
}

test("silence is a timeout, and what was being opened is closed", async () => {
  const { vsock, closed, handle } = fakeAddon();
  await expect(vsock.connect(5000, { timeoutMs: 20 })).rejects.toMatchObject({
    name: "VsockError",
    code: "CONNECT_TIMEOUT",
  });
  expect(closed).toEqual([handle]);
});

test.each([
  [ETIMEDOUT, "CONNECT_TIMEOUT", "ETIMEDOUT"],
  [ECONNRESET, "CONNECT_REFUSED", "ECONNRESET"],
  [ENODEV, "CONNECT_REFUSED", "ENODEV"],
])("a connection that fails with %i is %s and names %s", async (errno, code, name) => {
  const { vsock, closed, handle } = fakeAddon({ connectResult: () => -errno });
  const opening = vsock.connect(5000, { timeoutMs: 1_000 });
  handle.onReady?.(3);
  await expect(opening).rejects.toMatchObject({ code, message: expect.stringContaining(name), cause: { code: name } });
  expect(closed).toEqual([handle]);
});

test("a socket that cannot be watched is refused and closed, connecting or listening", async () => {
  const { vsock, closed, handle } = fakeAddon({ watch: () => -ENOMEM });
  await expect(vsock.connect(5000, { timeoutMs: 1_000 })).rejects.toMatchObject({ code: "CONNECT_REFUSED" });
  await expect(vsock.listen(5000, () => {})).rejects.toMatchObject({ code: "PORT_IN_USE", cause: { code: "ENOMEM" } });
  expect(closed).toEqual([handle, handle]);
});

test("closing a side fails what it was opening, and closes it", async () => {
  const { vsock, closed, handle } = fakeAddon();
  const opening = vsock.connect(5000, { timeoutMs: 10_000 });
  await vsock.close();
  await expect(opening).rejects.toMatchObject({ code: "CONNECTION_LOST" });
  expect(closed).toEqual([handle]);
});

test("a stream that breaks names the call and the errno, and is closed", async () => {
  const { stream, errors, handle, closed } = await connectedTo({ read: () => -ECONNRESET });
  handle.onReady?.(READABLE);
  await new Promise((resolve) => stream.once("close", resolve));
  expect(errors).toMatchObject([
    { name: "VsockError", code: "CONNECTION_LOST", cause: { code: "ECONNRESET", syscall: "read", errno: -ECONNRESET } },
  ]);
  expect(errors[0]?.message).toContain("read ECONNRESET");
  expect(closed).toEqual([handle]);
});

test("a stream that cannot be watched breaks", async () => {
  let isOpen = false;
  const { vsock, handle } = fakeAddon({ watch: () => (isOpen ? -ENOMEM : 0) });
  const opening = vsock.connect(5000, { timeoutMs: 1_000 });
  handle.onReady?.(2);
  isOpen = true;
  const stream = await opening;
  const error = await new Promise<Error>((resolve) => stream.once("error", resolve));
  expect(error).toMatchObject({ code: "CONNECTION_LOST", cause: { code: "ENOMEM", syscall: "poll" } });
});

test("ending a stream whose other side is gone is no error, another failure is", async () => {
  const gone = await connectedTo({ shutdown: () => -ENOTCONN });
  gone.stream.end();
  await vi.waitFor(() => expect(gone.stream.writableFinished).toBe(true));
  expect(gone.errors).toEqual([]);
  const failing = await connectedTo({ shutdown: () => -ENOMEM });
  failing.stream.end();
  await vi.waitFor(() => expect(failing.errors).toMatchObject([{ cause: { syscall: "shutdown", code: "ENOMEM" } }]));
});

test("what cannot be written yet waits until it can, and goes on where it stopped", async () => {
  let room = 4;
  const taken: number[] = [];
  const { stream, handle, watched } = await connectedTo({
    write(_handle, bytes, offset) {
      if (room === 0) return -EAGAIN;
      const count = Math.min(room, bytes.length - offset);
      room -= count;
      taken.push(...bytes.subarray(offset, offset + count));
      return count;
    },
  });
  const written = new Promise<void>((resolve) => stream.write(Uint8Array.of(1, 2, 3, 4, 5, 6, 7), () => resolve()));
  expect(taken).toEqual([1, 2, 3, 4]);
  expect(watched.get(handle)).toBe(3);
  room = 100;
  handle.onReady?.(2);
  await written;
  expect(taken).toEqual([1, 2, 3, 4, 5, 6, 7]);
  expect(watched.get(handle)).toBe(1);
});

test("chunks that were corked leave together, none in a write over the limit", async () => {
  const writes: number[] = [];
  const { stream } = await connectedTo({
    write(_handle, bytes, offset) {
      const count = Math.min(10, bytes.length - offset);
      writes.push(count);
      return count;
    },
  });
  stream.cork();
  for (const size of [3, 3, 3, 3, 25, 2]) stream.write(new Uint8Array(size));
  stream.uncork();
  await vi.waitFor(() => expect(stream.writableLength).toBe(0));
  expect(writes).toEqual([9, 3, 10, 10, 5, 2]);
});

/** Listens, and lets the test decide what accept gives. */
async function listening(results: (AcceptedHandle | number)[]) {
  const fake = fakeAddon({ accept: () => results.shift() ?? -EAGAIN });
  const accepted: Duplex[] = [];
  const listener = await fake.vsock.listen(5000, (stream) => accepted.push(stream));
  return { ...fake, accepted, listener };
}

test("only the one CID is served; others are closed and counted", async () => {
  const peers = [2, 3, 4, 1, 0xffff_ffff, 3].map((peerCid) => ({ peerCid, peerPort: 1024 }));
  const { vsock, handle, accepted, closed } = await listening([...peers]);
  handle.onReady?.(READABLE);
  expect(accepted).toHaveLength(2);
  expect(vsock.counters.refusedPeers).toBe(4);
  expect(closed).toEqual(peers.filter(({ peerCid }) => peerCid !== 3));
  await vsock.close();
});

test.each([
  ["EMFILE", EMFILE],
  ["ENOMEM", ENOMEM],
] as const)("after %s accepting pauses, then goes on", async (_name, errno) => {
  vi.useFakeTimers();
  try {
    const { vsock, handle, accepted, watched } = await listening([-errno, { peerCid: 3, peerPort: 1 }]);
    handle.onReady?.(READABLE);
    expect(watched.get(handle)).toBe(0);
    expect(vsock.counters.acceptPauses).toBe(1);
    await vi.advanceTimersByTimeAsync(100);
    expect(watched.get(handle)).toBe(READABLE);
    handle.onReady?.(READABLE);
    expect(accepted).toHaveLength(1);
    await vsock.close();
  } finally {
    vi.useRealTimers();
  }
});

test("a listener that is closed while it pauses stays closed, and one closed by its own callback accepts no more", async () => {
  vi.useFakeTimers();
  try {
    const { handle, listener, watched } = await listening([-EMFILE]);
    handle.onReady?.(READABLE);
    await listener.close();
    await vi.advanceTimersByTimeAsync(1_000);
    expect(watched.get(handle)).toBe(0);
  } finally {
    vi.useRealTimers();
  }
  const peer = () => ({ peerCid: 3, peerPort: 1 });
  const { vsock, handle } = fakeAddon({ accept: peer });
  let accepted = 0;
  const listener = await vsock.listen(5000, () => {
    accepted += 1;
    if (accepted === 2) void listener.close();
  });
  handle.onReady?.(READABLE);
  expect(accepted).toBe(2);
});
