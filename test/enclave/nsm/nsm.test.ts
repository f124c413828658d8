/** What goes to /dev/nsm byte for byte, and what may come back from it. */
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { encode } from "cborg";
import { describe, expect, test } from "vitest";
import { decodeUnverified } from "../../../attestation/index.ts";
import { Nsm } from "../../../enclave/nsm/nsm.ts";
import { TrustedClock } from "../../../enclave/trusted-clock.ts";
import { createNsmPki, createSimulatedNsm } from "../../../simulator/nsm/index.ts";
import { fromHex } from "../../support/wycheproof.ts";

const NO_FIELDS = { userData: null, nonce: null, publicKey: null } as const;
const T = 1_790_000_000_000;

function nsmWith(process: (request: Uint8Array) => Uint8Array | Promise<Uint8Array>) {
  const clock = new TrustedClock(() => 0);
  const requests: Uint8Array[] = [];
  const device = {
    async process(request: Uint8Array) {
      requests.push(request);
      return process(request);
    },
  };
  return { nsm: new Nsm(device, clock), clock, requests };
}

const ANSWERS = join(process.env["CLOISTER_VECTORS"] ?? "../shared/vectors", "nsm-cbor-known-answers.txt");
if (!existsSync(ANSWERS)) process.stderr.write(`skipped: no ${ANSWERS}; name its folder in CLOISTER_VECTORS\n`);

/** By the words before the bytes, as AWS's own types write them. */
function knownAnswers(): ReadonlyMap<string, string> {
  const lines = readFileSync(ANSWERS, "utf8").split("\n");
  return new Map(
    lines.flatMap((line) => {
      const [, name, hex] = /^((?:req|resp) .*?)\s+([0-9a-f]+)$/.exec(line) ?? [];
      return name === undefined || hex === undefined ? [] : [[name, hex] as const];
    }),
  );
}

describe.skipIf(!existsSync(ANSWERS))("against AWS's own types", () => {
  const known = existsSync(ANSWERS) ? knownAnswers() : new Map<string, string>();

  test.each<[string, (nsm: Nsm) => Promise<unknown>]>([
    ["req GetRandom", (nsm) => nsm.random()],
    ["req Attestation{none}", (nsm) => nsm.attest(NO_FIELDS)],
    [
      "req Attestation{ud=aa,nonce=bb,pk=cc}",
      (nsm) =>
        nsm.attest({ userData: Uint8Array.of(0xaa), nonce: Uint8Array.of(0xbb), publicKey: Uint8Array.of(0xcc) }),
    ],
  ])("%s is sent byte for byte", async (name, ask) => {
    const { nsm, requests } = nsmWith(() => fromHex(known.get("resp Error InternalError") ?? ""));
    await expect(ask(nsm)).rejects.toMatchObject({ code: "NSM_FAILED" });
    expect(requests.map((request) => Buffer.from(request).toString("hex"))).toEqual([known.get(name)]);
  });

  test("resp GetRandom is read", async () => {
    const { nsm } = nsmWith(() => fromHex(known.get("resp GetRandom") ?? ""));
    expect(await nsm.random()).toEqual(Uint8Array.of(0x11, 0x11, 0x11, 0x11));
  });

  test("each error is NSM_FAILED and named", async () => {
    const errors = [...known].filter(([name]) => name.startsWith("resp Error "));
    expect(errors).toHaveLength(8);
    for (const [name, hex] of errors) {
      const refusal = { code: "NSM_FAILED", message: expect.stringContaining(name.slice("resp Error ".length)) };
      await expect(nsmWith(() => fromHex(hex)).nsm.random()).rejects.toMatchObject(refusal);
      await expect(nsmWith(() => fromHex(hex)).nsm.attest(NO_FIELDS)).rejects.toMatchObject(refusal);
    }
  });

  test("the answer to another question is NSM_FAILED", async () => {
    for (const [name, hex] of known) {
      if (!name.startsWith("resp ")) continue;
      const { nsm } = nsmWith(() => fromHex(hex));
      if (name !== "resp GetRandom") await expect(nsm.random(), name).rejects.toMatchObject({ code: "NSM_FAILED" });
      // AWS's example of an Attestation answer holds two bytes that are no document.
      await expect(nsm.attest(NO_FIELDS), name).rejects.toMatchObject({ code: "NSM_FAILED" });
    }
  });
});

