/** On the main thread: what a worker asks for, out of the one memory of records and from the one that watches generations. */

import { asRefusal } from "../refusal.ts";
import type { FreshRecords } from "../vault/fresh-records.ts";
import { generationOf, type RecordCipher } from "../vault/record-cipher.ts";
import type { GenerationWatch } from "../vault/records.ts";
import { alone, type Reply, type Result, type WorkerCall } from "./messages.ts";

export interface ForWorkers {
  readonly sealed: FreshRecords;
  readonly watch: GenerationWatch;
  /** What the main thread seals under. */
  readonly cipher: Pick<RecordCipher, "generation">;
}

/** Never rejects. */
export async function answerCall(call: WorkerCall, from: ForWorkers): Promise<Reply> {
  try {
    return { done: true, result: await resultOf(call, from) };
  } catch (error) {
    const { code, message } = asRefusal(error);
    return { done: false, code, message };
  }
}

async function resultOf(call: WorkerCall, from: ForWorkers): Promise<Result<WorkerCall>> {
  const { sealed, watch } = from;
  switch (call.kind) {
    case "get": {
      const given = await sealed.get(call.name);
      return given === null ? null : { ...given.stored, value: alone(given.stored.value) };
    }
    case "list": {
      const page = await sealed.list(call.folder, call.after);
      return page.map((stored) => ({ ...stored, value: alone(stored.value) }));
    }
    case "write":
      // A worker may have sealed it a while ago, under what has been retired since: that would be lost to everybody.
      await watch.beforeSealing();
      if (call.changes.some(({ value }) => generationOf(value) !== from.cipher.generation)) return false;
      return await sealed.write(call.changes, call.deleted);
    case "follow":
      return void (await watch.follow(call.generation));
    case "before-sealing":
      return void (await watch.beforeSealing());
  }
}
