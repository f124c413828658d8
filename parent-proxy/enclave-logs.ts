/** The enclave's log lines, printed among the parent's. */
import type { Duplex } from "node:stream";
import type { Logger } from "pino";
import { decodeCbor, logMessage } from "../protocol/index.ts";
import { FrameStream } from "../vsock/index.ts";
import type { Metrics } from "./metrics.ts";

/** Over this, lines are dropped and counted: logs must not fill the disk or take the processor from requests. */
const LINES_PER_SECOND = 200;
const BURST_LINES = 1000;

export interface EnclaveLogOptions {
  readonly metrics: Metrics;
  readonly log: Logger;
  readonly nowMs: () => number;
}

/** @returns What takes each stream of LOG_PORT. All of them share one rate. */
export function createEnclaveLog({ metrics, log, nowMs }: EnclaveLogOptions): (stream: Duplex) => void {
  const enclaveLog = log.child({ from: "enclave" });
  let tokens = BURST_LINES;
  let refilledAtMs = nowMs();
  let dropped = 0;

  function takeToken(): boolean {
    const now = nowMs();
    // A clock that is set back earns nothing.
    tokens = Math.min(BURST_LINES, tokens + (Math.max(0, now - refilledAtMs) * LINES_PER_SECOND) / 1000);
    refilledAtMs = now;
    if (tokens < 1) return false;
    tokens -= 1;
    return true;
  }

  function print(line: string): void {
    if (!takeToken()) {
      dropped += 1;
      metrics.logLines.inc({ fate: "dropped" });
      return;
    }
    if (dropped > 0) {
      log.warn({ dropped }, "log lines of the enclave were dropped: too many");
      dropped = 0;
    }
    const fields = parseLine(line);
    if (fields === undefined) {
      metrics.logLines.inc({ fate: "malformed" });
      log.warn({ characters: line.length }, "a log line of the enclave is no JSON object");
      return;
    }
    metrics.logLines.inc({ fate: "printed" });
    // Inside a field of their own, so that they cannot pass for the parent's.
    enclaveLog[levelOf(fields)]({ enclave: fields });
  }

  return (stream) => {
    new FrameStream(stream, {
      onFrame: (payload) => print(decodeCbor(logMessage, payload).line),
      onClose: (cause) => {
        if (cause !== undefined) log.warn({ err: cause }, "a log stream broke");
      },
    });
  };
}

function parseLine(line: string): Record<string, unknown> | undefined {
  try {
    const parsed: unknown = JSON.parse(line);
    if (typeof parsed !== "object" || parsed === null || Array.isArray(parsed)) return undefined;
    return parsed as Record<string, unknown>;
  } catch {
    return undefined;
  }
}

/** pino's numbers or names; everything else is information. */
function levelOf(fields: Record<string, unknown>): "error" | "warn" | "info" {
  const level = fields["level"];
  if (level === "error" || level === "fatal" || (typeof level === "number" && level >= 50)) return "error";
  if (level === "warn" || level === 40) return "warn";
  return "info";
}
