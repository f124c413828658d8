import { createHash } from "node:crypto";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { decode, encode } from "cborg";
import { describe, expect, test } from "vitest";
import { AWS_NITRO_ROOT_G1, createPcrSet, decodeUnverified, verifyAttestation } from "../../attestation/index.ts";
import { createNsmPki, createSimulatedNsm, encodeDocumentPayload } from "../../simulator/nsm/index.ts";

const VECTORS = process.env["CLOISTER_VECTORS"] ?? "../shared/vectors";
const ANSWERS_FILE = join(VECTORS, "nsm-cbor-known-answers.txt");
const ANSWERS_ABSENT = !existsSync(ANSWERS_FILE);
if (ANSWERS_ABSENT) process.stderr.write(`skipped: no ${ANSWERS_FILE}; name its folder in CLOISTER_VECTORS\n`);

const MODULE_ID = "i-0123456789abcdef0-enc0123456789abcdef";
const HOUR_MS = 3_600_000;
const START_MS = Date.UTC(2026, 5, 1, 12, 0, 0, 250);
const PCR0 = new Uint8Array(48).fill(0xab);

function setUp() {
  const clock = { now: START_MS };
  const nowMs = () => clock.now;
  const pki = createNsmPki({ nowMs });
  const nsm = createSimulatedNsm({ pki, pcrs: new Map([[0, PCR0]]), moduleId: MODULE_ID, nowMs });
  const send = async (request: unknown): Promise<unknown> => decode(await nsm.handle(encode(request)));
  const attest = async (fields: Record<string, Uint8Array | null> = {}): Promise<Uint8Array> => {
    const answer = (await send({ Attestation: fields })) as { Attestation: { document: Uint8Array } };
    return answer.Attestation.document;
  };
  return { clock, pki, nsm, send, attest };
}

/** Name, bytes and whether they are a response, from the lines of AWS's own encoder. */
function knownAnswer(label: string): string {
  const line = readFileSync(ANSWERS_FILE, "utf8")
    .split("\n")
    .find((text) => text.startsWith(`${label} `));
  const hex = line?.slice(label.length).trim();
  if (hex === undefined) throw new Error(`no known answer for ${label}`);
  return hex;
}

async function handleHex(nsm: ReturnType<typeof setUp>["nsm"], requestHex: string): Promise<string> {
  return Buffer.from(await nsm.handle(Buffer.from(requestHex, "hex"))).toString("hex");
}

describe.skipIf(ANSWERS_ABSENT)("AWS's own encoding, byte for byte", () => {
  test("DescribeNSM", async () => {
    const { nsm } = setUp();
    expect(await handleHex(nsm, knownAnswer("req DescribeNSM"))).toBe(knownAnswer("resp DescribeNSM"));
  });

  test("DescribePCR of a locked register of zeros", async () => {
    const { nsm, pki, clock } = setUp();
    const zeros = createSimulatedNsm({ pki, pcrs: new Map(), moduleId: MODULE_ID, nowMs: () => clock.now });
    expect(await handleHex(zeros, knownAnswer("req DescribePCR{0}"))).toBe(knownAnswer("resp DescribePCR"));
    expect(await handleHex(nsm, knownAnswer("req DescribePCR{31}"))).toContain("646c6f636bf4");
  });

  test("a request with a longer head than needed is read, as serde reads it", async () => {
    const { nsm } = setUp();
    const answer = await handleHex(nsm, "a16b4465736372696265504352a165696e6465781a00000003");
    expect(answer).toBe(knownAnswer("resp DescribePCR"));
  });

  test("ExtendPCR, LockPCR and LockPCRs", async () => {
    const { nsm } = setUp();
    const extended = createHash("sha384")
      .update(new Uint8Array(48))
      .update(Uint8Array.of(1, 2, 3))
      .digest("hex");
    expect(await handleHex(nsm, knownAnswer("req ExtendPCR{16,010203}"))).toBe(
      knownAnswer("resp ExtendPCR").replace("ee".repeat(48), extended),
    );
    expect(await handleHex(nsm, knownAnswer("req LockPCR{16}"))).toBe(knownAnswer("resp LockPCR"));
    expect(await handleHex(nsm, knownAnswer("req LockPCRs{range 17}"))).toBe(knownAnswer("resp LockPCRs"));
  });

  test("Attestation and GetRandom answer under AWS's keys", async () => {
    const { nsm } = setUp();
    const attestation = await handleHex(nsm, knownAnswer("req Attestation{none}"));
    expect(attestation.startsWith(knownAnswer("resp Attestation").slice(0, -"42d0c0".length))).toBe(true);
    const random = await handleHex(nsm, knownAnswer("req GetRandom"));
    expect(random.startsWith(knownAnswer("resp GetRandom").slice(0, -"4411111111".length))).toBe(true);
  });

  test.each([
    ["InvalidIndex", "req DescribePCR{300}"],
    ["ReadOnlyIndex", "a1674c6f636b504352a165696e64657800"],
    ["InvalidOperation", "63666f6f"],
    ["InputTooLarge", "00".repeat(0x1001)],
  ])("error %s", async (code, request) => {
    const { nsm } = setUp();
    const hex = request.startsWith("req") ? knownAnswer(request) : request;
    expect(await handleHex(nsm, hex)).toBe(knownAnswer(`resp Error ${code}`));
  });

  test("the document's payload", () => {
    const payload = encodeDocumentPayload({
      moduleId: "m",
      timestampMs: 1234,
      pcrs: new Map([0, 1].map((fill) => [fill, new Uint8Array(48).fill(fill)])),
      certificate: new Uint8Array(0),
      cabundle: [],
      publicKey: null,
      userData: null,
      nonce: null,
    });
    const [upToCertificate, afterBundle] = ["6b6365727469666963617465", "6a7075626c69635f6b6579"];
    const ours = Buffer.from(payload).toString("hex");
    const theirs = knownAnswer("AttestationDoc (opt None)");
    expect(ours.slice(0, ours.indexOf(upToCertificate)).slice(-200)).toBe(
      theirs.slice(0, theirs.indexOf(upToCertificate)).slice(-200),
    );
    expect(ours.slice(ours.indexOf(afterBundle))).toBe(theirs.slice(theirs.indexOf(afterBundle)));
  });
});

