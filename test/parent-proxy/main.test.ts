import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { fileURLToPath } from "node:url";
import { expect, onTestFinished, test } from "vitest";
import {
  CREDENTIALS_PORT,
  type CredentialsAnswer,
  type CredentialsCall,
  credentialsAnswer,
} from "../../protocol/index.ts";
import { CallClient, guestVsock } from "../../vsock/index.ts";
import { json, startFakeEnclave, temporaryFolder, until } from "./fixture.ts";

const MAIN = fileURLToPath(new URL("../../parent-proxy/main.ts", import.meta.url));

function run(...args: string[]) {
  const child = spawn(process.execPath, [MAIN, ...args], { stdio: ["pipe", "pipe", "pipe"] });
  onTestFinished(() => void child.kill("SIGKILL"));
  return { child, out: text(child.stdout), err: text(child.stderr), exit: exitOf(child) };
}

async function exitOf(child: ChildProcess): Promise<number | string | null> {
  const [code, signal] = (await once(child, "exit")) as [number | null, string | null];
  return code ?? signal;
}

async function startProcess(...args: string[]) {
  const folder = await temporaryFolder();
  const file = join(folder, "parent.json");
  await writeFile(
    file,
    JSON.stringify({
      vsock: { kind: "unix-socket", path: join(folder, "v") },
      http: { host: "127.0.0.1", port: 0 },
      records: { kind: "sqlite", file: join(folder, "records.db") },
      egress: { allow: [] },
      credentials: { kind: "static", accessKeyId: "AKIA", secretAccessKey: "hidden", sessionToken: null },
    }),
  );
  const process_ = run("--config", file, ...args);
  const [line] = (await once(process_.child.stdout, "data")) as [Buffer];
  const ready = JSON.parse(String(line)) as { event: string; httpPort: number };
  expect(ready).toEqual({ event: "ready", httpPort: expect.any(Number) });
  const guest = guestVsock(join(folder, "v"));
  onTestFinished(() => guest.close());
  return { ...process_, guest, url: `http://127.0.0.1:${ready.httpPort}` };
}

test("serves, hands out its static credentials, and stops on SIGTERM with nothing said of them", async () => {
  const { child, guest, url, out, err, exit } = await startProcess();
  await startFakeEnclave(guest, async () => ({
    status: 200,
    body: json({ phase: "ready", failure: null }),
    signature: null,
  }));
  expect((await fetch(`${url}/readyz`)).status).toBe(200);
  const client = new CallClient<CredentialsCall, CredentialsAnswer>({
    open: () => guest.connect(CREDENTIALS_PORT, { timeoutMs: 5_000 }),
    answer: credentialsAnswer,
  });
  expect(await client.call({ kind: "get" }, { timeoutMs: 5_000 })).toMatchObject({
    secretAccessKey: "hidden",
    expiresAtMs: null,
  });
  client.close();
  child.kill("SIGTERM");
  expect(await exit).toBe(0);
  // Not a byte beside the ready line, which was read above.
  expect((await out).trim().split("\n")).toHaveLength(1);
  expect(await err).toContain('"msg":"stopping"');
  expect(await err).not.toContain("hidden");
});

test("stops on SIGINT when the request under way is answered", async () => {
  const { child, guest, url, exit } = await startProcess();
  const release = Promise.withResolvers<void>();
  const { calls } = await startFakeEnclave(guest, async () => {
    await release.promise;
    return { status: 200, body: json({}), signature: null };
  });
  const waiting = fetch(`${url}/v1/sign_message`, { method: "POST", body: "{}" });
  await until(() => calls.length === 1);
  child.kill("SIGINT");
  await until(async () => (await fetch(`${url}/readyz`)).status === 503);
  release.resolve();
  expect((await waiting).status).toBe(200);
  expect(await exit).toBe(0);
});

test("a second signal stops it at once", async () => {
  const { child, guest, url, exit } = await startProcess();
  const { calls } = await startFakeEnclave(guest, () => new Promise(() => {}));
  const waiting = fetch(`${url}/v1/sign_message`, { method: "POST", body: "{}" }).catch(() => "cut off");
  await until(() => calls.length === 1);
  child.kill("SIGTERM");
  await until(async () => JSON.stringify(await (await fetch(`${url}/readyz`)).json()).includes("draining"));
  child.kill("SIGTERM");
  expect(await exit).toBe(1);
  expect(await waiting).toBe("cut off");
});

test("stops when standard input ends, if it was told to", async () => {
  const { child, exit } = await startProcess("--stop-on-stdin-end");
  child.stdin?.end();
  expect(await exit).toBe(0);
});

test("goes on without standard input, if it was not", async () => {
  const { child, url, exit } = await startProcess();
  child.stdin?.end();
  expect((await fetch(`${url}/healthz`)).status).toBe(200);
  child.kill("SIGTERM");
  expect(await exit).toBe(0);
});

test("helps", async () => {
  const { out, err, exit } = run("--help");
  expect(await exit).toBe(0);
  expect(await out).toMatch(/^Usage: node parent-proxy\/main\.ts --config/);
  expect(await err).toBe("");
});

test.each([
  ["nothing", [], 2, "--config is needed", ""],
  ["an unknown option", ["--port", "1"], 2, "--port", ""],
  [
    "a file that is not there",
    ["--config", "none.json"],
    1,
    "CONFIG_INVALID",
    '{"event":"failed","code":"CONFIG_INVALID"',
  ],
])("fails when given %s", async (_name, args, code, message, event) => {
  const { out, err, exit } = run(...args);
  expect(await exit).toBe(code);
  expect((await out).slice(0, event.length || undefined)).toBe(event);
  expect(await err).toContain(message);
});