describe("NSM_FAILED", () => {
  test.each<[string, Uint8Array]>([
    ["nothing", new Uint8Array(0)],
    ["what is not CBOR", Uint8Array.of(0xff)],
    ["two items", Uint8Array.of(0xf6, 0xf6)],
    ["bare text", encode("GetRandom")],
    ["an array", encode(["GetRandom", new Uint8Array(32)])],
    ["null", encode(null)],
    ["a map without the answer", encode({})],
    ["an answer that is no map", encode({ GetRandom: new Uint8Array(32) })],
    ["an answer without bytes", encode({ GetRandom: {} })],
    ["bytes as an array", encode({ GetRandom: { random: [1, 2, 3] } })],
    ["bytes as text", encode({ GetRandom: { random: "aa" } })],
    ["an error that is no text", encode({ Error: 7 })],
    ["a key twice", fromHex("a26947657452616e646f6da06947657452616e646f6da16672616e646f6d4411111111")],
  ])("for %s", async (_what, answer) => {
    await expect(nsmWith(() => answer).nsm.random()).rejects.toMatchObject({ code: "NSM_FAILED" });
  });

  test.each<[string, Uint8Array]>([
    ["no document", encode({ Attestation: {} })],
    ["a document that is text", encode({ Attestation: { document: "d" } })],
    ["an empty document", encode({ Attestation: { document: new Uint8Array(0) } })],
    ["bytes that are no document", encode({ Attestation: { document: new Uint8Array(100) } })],
  ])("for %s, and the clock stays unset", async (_what, answer) => {
    const { nsm, clock } = nsmWith(() => answer);
    await expect(nsm.attest(NO_FIELDS)).rejects.toMatchObject({ code: "NSM_FAILED" });
    expect(clock.isSet).toBe(false);
  });

  test("for a device that fails, with the cause kept", async () => {
    const cause = new Error("EIO");
    const { nsm } = nsmWith(() => Promise.reject(cause));
    await expect(nsm.random()).rejects.toMatchObject({ code: "NSM_FAILED", cause });
  });

  test("for an answer over 0x3000 bytes, and not for one of 0x3000", async () => {
    const ofLength = (length: number) => encode({ GetRandom: { random: new Uint8Array(length - 22) } });
    expect(ofLength(0x3000)).toHaveLength(0x3000);
    expect(await nsmWith(() => ofLength(0x3000)).nsm.random()).toHaveLength(0x3000 - 22);
    await expect(nsmWith(() => ofLength(0x3001)).nsm.random()).rejects.toMatchObject({ code: "NSM_FAILED" });
  });

  test("for a request over 0x1000 bytes, which is not sent", async () => {
    const { nsm, requests } = nsmWith(() => encode({}));
    const attest = (length: number) => nsm.attest({ ...NO_FIELDS, userData: new Uint8Array(length) });
    await expect(attest(0x1000)).rejects.toMatchObject({
      code: "NSM_FAILED",
      message: expect.stringContaining("limit"),
    });
    expect(requests).toEqual([]);
    await expect(attest(0xf00)).rejects.toMatchObject({ code: "NSM_FAILED" });
    expect(requests).toHaveLength(1);
  });
});

test("a document is passed on as it came, holds what was asked, and sets the clock", async () => {
  const pki = createNsmPki({ nowMs: () => T });
  const simulated = createSimulatedNsm({
    pki,
    pcrs: new Map(),
    moduleId: "i-0123456789abcdef0-enc0123456789abcdef0",
    nowMs: () => T,
  });
  const { nsm, clock } = nsmWith((request) => simulated.handle(request));
  const fields = { userData: Uint8Array.of(1), nonce: Uint8Array.of(2, 2), publicKey: Uint8Array.of(3, 3, 3) };
  const document = decodeUnverified(await nsm.attest(fields));
  expect(document).toMatchObject({ timestampMs: T });
  expect([document.userData, document.nonce, document.publicKey].map((field) => field && [...field])).toEqual([
    [1],
    [2, 2],
    [3, 3, 3],
  ]);
  expect(clock.nowMs()).toBe(T);
});
