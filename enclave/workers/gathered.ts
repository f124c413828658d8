/**
 * What a worker says within a turn of its event loop, in few messages: to wake the main thread for each costs more than all
 * else that the way there and back takes (docs/decisions/0535-workers-gather-what-they-say.md).
 */

/** So long the first may wait for more: four or five answers' time. A turn with much to do would hold it for longer. */
const MAX_HELD_MS = 1;

export class Gathered<Message> {
  readonly #send: (messages: readonly Message[]) => void;
  readonly #held: Message[] = [];
  #heldSince = 0;
  #awaitsTurnsEnd = false;

  constructor(send: (messages: readonly Message[]) => void) {
    this.#send = send;
  }

  /** At the end of this turn, or earlier; whenever it is, in the order in which it was said. */
  say(message: Message): void {
    if (this.#held.length === 0) this.#heldSince = performance.now();
    this.#held.push(message);
    if (performance.now() - this.#heldSince >= MAX_HELD_MS) this.flush();
    else if (!this.#awaitsTurnsEnd) {
      this.#awaitsTurnsEnd = true;
      setImmediate(() => {
        this.#awaitsTurnsEnd = false;
        this.flush();
      });
    }
  }

  /** At once, after all that was said before. */
  sayAtOnce(message: Message): void {
    this.#held.push(message);
    this.flush();
  }

  flush(): void {
    if (this.#held.length > 0) this.#send(this.#held.splice(0));
  }
}
