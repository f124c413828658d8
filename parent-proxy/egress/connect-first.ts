import { createConnection, type Socket } from "node:net";

/** RFC 8305, 5: the next address is tried after this long, and those before it go on. */
const ATTEMPT_DELAY_MS = 250;

/**
 * Connects to whichever address answers first (RFC 8305, "Happy Eyeballs"). An address that refuses makes the next one
 * begin at once.
 *
 * @param options.signal - Gives up: every attempt is destroyed.
 * @param options.onFailure - Told of each address that refused, or had not answered when another did or all was given up.
 * @returns A socket that may be half-open. Its errors end in its close.
 * @throws The last attempt's error, or the signal's reason.
 */
export async function connectFirst(
  addresses: readonly string[],
  {
    port,
    signal,
    onFailure = () => {},
  }: { readonly port: number; readonly signal: AbortSignal; readonly onFailure?: (address: string) => void },
): Promise<Socket> {
  const attempts = new Map<Socket, string>();
  const { promise, resolve, reject } = Promise.withResolvers<Socket>();
  const waiting = [...addresses];
  let timer: NodeJS.Timeout | undefined;

  function tryNext(lastError: Error): void {
    clearTimeout(timer);
    const address = waiting.shift();
    if (address === undefined) {
      if (attempts.size === 0) reject(lastError);
      return;
    }
    const socket = createConnection({ host: address, port, allowHalfOpen: true, noDelay: true });
    attempts.set(socket, address);
    socket.once("connect", () => {
      if (!attempts.delete(socket)) return;
      resolve(socket);
      // Here, not later: a second one may connect in this same turn.
      for (const [other, itsAddress] of attempts) {
        other.destroy();
        onFailure(itsAddress);
      }
      attempts.clear();
    });
    socket.on("error", (error) => {
      if (!attempts.delete(socket)) return;
      onFailure(address);
      tryNext(error);
    });
    timer = setTimeout(() => tryNext(lastError), ATTEMPT_DELAY_MS);
  }

  const giveUp = () => {
    for (const address of attempts.values()) onFailure(address);
    reject(signal.reason);
  };
  signal.addEventListener("abort", giveUp);
  try {
    signal.throwIfAborted();
    tryNext(new Error("no address"));
    return await promise;
  } finally {
    clearTimeout(timer);
    signal.removeEventListener("abort", giveUp);
    for (const socket of attempts.keys()) socket.destroy();
    attempts.clear();
  }
}