describe("registers", () => {
  test("0 to 15 are locked, 16 to 31 are not, and a lock is for good", async () => {
    const { send } = setUp();
    for (let index = 0; index < 32; index += 1) {
      const lock = index < 16;
      expect(await send({ DescribePCR: { index } })).toMatchObject({ DescribePCR: { lock } });
    }
    expect(await send({ ExtendPCR: { index: 0, data: new Uint8Array(1) } })).toEqual({ Error: "ReadOnlyIndex" });
    expect(await send({ LockPCR: { index: 20 } })).toBe("LockPCR");
    expect(await send({ LockPCR: { index: 20 } })).toEqual({ Error: "ReadOnlyIndex" });
    expect(await send({ ExtendPCR: { index: 20, data: new Uint8Array(1) } })).toEqual({ Error: "ReadOnlyIndex" });
  });

  test.each([
    [{ DescribePCR: { index: 32 } }],
    [{ ExtendPCR: { index: 32, data: new Uint8Array(0) } }],
    [{ LockPCR: { index: 32 } }],
    [{ LockPCRs: { range: 33 } }],
  ])("%j: InvalidIndex", async (request) => {
    expect(await setUp().send(request)).toEqual({ Error: "InvalidIndex" });
  });

  test.each([
    ["an unknown variant", "Reboot"],
    ["a variant with fields sent bare", "Attestation"],
    ["two variants", { GetRandom: {}, LockPCR: { index: 16 } }],
    ["an index of text", { LockPCR: { index: "16" } }],
    ["an index over u16", { LockPCR: { index: 65_536 } }],
    ["a negative index", { LockPCR: { index: -1 } }],
    ["no index", { DescribePCR: {} }],
    ["data of text", { ExtendPCR: { index: 16, data: "x" } }],
    ["no range", { LockPCRs: {} }],
    ["a nonce of text", { Attestation: { nonce: "x" } }],
    ["a number", 7],
  ])("%s: InvalidOperation", async (_name, request) => {
    expect(await setUp().send(request)).toEqual({ Error: "InvalidOperation" });
  });

  test.each(["", "a1", "ff", "a1674c6f636b504352a165696e6465781000", "81".repeat(4000)])(
    "malformed CBOR %#: InvalidOperation",
    async (hex) => {
      expect(decode(await setUp().nsm.handle(Buffer.from(hex, "hex")))).toEqual({ Error: "InvalidOperation" });
    },
  );

  test("LockPCRs locks below its range, and the document lists what is locked", async () => {
    const { send, attest, nsm } = setUp();
    await send({ ExtendPCR: { index: 16, data: Uint8Array.of(7) } });
    expect(decodeUnverified(await attest()).pcrs.size).toBe(16);
    expect(await send({ LockPCRs: { range: 16 } })).toBe("LockPCRs");
    expect(decodeUnverified(await attest()).pcrs.size).toBe(16);
    await send({ LockPCRs: { range: 17 } });
    const { pcrs } = decodeUnverified(await attest());
    expect([...pcrs.keys()]).toEqual(Array.from({ length: 17 }, (_, index) => index));
    expect(pcrs.get(16)).toEqual(nsm.pcrs.get(16));
    await send({ LockPCRs: { range: 32 } });
    expect(decodeUnverified(await attest()).pcrs.size).toBe(32);
  });

  test("what is not 48 bytes, or no register, is refused at the start", () => {
    const { pki } = setUp();
    const options = { pki, moduleId: MODULE_ID, nowMs: () => START_MS };
    const invalid = expect.objectContaining({ code: "INVALID_PCR" });
    expect(() => createSimulatedNsm({ ...options, pcrs: new Map([[0, new Uint8Array(32)]]) })).toThrow(invalid);
    expect(() => createSimulatedNsm({ ...options, pcrs: new Map([[32, new Uint8Array(48)]]) })).toThrow(invalid);
    expect(() => createSimulatedNsm({ ...options, pcrs: new Map(), moduleId: "m" })).toThrow(
      expect.objectContaining({ code: "INVALID_MODULE_ID" }),
    );
  });
});

