/** Packages by their hash: where they come from, and what is said when they come from nowhere. */
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { type DebianPackage, fetchDebianPackage, sha256 } from "../../scripts/image/debian.ts";

const BYTES = Buffer.from("!<arch>\nnot really\n");
const SNAPSHOT = "20260101T000000Z";
const WANTED: DebianPackage = {
  name: "example",
  version: "1.0-1",
  archive: "debian-security",
  path: "pool/updates/main/e/example/example_1.0-1_amd64.deb",
  sizeBytes: BYTES.length,
  sha256: sha256(BYTES),
};

let folder = "";
let server: Server;
let asked: string[] = [];
let files: Readonly<Record<string, Buffer>> = {};
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "cl-debian-"));
  asked = [];
  server = createServer((request, response) => {
    asked.push(request.url ?? "");
    const bytes = files[request.url ?? ""];
    response.writeHead(bytes === undefined ? 404 : 200).end(bytes);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  vi.stubEnv("XDG_CACHE_HOME", folder);
  vi.stubEnv("CLOISTER_DEBIAN_MIRROR", `${url}/mirror`);
  vi.stubEnv("CLOISTER_DEBIAN_SNAPSHOT", `${url}/snapshot`);
});
afterEach(async () => {
  vi.unstubAllEnvs();
  server.close();
  await rm(folder, { recursive: true, force: true });
});

const ON_MIRROR = `/mirror/debian-security/${WANTED.path}`;
const ON_SNAPSHOT = `/snapshot/debian-security/${SNAPSHOT}/${WANTED.path}`;
const fetchIt = (): Promise<string> => fetchDebianPackage(WANTED, SNAPSHOT, () => {});

describe("a package", () => {
  test("comes from the mirror once, and from the cache from then on", async () => {
    files = { [ON_MIRROR]: BYTES };
    const path = await fetchIt();
    expect(await readFile(path)).toEqual(BYTES);
    expect(await fetchIt()).toBe(path);
    expect(asked).toEqual([ON_MIRROR]);
  });

  test("that the mirror has dropped comes from the snapshot", async () => {
    files = { [ON_SNAPSHOT]: BYTES };
    expect(await readFile(await fetchIt())).toEqual(BYTES);
    expect(asked).toEqual([ON_MIRROR, ON_SNAPSHOT]);
  });

  test("of other bytes is refused wherever it comes from, and not kept", async () => {
    files = { [ON_MIRROR]: Buffer.from("other"), [ON_SNAPSHOT]: Buffer.from("other") };
    await expect(fetchIt()).rejects.toThrow(`SHA-256 is ${sha256("other")}`);
    await expect(fetchIt()).rejects.toThrow("example_1.0-1_amd64.deb: no place has it");
    expect(asked).toHaveLength(4);
  });

  test("that was changed in the cache is fetched anew", async () => {
    files = { [ON_MIRROR]: BYTES };
    const path = await fetchIt();
    await writeFile(path, "changed");
    expect(await readFile(await fetchIt())).toEqual(BYTES);
  });

  test("that nobody has is named, with where to put it", async () => {
    files = {};
    await expect(fetchIt()).rejects.toThrow(join(folder, "cloister/debian"));
  });
});
