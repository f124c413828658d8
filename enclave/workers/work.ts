/** A signing worker: what the enclave is to a request, without a parent, an NSM, KMS or a store of its own. */
import type { MessagePort } from "node:worker_threads";
import { RequestError } from "../../protocol/index.ts";
import { StampVerifier } from "../auth/verify-stamp.ts";
import { Egress } from "../egress/egress.ts";
import { createLog } from "../log.ts";
import { Randomness } from "../nsm/randomness.ts";
import type { Services } from "../operations/handler.ts";
import { RequestHandler } from "../request-handler.ts";
import { makeServicesAround } from "../services.ts";
import { randomizeContext } from "../signing/secp256k1.ts";
import { Ids } from "../vault/ids.ts";
import { RecordCipher } from "../vault/record-cipher.ts";
import { Records } from "../vault/records.ts";
import { Gathered } from "./gathered.ts";
import { Marks } from "./marks.ts";
import {
  alone,
  type FromWorker,
  type Reply,
  type Result,
  type ToWorker,
  type WorkerCall,
  type WorkerSetup,
} from "./messages.ts";
import { type MainThread, PortGenerations, PortRecords } from "./port-records.ts";
import { FollowingClock } from "./shared-clock.ts";

const FORGET_IDLE_MS = 10_000;
/** Of records, beside what the main thread remembers of them: what is forgotten here is looked at again. */
const MAX_REMEMBERED = 50_000;

/** Serves until it is told to close. */
export function workAsSigner(port: MessagePort, setup: WorkerSetup): void {
  new SigningWork(port, setup).begin();
}

class SigningWork implements MainThread {
  readonly #port: MessagePort;
  readonly #services: Services;
  readonly #cipher: RecordCipher;
  readonly #handler: RequestHandler;
  readonly #asked = new Map<
    number,
    { resolve: (result: Result<WorkerCall>) => void; reject: (error: Error) => void }
  >();
  /** Of the log: they leave with the next answer. */
  readonly #lines: string[] = [];
  readonly #said: Gathered<FromWorker>;
  /** The request that came last found no other under way here: nothing is worth waiting for. */
  #isSole = true;
  #lastCall = 0;

  constructor(port: MessagePort, setup: WorkerSetup) {
    this.#port = port;
    this.#said = new Gathered((messages) => port.postMessage(messages));
    const { manifest, part, requestIdsPart, bootedAtMs } = setup;
    const clock = new FollowingClock(setup.clock);
    const nowMs = () => clock.nowMs();
    const randomness = Randomness.ofFork(setup.seed);
    // The context is this thread's own, and so is what blinds it.
    randomizeContext(randomness.bytes(32));
    this.#cipher = cipherOf(setup);
    const records = new Records(new PortRecords(this, new Marks(setup.marks)), this.#cipher, MAX_REMEMBERED, nowMs);
    records.watchGenerations(new PortGenerations(this, nowMs));
    const log = createLog({ write: (line) => this.#lines.push(line), nowMs });
    this.#services = makeServicesAround(ROTATION, {
      ...{
        manifest,
        vault: { records, ids: new Ids(setup.idKey) },
        randomness,
        bootedAtMs,
        nowMs,
        part,
        requestIdsPart,
      },
      egress: new Egress({ vsock: NO_VSOCK, allowed: new Set(), nowMs }),
      ...{ fetchJson: notHere, attestImport: notHere },
    });
    this.#handler = new RequestHandler({
      ...{ answerKey: setup.answerKey, boot: setup.boot, stamps: new StampVerifier() },
      ...{ sealedRequests: { open: notHere }, services: this.#services, log },
    });
  }

  begin(): void {
    this.#port.on("message", (message: ToWorker) => this.#hear(message));
    setInterval(() => this.#services.wallets.forgetIdle(), FORGET_IDLE_MS).unref();
    this.say({ kind: "ready" });
  }

  say(message: FromWorker): void {
    if (this.#isSole) this.#said.sayAtOnce(message);
    else this.#said.say(message);
  }

  ask<Call extends WorkerCall>(call: Call): Promise<Result<Call>> {
    this.#lastCall += 1;
    const id = this.#lastCall;
    return new Promise((resolve, reject) => {
      this.#asked.set(id, { resolve: (result) => resolve(result as Result<Call>), reject });
      this.say({ kind: "call", id, call });
    });
  }

  #hear(message: ToWorker): void {
    switch (message.kind) {
      case "request":
        this.#isSole = message.isSole;
        void this.#serve(message.id, message.request);
        return;
      case "reply":
        this.#settle(message.id, message.reply);
        return;
      case "generation":
        this.#cipher.apply(message.change);
        return;
      case "ping":
        this.say({ kind: "pong" });
        return;
      case "close":
        this.#services.wallets.close();
        this.#said.flush();
        this.#port.close();
        return;
    }
  }

  async #serve(id: number, request: Parameters<RequestHandler["handle"]>[0]): Promise<void> {
    const { status, body, signature } = await this.#handler.handle(request);
    const answer = { status, body: alone(body), signature: alone(signature) };
    this.say({ kind: "answer", id, answer, lines: this.#lines.splice(0) });
  }

  #settle(id: number, reply: Reply): void {
    const asked = this.#asked.get(id);
    this.#asked.delete(id);
    if (reply.done) asked?.resolve(reply.result);
    else asked?.reject(new RequestError(reply.code, reply.message));
  }
}

function cipherOf({ manifest, generations }: WorkerSetup): RecordCipher {
  const [first, ...others] = generations;
  if (first?.kind !== "add") throw new Error("a worker without a vault");
  const { generation, secret } = first;
  const cipher = new RecordCipher(secret, { deployment: manifest.deployment, generation });
  for (const change of others) cipher.apply(change);
  return cipher;
}

/** What only the main thread does: no request for it is given to a worker. */
function notHere(): Promise<never> {
  return Promise.reject(new Error("not part of a signing worker"));
}
const ROTATION: Services["rotation"] = {
  begin: notHere,
  currentStatus: notHere,
  follow: notHere,
  beforeSealing: notHere,
};
const NO_VSOCK: ConstructorParameters<typeof Egress>[0]["vsock"] = {
  listen: notHere,
  connect: notHere,
  close: notHere,
};
