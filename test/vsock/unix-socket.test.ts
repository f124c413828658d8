import { spawn } from "node:child_process";
import { createHash, randomBytes } from "node:crypto";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import { createConnection, createServer, type Server, type Socket } from "node:net";
import type { Duplex } from "node:stream";
import { buffer } from "node:stream/consumers";
import { expect, onTestFinished, test } from "vitest";
import { guestVsock, hostVsock } from "../../vsock/index.ts";
import { bothSides, socketPath, until } from "./fixture.ts";

const TIMEOUT = { timeoutMs: 5_000 };

/** A hypervisor's socket whose bytes the test decides. */
async function startRaw(path: string, accept: (socket: Socket) => void): Promise<Server> {
  const sockets = new Set<Socket>();
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    sockets.add(socket);
    socket.on("error", () => {});
    accept(socket);
  });
  await new Promise<void>((resolve) => server.listen(path, resolve));
  onTestFinished(async () => {
    for (const socket of sockets) socket.destroy();
    await new Promise((resolve) => server.close(resolve));
  });
  return server;
}

/** Everything the other side says until it ends, errors included. */
async function rawExchange(path: string, bytes: string): Promise<string> {
  const socket = createConnection({ path, allowHalfOpen: true });
  socket.write(bytes);
  return String(await buffer(socket).catch(() => Buffer.alloc(0)));
}

test("host to guest says CONNECT <port>, reads OK <n>, and loses no byte that follows it", async () => {
  const path = await socketPath();
  const heard = Promise.withResolvers<string>();
  await startRaw(path, (socket) => {
    socket.once("data", (data) => {
      heard.resolve(String(data));
      // Firecracker names the host's side of the connection, not the port that was asked for.
      socket.end("OK 1073741824\nfirst words");
    });
  });
  const host = hostVsock(path);
  onTestFinished(() => host.close());
  const stream = await host.connect(5000, TIMEOUT);
  expect(await heard.promise).toBe("CONNECT 5000\n");
  expect(String(await buffer(stream))).toBe("first words");
});

test("the handshake may arrive byte by byte", async () => {
  const path = await socketPath();
  await startRaw(path, (socket) => {
    void (async () => {
      for (const byte of "OK 1\nx") {
        socket.write(byte);
        await new Promise((resolve) => setImmediate(resolve));
      }
      socket.end();
    })();
  });
  const host = hostVsock(path);
  onTestFinished(() => host.close());
  expect(String(await buffer(await host.connect(1, TIMEOUT)))).toBe("x");
});

test.each([
  ["another word", "NO 5\n"],
  ["no number", "OK \n"],
  ["a number and more", "OK 5 5\n"],
  ["a carriage return", "OK 5\r\n"],
  ["no line end", "OK ".padEnd(40, "1")],
])("a handshake with %s fails", async (_name, answer) => {
  const path = await socketPath();
  await startRaw(path, (socket) => void socket.write(answer));
  const host = hostVsock(path);
  onTestFinished(() => host.close());
  await expect(host.connect(5000, TIMEOUT)).rejects.toMatchObject({ name: "VsockError", code: "HANDSHAKE_FAILED" });
});

test("a hypervisor that is silent is a timeout, and one that closes a refusal", async () => {
  const [silent, closing] = [await socketPath(), await socketPath()];
  await startRaw(silent, () => {});
  await startRaw(closing, (socket) => void socket.once("data", () => socket.destroy()));
  const hosts = [hostVsock(silent), hostVsock(closing)] as const;
  onTestFinished(async () => {
    for (const host of hosts) await host.close();
  });
  await expect(hosts[0].connect(5000, { timeoutMs: 50 })).rejects.toMatchObject({ code: "CONNECT_TIMEOUT" });
  await expect(hosts[1].connect(5000, TIMEOUT)).rejects.toMatchObject({ code: "CONNECT_REFUSED" });
});

test("nobody there is a refusal, in both directions", async () => {
  const { host, guest } = await bothSides();
  await expect(host.connect(5000, TIMEOUT)).rejects.toMatchObject({ code: "CONNECT_REFUSED" });
  await expect(guest.connect(5001, TIMEOUT)).rejects.toMatchObject({ code: "CONNECT_REFUSED" });
  await guest.listen(5000, () => {});
  await expect(host.connect(5009, TIMEOUT)).rejects.toMatchObject({ code: "CONNECT_REFUSED" });
});

test("the guest answers OK and passes on what came with the handshake", async () => {
  const { path, guest } = await bothSides();
  await guest.listen(5000, (stream) => void buffer(stream).then((all) => stream.end(`heard ${String(all)}`)));
  const socket = createConnection({ path, allowHalfOpen: true });
  socket.end("CONNECT 5000\nat once");
  expect(String(await buffer(socket))).toBe("OK 5000\nheard at once");
});

test.each(["CONNECT 5009\n", "CONNECT\n", "connect 5000\n", "CONNECT 5000 \n", "CONNECT -1\n", "x".repeat(40)])(
  "the guest closes without a word after %j",
  async (line) => {
    const { path, guest } = await bothSides();
    await guest.listen(5000, (stream) => stream.end("welcome"));
    expect(await rawExchange(path, line)).toBe("");
  },
);

test("guest to host arrives at <path>_<port>, without a handshake", async () => {
  const { path, host, guest } = await bothSides();
  await host.listen(5001, (stream) => stream.pipe(stream));
  expect(existsSync(`${path}_5001`)).toBe(true);
  const stream = await guest.connect(5001, TIMEOUT);
  stream.end("as it is");
  expect(String(await buffer(stream))).toBe("as it is");
});

