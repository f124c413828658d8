/** The guest from inside: the image's kernel, init, Node and addons, with a probe in the enclave's place. */
import { createHash } from "node:crypto";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Duplex } from "node:stream";
import { createServer, type Server } from "node:tls";
import { decode } from "cborg";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { verifyAttestation } from "../../attestation/index.ts";
import { bundleEnclave } from "../../scripts/bundle.ts";
import { Child } from "../../simulator/child-process.ts";
import { type Emulation, startEmulation } from "../../simulator/index.ts";
import { createTlsAuthority } from "../../simulator/pki/index.ts";
import { hostVsock, type Vsock } from "../../vsock/index.ts";
import { cannotEmulate, EIF, eventually } from "./fixture.ts";
import { ECHO_HOST, ECHO_PORT, EGRESS_BYTES, GO_PORT, ROOTS_FILE, SIZES } from "./guest/agreed.ts";

const GUEST_TIMEOUT_MS = 600_000;
/** Few: after some thousand refusals vhost-device-vsock refuses everything. The guest asks for the rest itself. */
const ASKED_PORTS = [1, 22, 80, 443, 1023, 5000, 5001, 5002, 5003, 5004, 9000, 65_536, 2 ** 31, 2 ** 32 - 2];

interface Duties {
  readonly status: Readonly<Record<string, string>>;
  readonly limits: string;
  readonly environment: Readonly<Record<string, string>>;
  readonly flags: readonly string[];
  readonly mounts: readonly string[];
  readonly processes: number;
  readonly writes: Readonly<Record<string, string>>;
  readonly writable: readonly string[];
  readonly hwrng: string;
  readonly nsmAnswer: string;
}

describe.skipIf(cannotEmulate !== null)("inside the guest", { timeout: GUEST_TIMEOUT_MS }, () => {
  let folder: string;
  let emulation: Emulation;
  let host: Vsock;
  let echo: { readonly server: Server; readonly received: string[] };
  let parent: Child;
  const console: string[] = [];
  let heartbeats = 0;
  /** The guest, which waits until everything has been looked at. */
  const waiting = Promise.withResolvers<Duplex>();

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "cl-"));
    await bundleEnclave(folder, { entry: "test/emulated/guest/probe.ts", alsoFrom: ["test"] });
    const tls = createTlsAuthority({ nowMs: Date.now, name: "TEST" });
    echo = await startEcho(tls.issueServer({ hosts: [ECHO_HOST] }));
    emulation = await startEmulation({
      eif: EIF,
      waitForReady: false,
      // The suite uses up a process's descriptors, which in less memory are more than the kernel has.
      memoryMiB: 1024,
      signsDocuments: false,
      extraFiles: {
        "app/main.mjs": await readFile(join(folder, "main.mjs")),
        [ROOTS_FILE.slice(1)]: Buffer.from(tls.rootPem),
      },
      onConsole: (line) => console.push(line.trimEnd()),
      onHeartbeat: () => (heartbeats += 1),
    });
    // A parent that lets the probe out to the echo, in place of the one that does not know it.
    await emulation.killParent();
    parent = await startParent(folder, emulation.vsockPath, (echo.server.address() as AddressInfo).port);
    host = hostVsock(emulation.vsockPath);
    await host.listen(ECHO_PORT, (stream) => void stream.pipe(stream));
    await host.listen(GO_PORT, waiting.resolve);
  });
  afterAll(async () => {
    await host?.close();
    await parent?.stop();
    await emulation?.stop();
    echo?.server.close();
    await rm(folder, { recursive: true, force: true });
  });

  /** A line of JSON from the guest that has this key, and all of these values. */
  async function line<Found>(key: string, value: string): Promise<Found> {
    const find = (): Record<string, unknown> | undefined =>
      console
        .filter((text) => text.startsWith("{"))
        .map((text) => JSON.parse(text) as Record<string, unknown>)
        .find((found) => found[key] === value);
    const ended = emulation.enclaveEnded().then((words) => ({ words }));
    const found = await Promise.race([
      eventually(
        async () => find(),
        (it) => it !== undefined,
        GUEST_TIMEOUT_MS,
      ),
      ended.then(({ words }) => find() ?? { error: words }),
    ]);
    if (found?.["error"] !== undefined) throw new Error(String(found["error"]));
    return found as Found;
  }

  async function probe<Found>(name: string): Promise<Found> {
    return (await line<{ readonly found: Found }>("probe", name)).found;
  }

  test("init sends the heartbeat, finds the parent by its echo, and takes entropy from the NSM", async () => {
    await probe("duties");
    expect(heartbeats).toBe(1);
    expect(console).toContain("cloister-init: parent CID 2");
    expect((await probe<Duties>("duties")).hwrng).toBe("nsm-hwrng");
  });

  test("the enclave runs as a user who owns nothing, may become nobody, and leaves no core", async () => {
    const { status, limits } = await probe<Duties>("duties");
    expect(status).toEqual({
      Uid: "65532\t65532\t65532\t65532",
      Gid: "65532\t65532\t65532\t65532",
      Groups: "",
      NoNewPrivs: "1",
      CapEff: "0000000000000000",
      CapPrm: "0000000000000000",
      CapBnd: "0000000000000000",
    });
    expect(limits).toMatch(/^Max core file size +0 +0 /);
  });

  test("it has init's environment and flags and no other, and sees no process but its own", async () => {
    const { environment, flags, processes } = await probe<Duties>("duties");
    expect(environment).toEqual({ HOME: "/", LANG: "C.UTF-8", NODE_ENV: "production", TZ: "UTC" });
    expect(flags).toEqual(
      expect.arrayContaining(["--disable-proto=delete", "--disallow-code-generation-from-strings"]),
    );
    expect(processes).toBe(1);
  });

  test("it cannot write its root, and there is no file or folder at all that it can write", async () => {
    const { writes, writable, mounts } = await probe<Duties>("duties");
    for (const [path, outcome] of Object.entries(writes))
      expect([path, outcome]).toEqual([path, expect.stringMatching(/^(EROFS|EACCES|ENOENT)$/)]);
    expect(writes["/probe"]).toBe("EROFS");
    expect(writable).toEqual([]);
    for (const mount of mounts) expect(mount).toMatch(/ ro[,\s]/);
  });

  test("the document of a machine that nobody signs for is refused by the verifier: ALGORITHM_NOT_ALLOWED", async () => {
    const { nsmAnswer } = await probe<Duties>("duties");
    const answer = decode(Buffer.from(nsmAnswer, "base64")) as { Attestation: { document: Uint8Array } };
    const { roots, pcrs } = emulation.expected;
    const expectation = { roots, pcrs, nonce: "unchecked", maxAgeMs: 3_600_000, atMs: Date.now() } as const;
    await expect(verifyAttestation(answer.Attestation.document, expectation)).rejects.toMatchObject({
      code: "ALGORITHM_NOT_ALLOWED",
    });
  });

  test.each(SIZES)("%i bytes over AF_VSOCK come back as they went", async (size) => {
    expect((await probe<Record<string, boolean>>("sizes"))[size]).toBe(true);
  });

  test("1 MB goes out through the enclave's egress and comes back, with the same hash at both ends", async () => {
    const { sent, received, bytes } = await probe<Record<string, unknown>>("egress");
    expect(bytes).toBe(EGRESS_BYTES);
    expect(received).toBe(sent);
    expect(echo.received).toEqual([sent]);
  });

  test("the native binding's own suite passes over vsock_loopback", async () => {
    await eventually(async () => console.some((text) => text.startsWith('{"summary"')), Boolean, GUEST_TIMEOUT_MS);
    const lines = console.filter((text) => /^\{"(case|summary)"/.test(text)).map((text) => JSON.parse(text) as object);
    expect(lines.filter((found) => "ok" in found && found.ok !== true)).toEqual([]);
    expect(lines.at(-1)).toMatchObject({ summary: { address: "vsock", failed: 0 } });
    expect(lines.length).toBeGreaterThan(10);
  });

  test("nothing listens but the enclave's one vsock port", async () => {
    const { vsock, ...others } = await probe<Record<string, readonly unknown[]>>("sockets");
    expect(others).toEqual({ tcp: [], tcp6: [], udp: [], udp6: [], raw: [], raw6: [], packet: [], unix: [] });
    expect(vsock).toEqual([5000]);
    // And from outside: it answers, reserved ports and those beyond 16 bits do not.
    expect(await openPorts(host, ASKED_PORTS)).toEqual([5000]);
  });

  test("when the enclave's process ends the machine goes off, and the console has its exit code", async () => {
    (await waiting.promise).destroy();
    const words = await emulation.enclaveEnded();
    expect(words).toContain("cloister-init: node exited with 7");
    expect(words).toContain("QEMU ended with 0");
  });
});

