/**
 * Measures the parent's egress beside socat doing the same: from a unix socket to TCP on loopback, in one run. Each
 * relay is a process of its own, as is the server behind them; this one sends. The machine's cores are shared by all.
 */
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { createConnection, type Socket } from "node:net";
import { availableParallelism, cpus, tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { parseArgs } from "node:util";
import { decodeCbor, EGRESS_PORT, egressAnswer, encodeCbor, encodeFrame } from "../protocol/index.ts";
import { readFirstFrame } from "../vsock/index.ts";

const { values } = parseArgs({ options: { seconds: { type: "string", default: "1.5" } } });
/** Of one measurement; there are 3 of each relay in each round. */
const MEASURE_MS = Number(values.seconds) * 1000;
const ROUNDS = 3;
const MANY = 64;
const CHUNK = Buffer.alloc(64 * 1024, 0x5a);
const DESTINATION = { host: "bench.example", port: 443 };
/** Answers every byte stream by its length when it ends, and a single "?" by "!" and an end. */
const SERVER = `
require("node:net").createServer({ allowHalfOpen: true, noDelay: true }, (socket) => {
  let bytes = 0;
  let isPing = false;
  socket.on("error", () => {});
  socket.on("data", (chunk) => { if (bytes === 0 && chunk.length === 1 && chunk[0] === 63) { isPing = true; socket.end("!"); } bytes += chunk.length; });
  socket.on("end", () => { if (!isPing) socket.end(String(bytes)); });
}).listen(0, "127.0.0.1", function () { console.log(this.address().port); });
process.stdin.on("end", () => process.exit()).resume();
`;

interface Relay {
  readonly name: string;
  /** A stream to the server, through the relay. */
  open(): Promise<Socket>;
}

interface Figures {
  readonly mibPerSecond1: number;
  readonly mibPerSecond64: number;
  readonly connectionsPerSecond: number;
}

if (!(MEASURE_MS >= 100 && MEASURE_MS <= 60_000)) {
  console.error(`--seconds ${values.seconds}: expected 0.1 to 60`);
  process.exit(2);
}
const hasSocat = spawnSync("socat", ["-V"]).status === 0;
if (!hasSocat) console.log("socat is not installed, so there is nothing to compare with: apt-get install -y socat\n");
console.log(
  `${cpus()[0]?.model ?? "unknown CPU"}, ${availableParallelism()} cores, Node ${process.version}; ` +
    `${MEASURE_MS / 1000} s each, best of ${ROUNDS} rounds, in turns\n`,
);

const folder = await mkdtemp(join(tmpdir(), "cl-bench-"));
const processes: ChildProcess[] = [];
try {
  const port = Number(await firstLine(start(process.execPath, ["-e", SERVER])));
  const relays = [await startCloister(port), ...(hasSocat ? [await startSocat(port)] : [])];
  const best = new Map<string, Figures>();
  for (let round = 0; round < ROUNDS; round += 1) {
    for (const relay of relays) {
      const figures = {
        mibPerSecond1: await throughput(relay, 1),
        mibPerSecond64: await throughput(relay, MANY),
        connectionsPerSecond: await connections(relay),
      };
      best.set(relay.name, better(figures, best.get(relay.name)));
    }
  }
  print(best);
} finally {
  for (const child of processes) child.kill("SIGKILL");
  await rm(folder, { recursive: true, force: true });
}

async function startCloister(port: number): Promise<Relay> {
  const config = join(folder, "parent.json");
  const name = `${DESTINATION.host}:${DESTINATION.port}`;
  await writeFile(
    config,
    JSON.stringify({
      vsock: { kind: "unix-socket", path: join(folder, "v") },
      http: { host: "127.0.0.1", port: 0 },
      records: { kind: "sqlite", file: join(folder, "records.sqlite") },
      egress: { allow: [name], connectTo: { [name]: `127.0.0.1:${port}` } },
      credentials: { kind: "static", accessKeyId: "none", secretAccessKey: "none", sessionToken: null },
    }),
  );
  await firstLine(start(process.execPath, ["parent-proxy/main.ts", "--config", config, "--stop-on-stdin-end"]));
  const frame = encodeFrame(encodeCbor(DESTINATION));
  return {
    name: "cloister parent",
    open: async () => {
      const socket = await connectUnix(join(folder, `v_${EGRESS_PORT}`));
      socket.write(frame);
      const answer = decodeCbor(egressAnswer, await readFirstFrame(socket, { timeoutMs: 10_000 }));
      if (answer.kind === "refused") throw new Error(`the parent refuses: ${answer.reason}`);
      return socket;
    },
  };
}

async function startSocat(port: number): Promise<Relay> {
  const path = join(folder, "socat");
  // As long as the other side is not done: socat's own half a second would cut answers off.
  start("socat", ["-t", "10", `UNIX-LISTEN:${path},fork,backlog=1024`, `TCP:127.0.0.1:${port},nodelay`]);
  for (let attempt = 0; ; attempt += 1) {
    try {
      (await connectUnix(path)).destroy();
      break;
    } catch (error) {
      if (attempt > 100) throw error;
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }
  return { name: "socat", open: () => connectUnix(path) };
}

/** MiB per second that the server has received, from first write to last answer. */
async function throughput(relay: Relay, streams: number): Promise<number> {
  const sockets = await Promise.all(Array.from({ length: streams }, () => relay.open()));
  const startedAt = performance.now();
  const received = await Promise.all(sockets.map((socket) => send(socket, startedAt + MEASURE_MS)));
  const seconds = (performance.now() - startedAt) / 1000;
  return received.reduce((sum, bytes) => sum + bytes, 0) / 2 ** 20 / seconds;
}

async function send(socket: Socket, until: number): Promise<number> {
  const answer = textOf(socket);
  let sent = 0;
  while (performance.now() < until) {
    sent += CHUNK.length;
    if (!socket.write(CHUNK)) await once(socket, "drain", { signal: AbortSignal.timeout(10_000) });
  }
  socket.end();
  const received = Number(await answer);
  // A relay that lost bytes would be fast and worthless.
  if (received !== sent) throw new Error(`sent ${sent} bytes, the server has ${received}`);
  return received;
}

/** Streams per second that are opened, used for one byte each way and closed; 16 at a time. */
async function connections(relay: Relay): Promise<number> {
  const startedAt = performance.now();
  let made = 0;
  await Promise.all(
    Array.from({ length: 16 }, async () => {
      while (performance.now() - startedAt < MEASURE_MS) {
        const socket = await relay.open();
        const answer = textOf(socket);
        socket.end("?");
        if ((await answer) !== "!") throw new Error("the server did not answer");
        made += 1;
      }
    }),
  );
  return (made / (performance.now() - startedAt)) * 1000;
}

async function textOf(socket: Socket): Promise<string> {
  let text = "";
  socket.setEncoding("latin1");
  for await (const chunk of socket.iterator({ destroyOnReturn: false })) text += chunk;
  socket.destroy();
  return text;
}

async function connectUnix(path: string): Promise<Socket> {
  const socket = createConnection({ path, allowHalfOpen: true });
  await once(socket, "connect");
  socket.on("error", () => {});
  return socket;
}

function start(file: string, args: readonly string[]): ChildProcess {
  const child = spawn(file, [...args], { stdio: ["pipe", "pipe", "ignore"] });
  processes.push(child);
  return child;
}

async function firstLine({ stdout }: ChildProcess): Promise<string> {
  if (stdout === null) throw new Error("no standard output");
  const [line] = (await once(createInterface(stdout), "line")) as [string];
  return line;
}

function better(figures: Figures, before: Figures | undefined): Figures {
  if (before === undefined) return figures;
  return {
    mibPerSecond1: Math.max(figures.mibPerSecond1, before.mibPerSecond1),
    mibPerSecond64: Math.max(figures.mibPerSecond64, before.mibPerSecond64),
    connectionsPerSecond: Math.max(figures.connectionsPerSecond, before.connectionsPerSecond),
  };
}

function print(best: ReadonlyMap<string, Figures>): void {
  const columns = ["1 stream, MiB/s", `${MANY} streams, MiB/s`, "connections/s"];
  const cells = ({ mibPerSecond1, mibPerSecond64, connectionsPerSecond }: Figures) => [
    mibPerSecond1,
    mibPerSecond64,
    connectionsPerSecond,
  ];
  const line = (name: string, of: readonly string[]) =>
    console.log(name.padEnd(18) + of.map((cell) => cell.padStart(20)).join(""));
  line("", columns);
  for (const [name, figures] of best)
    line(
      name,
      cells(figures).map((figure) => figure.toFixed(0)),
    );
  const [ours, theirs] = [best.get("cloister parent"), best.get("socat")];
  if (ours === undefined || theirs === undefined) return;
  const beside = cells(theirs);
  line(
    "ratio to socat",
    cells(ours).map((figure, at) => (figure / (beside[at] ?? 1)).toFixed(2)),
  );
}
