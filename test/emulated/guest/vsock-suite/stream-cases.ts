import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import { once } from "node:events";
import { constants } from "node:os";
import type { Duplex, Readable } from "node:stream";
import { buffer } from "node:stream/consumers";
import { connect as connectTls, createServer as createTlsServer } from "node:tls";
import { VsockError } from "../../../../vsock/index.ts";
import type { SocketHandle } from "../../../../vsock/socket-addon.ts";
import { type Address, connected, freePort, until, withSide } from "./address.ts";

const KIB = 1024;
/** Around the kernel fault above 32 KiB, around our own limit, and what frames are made of. */
const SIZES = [
  ...[0, 1, 2, 255, 4 * KIB, 30 * KIB - 1, 30 * KIB, 30 * KIB + 1],
  ...Array.from({ length: 17 }, (_, index) => 31 * KIB + index * 128),
  ...[32 * KIB - 1, 32 * KIB, 32 * KIB + 1, 33 * KIB - 1, 33 * KIB, 64 * KIB - 1, 64 * KIB, 64 * KIB + 1],
  ...[256 * KIB, 1024 * KIB],
];

const digest = (bytes: Uint8Array) => createHash("sha256").update(bytes).digest("hex");

async function pair(address: Address, run: (ends: { client: Duplex; server: Duplex }) => Promise<void>): Promise<void> {
  await withSide(address, async (vsock) => {
    for (const ends of await connected(vsock)) await run(ends);
  });
}

/** Resolves with what a stream broke with, or undefined for an end without an error. */
function broken(stream: Duplex): Promise<VsockError | undefined> {
  const { promise, resolve } = Promise.withResolvers<VsockError | undefined>();
  stream.once("error", resolve);
  stream.once("close", () => resolve(undefined));
  return promise;
}

function causeOf(error: VsockError | undefined): string {
  assert(error instanceof VsockError, `not a VsockError: ${String(error)}`);
  assert.equal(error.code, "CONNECTION_LOST");
  const { code } = error.cause as NodeJS.ErrnoException;
  assert(code !== undefined && error.message.includes(code), error.message);
  return code;
}

/** Reads exactly `length` bytes and leaves what follows. */
async function readExactly(stream: Readable, length: number): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let missing = length;
  while (missing > 0) {
    const chunk = stream.read(Math.min(missing, stream.readableLength || 1)) as Buffer | null;
    if (chunk === null) {
      await once(stream, "readable");
    } else {
      chunks.push(chunk);
      missing -= chunk.length;
    }
  }
  return Buffer.concat(chunks);
}

