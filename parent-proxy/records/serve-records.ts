import type { Duplex } from "node:stream";
import type { Logger } from "pino";
import { type RecordsAnswer, type RecordsCall, recordsCall } from "../../protocol/index.ts";
import { serveCalls, type WithoutId } from "../../vsock/index.ts";
import type { Metrics } from "../metrics.ts";
import type { RecordStore } from "./record-store.ts";

/** Answers the enclave's calls on one stream of RECORDS_PORT. */
export function serveRecords(
  stream: Duplex,
  { store, metrics, log }: { readonly store: RecordStore; readonly metrics: Metrics; readonly log: Logger },
): void {
  serveCalls<RecordsCall, RecordsAnswer>(stream, {
    call: recordsCall,
    async handle(call) {
      const answer = await answerCall(store, call).catch((error: unknown): WithoutId<RecordsAnswer> => {
        log.error({ err: error, call: call.kind }, "the records store failed");
        return { kind: "failed" };
      });
      metrics.recordsCalls.inc({ call: call.kind, answer: answer.kind });
      return answer;
    },
    onClose: (cause) => {
      if (cause !== undefined) log.warn({ err: cause }, "a records stream broke");
    },
  });
}

async function answerCall(store: RecordStore, call: RecordsCall): Promise<WithoutId<RecordsAnswer>> {
  switch (call.kind) {
    case "get":
      return { kind: "record", record: await store.get(call.name) };
    case "write":
      return store.write(call.changes);
    case "list":
      return { kind: "records", records: [...(await store.list(call))] };
  }
}
