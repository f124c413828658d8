import assert from "node:assert/strict";
import { once } from "node:events";
import { closeSync, openSync } from "node:fs";
import type { Duplex } from "node:stream";
import { buffer } from "node:stream/consumers";
import { type Address, CONNECT, connected, freePort, LOCAL_CID, until, withSide } from "./address.ts";

/** Above the limits that are usual; where there is a higher one, the case fails and says so. */
const MAX_FILES = 200_000;

export const listenerCases: Readonly<Record<string, (address: Address) => Promise<void>>> = {
  "nobody there is a refusal that names the errno": (address) =>
    withSide(address, async (vsock) => {
      await assert.rejects(vsock.connect(freePort(), CONNECT), (error: Error & { code: string }) => {
        assert.equal(error.code, "CONNECT_REFUSED");
        const { code } = error.cause as NodeJS.ErrnoException;
        assert(["ECONNRESET", "ECONNREFUSED", "ENOENT"].includes(String(code)), String(code));
        assert(error.message.includes(String(code)));
        return true;
      });
    }),

  "a port that is listened on is in use": (address) =>
    withSide(address, async (vsock) => {
      const port = freePort();
      await vsock.listen(port, () => {});
      await assert.rejects(
        vsock.listen(port, () => {}),
        (error: Error & { code: string }) => {
          assert.equal(error.code, "PORT_IN_USE");
          assert.equal((error.cause as NodeJS.ErrnoException).code, "EADDRINUSE");
          return true;
        },
      );
    }),

  "a stream from another CID is closed unread, and counted": (address) =>
    withSide(address, async (stranger) => {
      // Serves the parent of EC2; on this machine everybody is CID 1.
      const vsock = address.side(3);
      const port = freePort();
      let served = 0;
      await vsock.listen(port, () => {
        served += 1;
      });
      const stream = await stranger.connect(port, CONNECT);
      const closed = new Promise((resolve) => stream.once("close", resolve));
      stream.resume();
      stream.end("let me in");
      await closed;
      await until(() => vsock.counters.refusedPeers === 1);
      assert.equal(served, 0);
      assert.notEqual(LOCAL_CID, 3);
      await vsock.close();
    }),

  "a listener that is closed leaves its streams open, and takes no more": (address) =>
    withSide(address, async (vsock) => {
      const port = freePort();
      const { promise, resolve } = Promise.withResolvers<Duplex>();
      const listener = await vsock.listen(port, resolve);
      const client = await vsock.connect(port, CONNECT);
      const server = await promise;
      await listener.close();
      await listener.close();
      await assert.rejects(vsock.connect(port, CONNECT), { code: "CONNECT_REFUSED" });
      client.end("still here");
      assert.equal(String(await buffer(server)), "still here");
    }),

  "closing a side ends its listeners, its streams and what it was about to open": async (address) => {
    const vsock = address.side();
    const port = freePort();
    await vsock.listen(port, () => {});
    const [ends] = await connected(vsock);
    const opening = vsock.connect(port, CONNECT).then(
      (stream) => once(stream, "close").then(() => "closed"),
      (error: { code: string }) => error.code,
    );
    await vsock.close();
    assert(["closed", "CONNECTION_LOST"].includes(String(await opening)));
    await until(() => ends?.client.closed === true && ends.server.closed);
    await assert.rejects(vsock.connect(port, CONNECT), { code: "CONNECTION_LOST" });
    await assert.rejects(
      vsock.listen(port, () => {}),
      { code: "CONNECTION_LOST" },
    );
  },

  "a hundred streams that wait in the backlog are all served": (address) =>
    withSide(address, async (vsock) => {
      const port = freePort();
      let served = 0;
      await vsock.listen(port, (stream) => {
        served += 1;
        stream.end(`${served}`);
      });
      const answers = await Promise.all(
        Array.from({ length: 100 }, async () => Number(String(await buffer(await vsock.connect(port, CONNECT))))),
      );
      assert.deepEqual(
        answers.sort((a, b) => a - b),
        Array.from({ length: 100 }, (_, index) => index + 1),
      );
    }),

  "want of descriptors pauses accepting, and what waited is served afterwards": (address) =>
    withSide(address, async (vsock) => {
      const port = freePort();
      let served = 0;
      await vsock.listen(port, (stream) => {
        served += 1;
        stream.end("served");
      });
      const held = useAllDescriptors();
      try {
        closeSync(held.pop() as number);
        // It takes the one descriptor that is left, so none is left to accept it with.
        const client = await vsock.connect(port, CONNECT);
        const before = process.cpuUsage();
        await until(() => vsock.counters.acceptPauses >= 3);
        // Three pauses are 300 ms; spinning would have used them up, and much more often paused.
        assert(process.cpuUsage(before).user < 250_000, "it spins");
        assert.equal(served, 0);
        for (const fd of held.splice(0)) closeSync(fd);
        assert.equal(String(await buffer(client)), "served");
        await assert.doesNotReject(vsock.connect(port, CONNECT));
      } finally {
        for (const fd of held) closeSync(fd);
      }
    }),

  "a connection that cannot even be opened is refused by name": (address) =>
    withSide(address, async (vsock) => {
      const held = useAllDescriptors();
      try {
        await assert.rejects(vsock.connect(freePort(), CONNECT), (error: Error) => {
          assert.equal((error.cause as NodeJS.ErrnoException).code, "EMFILE");
          return true;
        });
      } finally {
        for (const fd of held) closeSync(fd);
      }
    }),
};

function useAllDescriptors(): number[] {
  const held: number[] = [];
  for (;;) {
    if (held.length > MAX_FILES) {
      for (const fd of held) closeSync(fd);
      throw new Error(`more than ${MAX_FILES} descriptors: run it under a lower limit`);
    }
    try {
      held.push(openSync("/dev/null", "r"));
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === "EMFILE") return held;
      throw error;
    }
  }
}