describe("documents", () => {
  test("verify under this run's root, and under no other", async () => {
    const { pki, attest } = setUp();
    const nonce = Uint8Array.of(9, 9, 9);
    const expected = { atMs: START_MS, nonce, pcrs: [createPcrSet([[0, PCR0]])], maxAgeMs: 1000 };
    const document = await attest({ nonce, public_key: Uint8Array.of(1), user_data: new Uint8Array(0) });
    const verified = await verifyAttestation(document, { ...expected, roots: [pki.root] });
    expect(verified).toMatchObject({
      moduleId: MODULE_ID,
      timestampMs: START_MS,
      publicKey: Uint8Array.of(1),
      userData: new Uint8Array(0),
      nonce,
    });
    for (const root of [AWS_NITRO_ROOT_G1, createNsmPki({ nowMs: () => START_MS }).root]) {
      await expect(verifyAttestation(document, { ...expected, roots: [root] })).rejects.toMatchObject({
        code: "ROOT_NOT_TRUSTED",
      });
    }
  });

  test("zeros in PCR0 are debug mode", async () => {
    const { pki } = setUp();
    const nsm = createSimulatedNsm({ pki, pcrs: new Map(), moduleId: MODULE_ID, nowMs: () => START_MS });
    const answer = decode(await nsm.handle(encode({ Attestation: {} }))) as { Attestation: { document: Uint8Array } };
    await expect(
      verifyAttestation(answer.Attestation.document, {
        roots: [pki.root],
        atMs: START_MS,
        nonce: "unchecked",
        pcrs: "unchecked",
        maxAgeMs: 0,
      }),
    ).rejects.toMatchObject({ code: "DEBUG_MODE" });
  });

  test("every certificate says that it is a simulator's", async () => {
    const { certificate, cabundle } = decodeUnverified(await setUp().attest());
    for (const der of [certificate, ...cabundle]) {
      expect(Buffer.from(der).toString("latin1")).toContain("SIMULATOR - NOT AWS");
    }
  });

  test("fields of 1024 bytes pass, and of 1025 do not; what the buffer cannot hold is said", async () => {
    const { attest, send, pki } = setUp();
    const full = new Uint8Array(1024);
    expect(decodeUnverified(await attest({ nonce: full, public_key: full, user_data: full })).nonce).toHaveLength(1024);
    for (const field of ["nonce", "public_key", "user_data"]) {
      expect(await send({ Attestation: { [field]: new Uint8Array(1025) } })).toEqual({ Error: "InputTooLarge" });
    }
    const nsm = createSimulatedNsm({
      pki,
      pcrs: new Map(),
      moduleId: MODULE_ID,
      nowMs: () => START_MS,
      maxResponseBytes: 1000,
    });
    expect(decode(await nsm.handle(encode({ Attestation: {} })))).toEqual({ Error: "BufferTooSmall" });
  });

  test("the leaf is used again until shortly before its end, through a month of renewals", async () => {
    const { clock, pki, attest } = setUp();
    const leaves = new Set<string>();
    for (let hour = 0; hour < 31 * 24; hour += 1) {
      clock.now = START_MS + hour * HOUR_MS;
      const document = await attest();
      leaves.add(Buffer.from(decodeUnverified(document).certificate).toString("hex"));
      if (hour % 24 !== 0) continue;
      const expected = { roots: [pki.root], atMs: clock.now + 299_000, nonce: "unchecked", pcrs: "unchecked" } as const;
      await verifyAttestation(document, { ...expected, maxAgeMs: 300_000 });
    }
    expect(leaves.size).toBe((31 * 24) / 3);
  });

  test("random bytes are fresh", async () => {
    const { nsm } = setUp();
    const request = encode("GetRandom");
    const [first, second] = [await nsm.handle(request), await nsm.handle(request)];
    expect(first).toHaveLength(256 + 1 + 10 + 1 + 7 + 3);
    expect(first).not.toEqual(second);
  });
});
