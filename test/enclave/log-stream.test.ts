import { type Duplex, duplexPair } from "node:stream";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { LogStream } from "../../enclave/log-stream.ts";
import { decodeCbor, FrameDecoder, logMessage } from "../../protocol/index.ts";

/** Lines that wait for the parent; more are lost from the oldest on. */
const MAX_WAITING = 1_000;

/** The parent's log port: opens when it is told to, and keeps the lines that it was sent. */
class LogPort {
  readonly lines: string[] = [];
  readonly opened: { readonly enclaveSide: Duplex; readonly parentSide: Duplex }[] = [];
  attempts = 0;
  isAway = false;
  /** Bytes that a stream takes before it asks to wait. */
  highWaterMark = 64 * 1024;
  isReading = true;

  readonly open = async (): Promise<Duplex> => {
    this.attempts += 1;
    if (this.isAway) throw new Error("nobody listens");
    const [enclaveSide, parentSide] = duplexPair({ highWaterMark: this.highWaterMark });
    const decoder = new FrameDecoder();
    const read = (chunk: Buffer) => {
      for (const frame of decoder.push(chunk)) this.lines.push(decodeCbor(logMessage, frame).line);
    };
    if (this.isReading) parentSide.on("data", read);
    this.opened.push({ enclaveSide, parentSide });
    return enclaveSide;
  };

  last() {
    const last = this.opened.at(-1);
    if (last === undefined) throw new Error("never opened");
    return last;
  }
}

let port: LogPort;
let log: LogStream;
beforeEach(() => {
  port = new LogPort();
  log = new LogStream(port.open);
});
afterEach(() => {
  vi.useRealTimers();
});

const numbers = (from: number, to: number) => Array.from({ length: to - from }, (_, at) => String(from + at));

test("nothing is opened before there is a line", () => {
  expect(port.attempts).toBe(0);
});

test("lines wait while the port is opened, come in order, and over one stream", async () => {
  for (const line of numbers(0, 5)) log.write(line);
  await expect.poll(() => port.lines).toEqual(numbers(0, 5));
  for (const line of numbers(5, 10)) log.write(line);
  await expect.poll(() => port.lines).toEqual(numbers(0, 10));
  expect(port.attempts).toBe(1);
});

test("of more than a thousand waiting lines the oldest are lost", async () => {
  for (const line of numbers(0, MAX_WAITING + 5)) log.write(line);
  await expect.poll(() => port.lines.length).toBe(MAX_WAITING);
  expect(port.lines).toEqual(numbers(5, MAX_WAITING + 5));
});

describe("a parent that is away", () => {
  beforeEach(() => {
    vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
    port.isAway = true;
  });

  const turn = () => new Promise(setImmediate);

  test("is asked again after a while, and then gets what waited", async () => {
    log.write("a");
    await turn();
    expect(port.attempts).toBe(1);
    vi.advanceTimersByTime(1_000);
    await turn();
    expect(port.attempts).toBe(2);
    port.isAway = false;
    vi.advanceTimersByTime(1_000);
    await turn();
    await turn();
    expect(port.lines).toEqual(["a"]);
  });

  test("costs no memory but the thousand lines", async () => {
    for (const line of numbers(0, 3 * MAX_WAITING)) log.write(line);
    await turn();
    port.isAway = false;
    vi.advanceTimersByTime(1_000);
    await turn();
    await turn();
    expect(port.lines).toEqual(numbers(2 * MAX_WAITING, 3 * MAX_WAITING));
  });

  test("is not asked once the log is closed", async () => {
    log.write("a");
    await turn();
    log.close();
    vi.advanceTimersByTime(10_000);
    await turn();
    expect(port.attempts).toBe(1);
  });
});

test("a stream that is lost is opened anew by the next line", async () => {
  log.write("before");
  await expect.poll(() => port.lines).toEqual(["before"]);
  const { enclaveSide } = port.last();
  enclaveSide.destroy();
  await new Promise(setImmediate);
  log.write("after");
  await expect.poll(() => port.lines).toEqual(["before", "after"]);
  expect(port.opened).toHaveLength(2);
});

test("a parent that does not read makes lines wait here, bounded, and gets the newest once it reads", async () => {
  port.highWaterMark = 100;
  port.isReading = false;
  log.write("first");
  await expect.poll(() => port.opened.length).toBe(1);
  for (const line of numbers(0, 5 * MAX_WAITING)) log.write(line);
  const { enclaveSide, parentSide } = port.last();
  // What the stream itself holds stays small.
  expect(enclaveSide.writableLength).toBeLessThan(1_000);
  const decoder = new FrameDecoder();
  parentSide.on("data", (chunk: Buffer) => {
    for (const frame of decoder.push(chunk)) port.lines.push(decodeCbor(logMessage, frame).line);
  });
  await expect.poll(() => port.lines.at(-1)).toBe(String(5 * MAX_WAITING - 1));
  expect(port.lines.slice(-MAX_WAITING)).toEqual(numbers(4 * MAX_WAITING, 5 * MAX_WAITING));
  expect(port.lines.length).toBeLessThan(MAX_WAITING + 50);
});

test("what the parent sends back is read and dropped", async () => {
  log.write("a");
  await expect.poll(() => port.opened.length).toBe(1);
  const { parentSide, enclaveSide } = port.last();
  parentSide.write(Buffer.alloc(50_000));
  await expect.poll(() => enclaveSide.readableLength).toBe(0);
  log.write("b");
  await expect.poll(() => port.lines).toEqual(["a", "b"]);
});

test("close ends the stream after what was written, and later lines go nowhere", async () => {
  log.write("a");
  await expect.poll(() => port.lines).toEqual(["a"]);
  log.close();
  const { enclaveSide } = port.last();
  expect(enclaveSide.writableEnded).toBe(true);
  log.write("b");
  await new Promise(setImmediate);
  expect(port.lines).toEqual(["a"]);
  expect(port.attempts).toBe(1);
});