test("an end in one direction leaves the other, from either side", async () => {
  const { host, guest } = await bothSides();
  const answerAtEnd = (stream: Duplex) => void buffer(stream).then((all) => stream.end(`got ${all.length}`));
  await guest.listen(5000, answerAtEnd);
  await host.listen(5001, answerAtEnd);
  for (const stream of [await host.connect(5000, TIMEOUT), await guest.connect(5001, TIMEOUT)]) {
    stream.end("12345");
    expect(String(await buffer(stream))).toBe("got 5");
  }
});

test("megabytes pass unchanged, and the sender stops while nobody reads", async () => {
  const { host, guest } = await bothSides();
  const accepted = Promise.withResolvers<Duplex>();
  await guest.listen(5000, accepted.resolve);
  const sender = await host.connect(5000, TIMEOUT);
  const bytes = randomBytes(16 * 1024 * 1024);
  let written = 0;
  const sending = (async () => {
    for (let at = 0; at < bytes.length; at += 65_536) {
      written = at;
      if (!sender.write(bytes.subarray(at, at + 65_536))) await once(sender, "drain");
    }
    sender.end();
  })();
  const receiver = await accepted.promise;
  let before = -1;
  while (written !== before) {
    before = written;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  expect(written).toBeLessThan(4 * 1024 * 1024);
  const hash = createHash("sha256");
  for await (const chunk of receiver) hash.update(chunk as Buffer);
  await sending;
  expect(hash.digest("hex")).toBe(createHash("sha256").update(bytes).digest("hex"));
});

test("a path that no socket address holds is refused at once", () => {
  const longest = `/${"p".repeat(100)}`;
  expect(() => hostVsock(longest)).not.toThrow();
  for (const side of [hostVsock, guestVsock]) {
    expect(() => side(`${longest}p`)).toThrow(expect.objectContaining({ code: "PATH_TOO_LONG" }));
    // Bytes count, not characters.
    expect(() => side(`/${"é".repeat(51)}`)).toThrow(expect.objectContaining({ code: "PATH_TOO_LONG" }));
  }
});

test("a port has one listener, within one side and between two", async () => {
  const { path, host, guest } = await bothSides();
  await host.listen(5001, () => {});
  await guest.listen(5000, () => {});
  const inUse = { code: "PORT_IN_USE" };
  await expect(host.listen(5001, () => {})).rejects.toMatchObject(inUse);
  await expect(guest.listen(5000, () => {})).rejects.toMatchObject(inUse);
  const [otherHost, otherGuest] = [hostVsock(path), guestVsock(path)];
  await expect(otherHost.listen(5001, () => {})).rejects.toMatchObject(inUse);
  await expect(otherGuest.listen(5002, () => {})).rejects.toMatchObject(inUse);
  // The one that was there first goes on.
  expect((await host.connect(5000, TIMEOUT)).destroyed).toBe(false);
  // And a refused one may try again when it is gone.
  await guest.close();
  await otherGuest.listen(5002, () => {});
  await otherHost.close();
  await otherGuest.close();
});

test("takes the place of a socket that a killed process left behind", async () => {
  const path = await socketPath();
  const child = spawn(
    process.execPath,
    [
      "-e",
      `require("node:net").createServer().listen(process.argv[1], () => process.kill(process.pid, "SIGKILL"))`,
      path,
    ],
    { stdio: "ignore" },
  );
  await once(child, "exit");
  expect(existsSync(path)).toBe(true);
  const guest = guestVsock(path);
  await guest.listen(5000, () => {});
  await guest.close();
});

test("does not remove a file that is no socket", async () => {
  const { path, host } = await bothSides();
  await writeFile(`${path}_5001`, "somebody's");
  await expect(host.listen(5001, () => {})).rejects.toMatchObject({ code: "PORT_IN_USE" });
  expect(existsSync(`${path}_5001`)).toBe(true);
});

test("a closed listener takes no stream, leaves the open ones, and does not wait for them", async () => {
  const { host, guest } = await bothSides();
  const onHost = await host.listen(5001, (stream) => stream.pipe(stream));
  const onGuest = await guest.listen(5000, (stream) => stream.pipe(stream));
  const streams = [await guest.connect(5001, TIMEOUT), await host.connect(5000, TIMEOUT)];
  await onHost.close();
  await onGuest.close();
  await expect(guest.connect(5001, TIMEOUT)).rejects.toMatchObject({ code: "CONNECT_REFUSED" });
  await expect(host.connect(5000, TIMEOUT)).rejects.toMatchObject({ code: "CONNECT_REFUSED" });
  for (const stream of streams) {
    stream.end("still here");
    expect(String(await buffer(stream))).toBe("still here");
  }
});

test("closing a side destroys its streams, removes its sockets, and lets nothing start after it", async () => {
  const { path, host, guest } = await bothSides();
  const accepted: Duplex[] = [];
  await host.listen(5001, (stream) => accepted.push(stream.resume()));
  await guest.listen(5000, (stream) => accepted.push(stream.resume()));
  const streams = [await guest.connect(5001, TIMEOUT), await host.connect(5000, TIMEOUT)];
  await until(() => accepted.length === 2);
  const connecting = guest.connect(5001, TIMEOUT);
  await guest.close();
  expect(streams[0]?.destroyed).toBe(true);
  expect((await connecting.catch(() => ({ destroyed: true }))).destroyed).toBe(true);
  await host.close();
  expect([...streams, ...accepted].every((stream) => stream.destroyed)).toBe(true);
  expect([path, `${path}_5001`].filter((file) => existsSync(file))).toEqual([]);
});