export const streamCases: Readonly<Record<string, (address: Address) => Promise<void>>> = {
  "bytes cross unchanged, both ways, at every size": (address) =>
    withSide(address, async (vsock) => {
      const [there, back] = [randomBytes(1024 * KIB), randomBytes(1024 * KIB)];
      for (const size of SIZES) {
        for (const { client, server } of await connected(vsock)) {
          client.end(there.subarray(0, size));
          const heard = await buffer(server);
          server.end(back.subarray(0, size));
          const answered = await buffer(client);
          assert.equal(digest(heard), digest(there.subarray(0, size)), `${size} bytes there`);
          assert.equal(digest(answered), digest(back.subarray(0, size)), `${size} bytes back`);
        }
      }
    }),

  "bytes cross unchanged in both directions at once": (address) =>
    pair(address, async ({ client, server }) => {
      const [there, back] = [randomBytes(1024 * KIB), randomBytes(1024 * KIB)];
      client.end(there);
      server.end(back);
      const [heard, answered] = await Promise.all([buffer(server), buffer(client)]);
      assert.equal(digest(heard), digest(there));
      assert.equal(digest(answered), digest(back));
    }),

  "many small writes keep their order": (address) =>
    pair(address, async ({ client, server }) => {
      const chunks = Array.from({ length: 3_000 }, (_, index) => randomBytes(index % 97));
      client.cork();
      for (const chunk of chunks) client.write(chunk);
      client.uncork();
      client.end();
      assert.equal(digest(await buffer(server)), digest(Buffer.concat(chunks)));
    }),

  "one write of the addon stays below 31 KiB": async (address) => {
    const port = freePort();
    const listener = address.listenRaw(port) as SocketHandle;
    const client = address.connectRaw(port) as SocketHandle;
    await until(() => address.addon.connectResult(client) === 0);
    const taken = address.addon.write(client, new Uint8Array(1024 * KIB), 0);
    assert(taken > 0 && taken <= address.addon.maxWriteBytes, `${taken}`);
    assert(address.addon.maxWriteBytes < 31 * KIB);
    for (const handle of [client, listener]) address.addon.close(handle);
  },

  "an end leaves the other direction open": (address) =>
    pair(address, async ({ client, server }) => {
      client.end("asked");
      assert.equal(String(await buffer(server)), "asked");
      assert.equal(server.writable, true);
      for (const word of ["still ", "being ", "answered"]) {
        server.write(word);
        await new Promise((resolve) => setTimeout(resolve, 5));
      }
      server.end();
      assert.equal(String(await buffer(client)), "still being answered");
      await Promise.all([client, server].map((stream) => until(() => stream.destroyed)));
    }),

  "a reader that does not read stops the writer, and memory stays bounded": (address) =>
    pair(address, async ({ client, server }) => {
      const total = 24 * 1024 * KIB;
      const chunk = randomBytes(64 * KIB);
      let written = 0;
      const pump = () => {
        while (written < total && client.write(chunk)) written += chunk.length;
      };
      client.on("drain", () => {
        written += chunk.length;
        pump();
      });
      pump();
      await until(() => client.writableNeedDrain && server.readableLength > 0);
      await new Promise((resolve) => setTimeout(resolve, 200));
      assert(client.writableNeedDrain, "the writer was not stopped");
      assert(server.readableLength <= 256 * KIB, `${server.readableLength} bytes held by the reader`);
      assert(client.writableLength <= 256 * KIB, `${client.writableLength} bytes held by the writer`);
      const stoppedAt = written;
      let heard = 0;
      for await (const part of server) {
        heard += (part as Buffer).length;
        if (written >= total && !client.writableEnded) client.end();
      }
      assert(stoppedAt < total, "the writer never waited");
      assert(heard >= total, `${heard} bytes arrived`);
    }),

  "a stream can be paused and read on later": (address) =>
    pair(address, async ({ client, server }) => {
      const bytes = randomBytes(600 * KIB);
      client.end(bytes);
      const hash = createHash("sha256");
      server.on("data", (part: Buffer) => {
        hash.update(part);
        server.pause();
        setTimeout(() => server.resume(), 1);
      });
      await once(server, "end");
      assert.equal(hash.digest("hex"), digest(bytes));
    }),

  "writing to a stream whose other side is gone breaks it, by name": (address) =>
    pair(address, async ({ client, server }) => {
      server.destroy();
      const loss = broken(client);
      client.resume();
      const timer = setInterval(() => client.write(randomBytes(KIB)), 2);
      try {
        assert(["EPIPE", "ECONNRESET"].includes(causeOf(await loss)));
      } finally {
        clearInterval(timer);
      }
    }),

  "a stream closed with bytes unread ends or breaks the other side, and never hangs it": (address) =>
    pair(address, async ({ client, server }) => {
      client.write(randomBytes(100 * KIB));
      await once(server, "readable");
      const loss = broken(client);
      client.once("end", () => client.end());
      client.resume();
      server.destroy();
      const error = await loss;
      // A unix socket says so; vsock only ends, and the frames above notice the cut.
      if (error !== undefined) assert(["ECONNRESET", "EPIPE"].includes(causeOf(error)));
    }),

  "destroying a stream in the middle of a write fails the write": (address) =>
    pair(address, async ({ client }) => {
      const outcome = Promise.withResolvers<Error | null | undefined>();
      client.write(Buffer.alloc(16 * 1024 * KIB), outcome.resolve);
      await new Promise((resolve) => setTimeout(resolve, 20));
      client.destroy();
      assert((await outcome.promise) instanceof Error);
      await until(() => client.closed);
    }),

  "a stream destroyed twice, or ended and destroyed, is closed once": (address) =>
    pair(address, async ({ client, server }) => {
      let closes = 0;
      client.on("close", () => {
        closes += 1;
      });
      client.end("x");
      client.destroy();
      client.destroy();
      await until(() => client.closed);
      server.resume();
      await new Promise((resolve) => setTimeout(resolve, 20));
      assert.equal(closes, 1);
    }),

  "TLS runs over it": (address) =>
    pair(address, async ({ client, server }) => {
      // A shared key spares the guest a certificate; the enclave's own TLS brings its roots.
      const shared = { psk: randomBytes(32), identity: "suite" };
      const options = { ciphers: "PSK-AES256-GCM-SHA384:@SECLEVEL=0", maxVersion: "TLSv1.2" as const };
      const tlsServer = createTlsServer({ ...options, pskCallback: () => shared.psk }, (socket) => {
        socket.pipe(socket);
      });
      tlsServer.emit("connection", server);
      const socket = connectTls({
        ...options,
        socket: client,
        pskCallback: () => shared,
        checkServerIdentity: () => undefined,
      });
      const bytes = randomBytes(300 * KIB);
      socket.write(bytes);
      assert.equal(digest(await readExactly(socket, bytes.length)), digest(bytes));
      socket.destroy();
    }),

  "fifty streams at once do not mix": (address) =>
    withSide(address, async (vsock) => {
      const ends = await connected(vsock, 50);
      await Promise.all(
        ends.map(async ({ client, server }) => {
          const bytes = randomBytes(100 * KIB);
          server.pipe(server);
          client.end(bytes);
          assert.equal(digest(await buffer(client)), digest(bytes));
        }),
      );
    }),

  "what is no socket, or is closed, is refused without harm": async (address) => {
    const { addon } = address;
    const bytes = new Uint8Array(8);
    const port = freePort();
    const handle = address.listenRaw(port) as SocketHandle;
    for (const wrong of [{}, null, 1, bytes, Object.create(handle)]) {
      assert.throws(() => addon.read(wrong as SocketHandle, bytes), TypeError);
      assert.throws(() => addon.close(wrong as SocketHandle), TypeError);
    }
    for (const wrong of [null, "text", new Uint8Array(0), new Uint16Array(4), new ArrayBuffer(4)]) {
      assert.throws(() => addon.read(handle, wrong as Uint8Array), TypeError);
      assert.throws(() => addon.write(handle, wrong as Uint8Array, 0), TypeError);
    }
    assert.throws(() => addon.write(handle, bytes, 8), TypeError);
    assert.throws(() => (addon.watch as (only: SocketHandle) => number)(handle), TypeError);
    addon.close(handle);
    addon.close(handle);
    const closed = -constants.errno.EBADF;
    assert.equal(addon.read(handle, bytes), closed);
    assert.equal(addon.write(handle, bytes, 0), closed);
    assert.equal(addon.watch(handle, 1), closed);
    assert.equal(addon.accept(handle), closed);
    assert.equal(addon.shutdown(handle), closed);
    assert.equal(addon.connectResult(handle), closed);
  },
};
