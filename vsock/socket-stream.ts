/** One connected socket as a Node stream: backpressure both ways, half-close, errors by name. */
import { constants } from "node:os";
import { Duplex } from "node:stream";
import { errnoError, errnoName } from "./errno.ts";
import { VsockError } from "./errors.ts";
import { isBusy, READABLE, type SocketAddon, type SocketHandle, WRITABLE } from "./socket-addon.ts";

const READ_BYTES = 64 * 1024;
/** Reads in one turn, so that one busy stream leaves the others their turn. */
const MAX_READS_PER_TURN = 16;
/** Shorter reads are copied out of the buffer, which then serves the next read too. */
const COPY_BELOW_BYTES = 16 * 1024;

/** Reads are synchronous, so all streams can read into one buffer. */
let readBuffer = Buffer.allocUnsafeSlow(READ_BYTES);

type Done = (error?: Error | null) => void;

export class SocketStream extends Duplex {
  readonly #addon: SocketAddon;
  readonly #handle: SocketHandle;
  #wantsToRead = false;
  #pieces: readonly Uint8Array[] = [];
  #piece = 0;
  #offset = 0;
  #written: Done | undefined;
  #closed = false;

  constructor(addon: SocketAddon, handle: SocketHandle) {
    super({ allowHalfOpen: true });
    this.#addon = addon;
    this.#handle = handle;
    handle.onReady = (events) => this.#onReady(events);
    // As node:net does: what goes wrong is noticed before anybody reads.
    this.read(0);
  }

  override _read(): void {
    this.#wantsToRead = true;
    this.#watch();
  }

  override _write(chunk: Uint8Array, _encoding: BufferEncoding, done: Done): void {
    this.#send([chunk], done);
  }

  override _writev(chunks: readonly { readonly chunk: Uint8Array }[], done: Done): void {
    this.#send(
      joined(
        chunks.map(({ chunk }) => chunk),
        this.#addon.maxWriteBytes,
      ),
      done,
    );
  }

  override _final(done: Done): void {
    const result = this.#addon.shutdown(this.#handle);
    // Where the other side is gone already, its end has been read or is about to be.
    if (result < 0 && result !== -constants.errno.ENOTCONN) done(lost("shutdown", result));
    else done();
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    this.#closed = true;
    this.#wantsToRead = false;
    this.#addon.close(this.#handle);
    this.#finishWrite(error ?? new VsockError("CONNECTION_LOST", "closed before all was written"));
    done(error);
  }

  #onReady(events: number): void {
    if ((events & WRITABLE) !== 0 && this.#written !== undefined) this.#flush();
    if ((events & READABLE) !== 0 && this.#wantsToRead) this.#fill();
    this.#watch();
  }

  #watch(): void {
    if (this.#closed) return;
    const events = (this.#wantsToRead ? READABLE : 0) | (this.#written === undefined ? 0 : WRITABLE);
    const result = this.#addon.watch(this.#handle, events);
    if (result < 0) this.destroy(lost("poll", result));
  }

  #fill(): void {
    for (let reads = 0; reads < MAX_READS_PER_TURN && this.#wantsToRead; reads += 1) {
      const count = this.#addon.read(this.#handle, readBuffer);
      if (isBusy(count)) return;
      if (count < 0) {
        this.destroy(lost("read", count));
        return;
      }
      if (count === 0) {
        this.#wantsToRead = false;
        this.push(null);
        return;
      }
      // Before push, which may ask for more at once, and so set it again.
      this.#wantsToRead = false;
      if (this.push(take(count))) this.#wantsToRead = !this.#closed;
      // A short read has emptied the socket.
      if (count < READ_BYTES) return;
    }
  }

  #send(pieces: readonly Uint8Array[], done: Done): void {
    this.#pieces = pieces;
    this.#piece = 0;
    this.#offset = 0;
    this.#written = done;
    this.#flush();
    this.#watch();
  }

  #flush(): void {
    for (;;) {
      const piece = this.#pieces[this.#piece];
      if (piece === undefined) break;
      if (this.#offset >= piece.length) {
        this.#piece += 1;
        this.#offset = 0;
        continue;
      }
      const count = this.#addon.write(this.#handle, piece, this.#offset);
      if (isBusy(count)) return;
      if (count < 0) {
        this.#finishWrite(lost("write", count));
        return;
      }
      this.#offset += count;
    }
    this.#finishWrite(null);
  }

  #finishWrite(error: Error | null): void {
    const done = this.#written;
    this.#written = undefined;
    this.#pieces = [];
    done?.(error);
  }
}

/** The bytes just read, for their reader to keep. */
function take(count: number): Buffer {
  if (count < COPY_BELOW_BYTES) return Buffer.from(readBuffer.subarray(0, count));
  const filled = readBuffer;
  readBuffer = Buffer.allocUnsafeSlow(READ_BYTES);
  return filled.subarray(0, count);
}

/** Neighbours that fit into one write together, together: many small answers leave in one. */
function joined(chunks: readonly Uint8Array[], maxBytes: number): Uint8Array[] {
  const groups: Uint8Array[][] = [];
  let room = 0;
  for (const chunk of chunks) {
    if (chunk.length > room) {
      groups.push([]);
      room = maxBytes;
    }
    groups.at(-1)?.push(chunk);
    room -= chunk.length;
  }
  return groups.map((group) => (group.length === 1 && group[0] !== undefined ? group[0] : Buffer.concat(group)));
}

function lost(syscall: string, negated: number): VsockError {
  const cause = errnoError(syscall, negated);
  return new VsockError("CONNECTION_LOST", `the stream broke: ${syscall} ${errnoName(negated)}`, { cause });
}
