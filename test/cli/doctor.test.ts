/** `cloister doctor`: options and output, and the facts of a real machine. */
import { once } from "node:events";
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { run } from "../../cli/doctor.ts";
import { CHECK_IDS, Context, DEFAULT_PATHS, type Facts, nodeFacts, runChecks, type Tools } from "../../host/index.ts";
import { startSimulatedImds } from "../../simulator/imds/index.ts";
import { HostWorld } from "../host/host-world.ts";
import { called } from "../support/command-call.ts";

function call(args: readonly string[], facts: Facts) {
  const world = { read: () => Promise.reject(new Error("not read")), nowMs: () => 0 };
  return called((says) => run(args, { ...says, ...world }, facts));
}

/** All is well but for the image, which is on no disk here: the command measures it itself. */
async function without(...checks: readonly string[]) {
  const { out } = await call(["--json"], new HostWorld().facts());
  const findings = JSON.parse(out) as { check: string; outcome: string }[];
  return findings.filter(({ check, outcome }) => outcome !== "ok" && !checks.includes(check));
}

test("prints every check as JSON, with the very judges of other commands", async () => {
  expect(await without("image", "image-memory")).toEqual([]);
});

test("draws each finding, what to do, and the sum", async () => {
  const world = new HostWorld();
  world.enclaves([]);
  const { status, out } = await call([], world.facts());
  expect(status).toBe(1);
  const lines = out.trimEnd().split("\n");
  expect(lines).toContain("ok    instance        i-0123456789abcdef0, m6i.xlarge");
  const at = lines.indexOf("FAIL  enclave         cloister is not running");
  expect(lines[at + 1]).toBe(`${" ".repeat(22)}→ systemctl start cloister-enclave; journalctl -u cloister-enclave`);
  expect(lines.at(-1)).toMatch(/^[0-9]+ ok, [0-9]+ warnings, [0-9]+ failures, [0-9]+ skipped$/);
});

test("what others wrote cannot move the terminal's cursor", async () => {
  const world = new HostWorld();
  world.text("/sys/devices/virtual/dmi/id/sys_vendor", "\u001b[2JAmazon EC2");
  expect((await call([], world.facts())).out).not.toContain("\u001b");
});

test("reads the files that it is told", async () => {
  const world = new HostWorld();
  world.text("/tmp/enclave.json", "{");
  const { out } = await call(["--json", "--enclave", "/tmp/enclave.json"], world.facts());
  expect(out).toContain("correct /tmp/enclave.json");
});

test.each([
  [["--force"], "Unknown option '--force'"],
  [["now"], "Unexpected argument 'now'"],
])("refuses %j", async (args, message) => {
  expect(await call(args, new HostWorld().facts())).toMatchObject({ status: 2, err: expect.stringContaining(message) });
});

test("--help says so", async () => {
  const { status, out } = await call(["--help"], new HostWorld().facts());
  expect({ status, out }).toEqual({ status: 0, out: expect.stringContaining("Exit status: 0 no failure, 1 failures") });
});

