/** deploy/bin/cloister-health over an HTTP server that answers as the parent does. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";

let folder: string;
let server: Server;
let url: string;
/** What /readyz answers; null: the parent hangs up. */
let readiness: string | null;

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), "cloister-test-"));
  mkdirSync(join(folder, "bin"));
  mkdirSync(join(folder, "run"));
  writeFileSync(join(folder, "bin/systemctl"), `#!/bin/sh\necho "$@" >> ${folder}/calls\n`);
  chmodSync(join(folder, "bin/systemctl"), 0o755);
  readiness = '{"enclave":"ready","reason":null}';
  server = createServer((request, response) => {
    if (readiness === null) request.socket.destroy();
    else response.end(request.url === "/readyz" ? readiness : '{"status":"alive"}');
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
});
afterEach(async () => {
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
  rmSync(folder, { recursive: true, force: true });
});

async function look(): Promise<string> {
  const child = spawn("deploy/bin/cloister-health", [], {
    env: {
      PATH: `${folder}/bin:${process.env["PATH"]}`,
      RUNTIME_DIRECTORY: join(folder, "run"),
      CLOISTER_URL: url,
      CLOISTER_DEAD_AFTER: "3",
      CLOISTER_UNREACHABLE_AFTER: "4",
    },
    stdio: ["ignore", "pipe", "pipe"],
  });
  let said = "";
  for (const stream of [child.stdout, child.stderr]) {
    stream.on("data", (chunk: Buffer) => {
      said += chunk;
    });
  }
  expect(await once(child, "close")).toEqual([0, null]);
  return said;
}

async function looks(count: number): Promise<string[]> {
  const said: string[] = [];
  for (let at = 0; at < count; at += 1) said.push(await look());
  return said;
}

function calls(): string[] {
  try {
    return readFileSync(join(folder, "calls"), "utf8").trim().split("\n");
  } catch {
    return [];
  }
}

test("says once that the enclave is ready, and does nothing", async () => {
  expect(await looks(3)).toEqual(["<5>the enclave is ready\n", "", ""]);
  expect(calls()).toEqual([]);
});

test("restarts a parent that gives no sign of life, and counts anew", async () => {
  readiness = null;
  const dead = "the parent gives no sign of life";
  expect(await looks(4)).toEqual([
    `<4>${dead}\n`,
    "",
    `<3>${dead} for 3 looks: restarting cloister-parent.service\n`,
    "",
  ]);
  expect(calls()).toEqual(["try-restart --no-block cloister-parent.service"]);
});

test("a sign of life ends the count", async () => {
  readiness = null;
  await looks(2);
  readiness = '{"enclave":"ready","reason":null}';
  await look();
  readiness = null;
  await looks(2);
  expect(calls()).toEqual([]);
});

test("restarts an enclave that stays unreachable", async () => {
  readiness = '{"enclave":"unreachable","reason":null}';
  await looks(3);
  expect(calls()).toEqual([]);
  expect(await look()).toContain("the enclave is unreachable for 4 looks: restarting cloister-enclave.service");
  expect(calls()).toEqual(["try-restart --no-block cloister-enclave.service"]);
});

test.each([
  ['{"enclave":"failed","reason":{"code":"KMS_ACCESS_DENIED","message":"x"}}', "<3>the enclave has failed: "],
  ['{"enclave":"booting","reason":null}', "<5>the enclave is not ready: "],
  ['{"enclave":"draining","reason":null}', "<5>the enclave is not ready: "],
  ["<html>", "<3>"],
])("of %s it only speaks", async (answer, said) => {
  readiness = answer;
  expect((await looks(6)).join("")).toMatch(new RegExp(`^${said}[^\n]*\n$`));
  expect(calls()).toEqual([]);
});

test("control characters of an answer do not reach the journal", async () => {
  readiness = '{"enclave":"failed","reason":"\u001b[2J\n<0>forged"}';
  expect(await look()).toBe('<3>the enclave has failed: {"enclave":"failed","reason":"[2J<0>forged"}\n');
});

test("counters that are no numbers count as none", async () => {
  writeFileSync(join(folder, "run/dead"), "$(reboot)");
  readiness = null;
  await look();
  expect(readFileSync(join(folder, "run/dead"), "utf8")).toBe("1\n");
});