async function startEcho(certificate: { readonly keyPem: string; readonly certPem: string }): Promise<{
  readonly server: Server;
  readonly received: string[];
}> {
  const received: string[] = [];
  const { keyPem: key, certPem: cert } = certificate;
  const server = createServer({ key, cert, allowHalfOpen: true }, (socket) => {
    const hash = createHash("sha256");
    socket.on("data", (bytes) => void hash.update(bytes)).on("end", () => received.push(hash.digest("hex")));
    socket.on("error", () => {}).pipe(socket);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return { server, received };
}

async function startParent(folder: string, vsockPath: string, echoPort: number): Promise<Child> {
  const destination = `${ECHO_HOST}:443`;
  const configFile = join(folder, "parent.json");
  const config = {
    vsock: { kind: "unix-socket", path: vsockPath },
    http: { host: "127.0.0.1", port: 0 },
    records: { kind: "sqlite", file: join(folder, "records.sqlite") },
    egress: { allow: [destination], connectTo: { [destination]: `127.0.0.1:${echoPort}` } },
    credentials: { kind: "static", accessKeyId: "none", secretAccessKey: "none", sessionToken: null },
  };
  await writeFile(configFile, JSON.stringify(config));
  const command = [process.execPath, "parent-proxy/main.ts", "--config", configFile, "--stop-on-stdin-end"] as const;
  const parent = new Child({ name: "the parent", command: [...command], log: () => {} });
  await parent.event("ready");
  return parent;
}

/** As anybody on the parent's machine would look for them. */
async function openPorts(host: Vsock, ports: readonly number[]): Promise<number[]> {
  const open: number[] = [];
  for (const port of ports) {
    const stream = await host.connect(port, { timeoutMs: 20_000 }).catch(() => undefined);
    if (stream === undefined) continue;
    open.push(port);
    stream.destroy();
  }
  return open;
}
