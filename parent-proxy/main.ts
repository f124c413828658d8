/** The parent process. Standard output carries one line, that it is ready or why it is not; the log goes to standard error. */
import { parseArgs } from "node:util";
import { destination, type Logger, pino } from "pino";
import { hostAfVsock, hostVsock, NativeError, type Vsock } from "../vsock/index.ts";
import { type ParentConfig, readConfig } from "./config.ts";
import { type AwsCredentials, defaultAwsCredentials } from "./credentials/aws-credentials.ts";
import type { EgressOptions } from "./egress/destination.ts";
import { StartError } from "./errors.ts";
import { startParentProxy } from "./parent-proxy.ts";

const HELP = `Usage: node parent-proxy/main.ts --config parent.json [--stop-on-stdin-end]

Runs the parent's side of one enclave: HTTP in, records, egress, credentials and logs.

  --config <file>       JSON; parent-proxy/config.ts names its fields, and unknown ones are refused
  --stop-on-stdin-end   stop when standard input ends, and so with the process that holds its other end
  --help                show this

When it serves, it prints {"event":"ready","httpPort":<port>} on standard output, or
{"event":"failed","code":"…","message":"…"}. SIGTERM and SIGINT stop it when the
requests under way are answered; a second signal stops it at once. Exit status: 0 stopped, 1 failed, 2 wrong usage.
`;

interface Arguments {
  readonly configFile: string;
  readonly stopOnStdinEnd: boolean;
}

await main();

async function main(): Promise<void> {
  const args = readArguments();
  if (args === undefined) return;
  let log = createLog("info");
  try {
    const config = await readConfig(args.configFile);
    log = createLog(config.logLevel ?? "info");
    await run(config, args, log);
  } catch (error) {
    log.fatal({ err: error }, "the parent cannot start");
    if (error instanceof StartError || error instanceof NativeError) {
      say({ event: "failed", code: error.code, message: error.message });
    }
    process.exitCode = 1;
  }
}

function vsockOf(config: ParentConfig["vsock"]): Vsock {
  switch (config.kind) {
    case "unix-socket":
      return hostVsock(config.path);
    case "af-vsock":
      return hostAfVsock({ enclaveCid: config.enclaveCid, toHost: config.toHost === true });
  }
}

function egressOf({ allow, connectTo = {}, maxStreamsPerDestination }: ParentConfig["egress"]): EgressOptions {
  return {
    allow,
    connectTo: new Map(Object.entries(connectTo)),
    ...(maxStreamsPerDestination === undefined ? {} : { maxStreamsPerDestination }),
  };
}

function say(event: object): void {
  process.stdout.write(`${JSON.stringify(event)}\n`);
}

async function run(config: ParentConfig, { stopOnStdinEnd }: Arguments, log: Logger): Promise<void> {
  const proxy = await startParentProxy({
    vsock: vsockOf(config.vsock),
    http: config.http,
    records: config.records,
    egress: egressOf(config.egress),
    credentials: credentialsOf(config.credentials),
    log,
    limits: withoutUndefined(config.limits ?? {}),
  });

  let isStopping = false;
  const stop = (why: string) => {
    if (isStopping) return;
    isStopping = true;
    log.info({ why }, "stopping");
    proxy.close().then(
      () => process.exit(0),
      (error: unknown) => {
        log.fatal({ err: error }, "the parent did not stop cleanly");
        process.exit(1);
      },
    );
  };
  let signals = 0;
  const onSignal = (signal: NodeJS.Signals) => {
    signals += 1;
    if (signals > 1) process.exit(1);
    stop(signal);
  };
  process.on("SIGTERM", onSignal);
  process.on("SIGINT", onSignal);
  if (stopOnStdinEnd) {
    process.stdin.on("end", () => stop("standard input ended"));
    process.stdin.on("error", () => stop("standard input broke"));
    process.stdin.resume();
  }
  say({ event: "ready", httpPort: proxy.httpPort });
}

function readArguments(): Arguments | undefined {
  try {
    const { values } = parseArgs({
      options: {
        config: { type: "string" },
        "stop-on-stdin-end": { type: "boolean", default: false },
        help: { type: "boolean", default: false },
      },
    });
    if (values.help) {
      process.stdout.write(HELP);
      return undefined;
    }
    if (values.config === undefined) throw new Error("--config is needed");
    return { configFile: values.config, stopOnStdinEnd: values["stop-on-stdin-end"] };
  } catch (error) {
    process.stderr.write(`${(error as Error).message}\n\n${HELP}`);
    process.exitCode = 2;
    return undefined;
  }
}

function createLog(level: string): Logger {
  // Synchronous, so that the last lines before an exit are not lost; requests write none.
  return pino({ level, base: null }, destination({ fd: 2, sync: true }));
}

function credentialsOf(config: ParentConfig["credentials"]): () => Promise<AwsCredentials> {
  if (config.kind === "aws") return defaultAwsCredentials();
  const { accessKeyId, secretAccessKey, sessionToken } = config;
  return async () => ({ accessKeyId, secretAccessKey, sessionToken, expiresAtMs: null });
}

/** A field that is left out leaves the default; one that is undefined would replace it. */
function withoutUndefined<Value extends object>(
  value: Value,
): { [Key in keyof Value]?: Exclude<Value[Key], undefined> } {
  return Object.fromEntries(Object.entries(value).filter(([, field]) => field !== undefined)) as {
    [Key in keyof Value]?: Exclude<Value[Key], undefined>;
  };
}