describe("the facts of this machine", () => {
  let folder: string;
  let server: Server;
  let url: string;
  const facts = nodeFacts({ fetchKeyPolicy: () => Promise.reject(new Error("nobody was to ask")) });

  beforeAll(async () => {
    server = createServer((request, response) => {
      if (request.url === "/gone") request.socket.destroy();
      else if (request.url === "/away") response.writeHead(302, { location: "http://127.0.0.1:1/" }).end();
      else response.setHeader("x-method", request.method ?? "").end(request.headers["x-token"] ?? "none");
    }).listen(0, "127.0.0.1");
    await once(server, "listening");
    url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  });
  afterAll(() => new Promise((resolve) => server.close(resolve)));
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), "cloister-test-"));
  });
  afterEach(() => rmSync(folder, { recursive: true, force: true }));

  test("files, also those of /proc that have no size", async () => {
    writeFileSync(join(folder, "file"), "text");
    chmodSync(join(folder, "file"), 0o640);
    expect(Buffer.from(await facts.readFile(join(folder, "file"))).toString()).toBe("text");
    expect(Buffer.from(await facts.readFile("/proc/self/stat")).length).toBeGreaterThan(0);
    expect(await facts.stat(join(folder, "file"))).toMatchObject({ isFolder: false, sizeBytes: 4, mode: 0o640 });
    expect((await facts.stat(folder)).isFolder).toBe(true);
    expect(await facts.list(folder)).toEqual(["file"]);
    expect(await facts.freeBytes(folder)).toBeGreaterThan(0);
    expect(facts.user().uid).toBe(process.getuid?.());
  });

  test("what is not there, is too large, or is no file", async () => {
    const nowhere = join(folder, "nowhere");
    for (const ask of ["readFile", "stat", "list", "freeBytes"] as const) {
      await expect(facts[ask](nowhere)).rejects.toMatchObject({ name: "FactError", code: "ABSENT" });
    }
    await expect(facts.readFile(folder)).rejects.toMatchObject({ code: "FAILED" });
    await expect(facts.readFile("/dev/zero")).rejects.toMatchObject({ code: "FAILED" });
  });

  test("programs", async () => {
    expect(await facts.run("sh", ["-c", "echo out; exit 3"])).toMatchObject({ status: 3, stdout: "out\n" });
    await expect(facts.run("/nowhere/program", [])).rejects.toMatchObject({ name: "FactError", code: "ABSENT" });
    mkdirSync(join(folder, "not-executable"));
    await expect(facts.run(join(folder, "not-executable"), [])).rejects.toMatchObject({ code: "DENIED" });
  });

  test("HTTP, without following where an answer points", async () => {
    const answer = await facts.fetch("PUT", url, { "x-token": "t" });
    expect(answer).toMatchObject({ status: 200, body: "t" });
    expect(answer.headers.get("x-method")).toBe("PUT");
    expect((await facts.fetch("GET", `${url}/away`)).status).toBe(302);
    await expect(facts.fetch("GET", `${url}/gone`)).rejects.toMatchObject({ name: "FactError", code: "FAILED" });
  });

  test.each([
    ["AccessDeniedException", "DENIED"],
    ["CredentialsProviderError", "DENIED"],
    ["NotFoundException", "FAILED"],
  ])("of a key policy that gives %s", async (name, code) => {
    const refuse = () => Promise.reject(Object.assign(new Error("no"), { name }));
    await expect(nodeFacts({ fetchKeyPolicy: refuse }).keyPolicy("arn")).rejects.toMatchObject({
      name: "FactError",
      code,
    });
  });

  test("metadata and credentials, over the simulated service", async () => {
    const now = Date.now();
    const imds = await startSimulatedImds({
      roleName: "cloister-parent",
      nowMs: () => now,
      lifetimeMs: 3_600_000,
      issue: () => ({ accessKeyId: "ASIAEXAMPLE", secretAccessKey: "secret", sessionToken: "token" }),
    });
    try {
      const paths = {
        ...DEFAULT_PATHS,
        imds: imds.endpoint,
        enclaveConfig: join(folder, "none"),
        parentConfig: join(folder, "none"),
        manifest: join(folder, "none"),
      };
      const findings = await runChecks(new Context(facts, {} as Tools, paths));
      expect(findings.map(({ check }) => check)).toEqual(expect.arrayContaining([...CHECK_IDS]));
      const of = (check: string) => findings.find((finding) => finding.check === check);
      expect(of("imds")).toMatchObject({ outcome: "ok" });
      expect(of("credentials")).toMatchObject({
        outcome: "ok",
        found: expect.stringMatching(/^cloister-parent, for [0-9]+ min$/),
      });
    } finally {
      await imds.close();
    }
  });
});
