import { encode } from "cborg";
import { afterAll, describe, expect, test } from "vitest";
import {
  ATTESTATION_ERROR_STEPS,
  AttestationError,
  type AttestationErrorCode,
  createPcrSet,
  type ExpectedAttestation,
  extendPcr,
  verifyAttestation,
} from "../../attestation/index.ts";
import { AT_MS, at, encodeMap, type Forgery, forge, NONCE, PCR0 } from "./forge.ts";
import { ACCEPTED, header, hex, pcrs, REFUSED, setEntry } from "./negative-corpus.ts";

const reached = new Set<AttestationErrorCode>();

async function refusal(forgery: Forgery, changes: Partial<ExpectedAttestation> = {}): Promise<AttestationError> {
  const { bytes, expected } = forge(forgery);
  return refusalOf(bytes, { ...expected, ...changes });
}

async function refusalOf(bytes: Uint8Array, expected: ExpectedAttestation): Promise<AttestationError> {
  const error: unknown = await verifyAttestation(bytes, expected).then(
    () => new Error("verified"),
    (thrown: unknown) => thrown,
  );
  if (!(error instanceof AttestationError)) throw error;
  reached.add(error.code);
  return error;
}

test("the forger's own document verifies: what follows is refused for its one fault", async () => {
  const { bytes, expected } = forge();
  const document = await verifyAttestation(bytes, expected);
  expect(document.publicKey).toEqual(Uint8Array.of(1, 2, 3));
});

test.each(ACCEPTED)("accepted: %s", async (_name, forgery) => {
  const { bytes, expected } = forge(forgery);
  await expect(verifyAttestation(bytes, expected)).resolves.toBeDefined();
});

test("a key named __proto__ reaches no prototype", async () => {
  const { bytes, expected } = forge({
    entries: (entries) => [
      ...entries.filter(([key]) => key !== "public_key"),
      ["__proto__", new Map([["public_key", NONCE]])],
    ],
  });
  expect((await verifyAttestation(bytes, expected)).publicKey).toBeNull();
});

describe.each(REFUSED.map((cases, at) => [at + 1, cases] as const))("step %i", (step, cases) => {
  test.each(cases)("%s: %s", async (_name, code, forgery) => {
    const error = await refusal(forgery);
    expect(error.code).toBe(code);
    // Headers, the payload and their strings are CBOR too, whatever step reads them.
    if (!code.startsWith("CBOR_")) expect(error.step).toBe(step);
    expect(error.message).toBe(`expected ${error.expected}, got ${error.got}`);
  });
});

describe("steps 8 and 9", () => {
  const zeros = new Uint8Array(48);
  const other = new Uint8Array(48).fill(1);
  test.each<[string, AttestationErrorCode, Forgery, Partial<ExpectedAttestation>]>([
    ["another nonce", "NONCE_MISMATCH", {}, { nonce: NONCE.map((byte) => byte ^ 1) }],
    ["a nonce that begins alike", "NONCE_MISMATCH", {}, { nonce: NONCE.subarray(0, 31) }],
    ["no nonce", "NONCE_MISMATCH", setEntry("nonce", null), {}],
    ["an empty nonce", "NONCE_MISMATCH", setEntry("nonce", new Uint8Array(0)), {}],
    ["too old by a millisecond", "TOO_OLD", setEntry("timestamp", AT_MS - 60_001), {}],
    ["a timestamp in seconds", "TOO_OLD", setEntry("timestamp", Math.floor(AT_MS / 1000)), {}],
    ["ahead by more than clocks differ", "FROM_FUTURE", setEntry("timestamp", AT_MS + 60_001), {}],
    ["debug mode", "DEBUG_MODE", pcrs([[0, zeros]]), { pcrs: "unchecked" }],
    [
      "debug mode and a set without PCR0",
      "DEBUG_MODE",
      pcrs([
        [0, zeros],
        [1, other],
        [2, other],
      ]),
      {
        pcrs: [
          new Map([
            [1, other],
            [2, other],
          ]),
        ],
      },
    ],
    ["no PCR0 where nothing is compared", "PCR_ABSENT", pcrs([[1, PCR0]]), { pcrs: "unchecked" }],
    [
      "an absent PCR that was expected as zeros",
      "PCR_ABSENT",
      {},
      {
        pcrs: [
          new Map([
            [0, PCR0],
            [16, zeros],
          ]),
        ],
      },
    ],
    ["another PCR0", "PCR_MISMATCH", {}, { pcrs: [new Map([[0, other]])] }],
    [
      "none of several sets",
      "PCR_MISMATCH",
      {},
      {
        pcrs: [
          new Map([[0, other]]),
          new Map([
            [0, PCR0],
            [3, other],
          ]),
        ],
      },
    ],
  ])("%s: %s", async (_name, code, forgery, changes) => {
    expect((await refusal(forgery, changes)).code).toBe(code);
  });

  test.each<[string, Forgery, Partial<ExpectedAttestation>]>([
    ["one of several sets", {}, { pcrs: [new Map([[0, other]]), new Map([[0, PCR0]])] }],
    [
      "zeros that were expected as zeros",
      {},
      {
        pcrs: [
          new Map([
            [0, PCR0],
            [3, zeros],
          ]),
        ],
      },
    ],
    ["as old as is allowed", setEntry("timestamp", AT_MS - 60_000), {}],
    ["as far ahead as clocks differ", setEntry("timestamp", AT_MS + 60_000), {}],
    ["debug mode, allowed", pcrs([[0, zeros]]), { pcrs: "unchecked", allowDebug: true }],
    ["debug mode, allowed and named", pcrs([[0, zeros]]), { pcrs: [new Map([[0, zeros]])], allowDebug: true }],
  ])("accepted: %s", async (_name, forgery, changes) => {
    const { bytes, expected } = forge(forgery);
    await expect(verifyAttestation(bytes, { ...expected, ...changes })).resolves.toBeDefined();
  });
});

describe("step 0: expectations that protect nothing", () => {
  const zeros = new Uint8Array(48);
  test.each<[string, Record<string, unknown>]>([
    ["no roots", { roots: [] }],
    ["a root as PEM", { roots: [{ name: "x", der: new TextEncoder().encode("-----BEGIN") }] }],
    ["no time", { atMs: undefined }],
    ["time 0", { atMs: 0 }],
    ["a time that is no number", { atMs: Number.NaN }],
    ["a time past all dates", { atMs: 8.64e15 + 1 }],
    ["an endless time", { atMs: Number.POSITIVE_INFINITY }],
    ["time in text", { atMs: "now" }],
    ["no nonce", { nonce: undefined }],
    ["an empty nonce", { nonce: new Uint8Array(0) }],
    ["a nonce that no document can hold", { nonce: new Uint8Array(1025) }],
    ["no PCRs", { pcrs: undefined }],
    ["no set", { pcrs: [] }],
    ["an empty set", { pcrs: [new Map()] }],
    ["an empty set under debug mode", { pcrs: [new Map()], allowDebug: true }],
    ["PCR3 alone under debug mode", { pcrs: [new Map([[3, PCR0]])], allowDebug: true }],
    ["a set as object", { pcrs: [{ 0: PCR0 }] }],
    ["PCR0 of zeros", { pcrs: [new Map([[0, zeros]])] }],
    ["PCR1 alone", { pcrs: [new Map([[1, PCR0]])] }],
    ["PCR2 alone", { pcrs: [new Map([[2, PCR0]])] }],
    [
      "PCR1 and PCR2 of zeros",
      {
        pcrs: [
          new Map([
            [1, PCR0],
            [2, zeros],
          ]),
        ],
      },
    ],
    ["PCR8 alone", { pcrs: [new Map([[8, PCR0]])] }],
    [
      "PCR8 and zeros",
      {
        pcrs: [
          new Map([
            [8, PCR0],
            [3, zeros],
          ]),
        ],
      },
    ],
    [
      "PCR8 of zeros and others",
      {
        pcrs: [
          new Map([
            [8, zeros],
            [3, PCR0],
          ]),
        ],
      },
    ],
    [
      "PCR32",
      {
        pcrs: [
          new Map([
            [0, PCR0],
            [32, PCR0],
          ]),
        ],
      },
    ],
    ["a PCR of 32 bytes", { pcrs: [new Map([[0, PCR0.subarray(16)]])] }],
    ["one good set and one empty", { pcrs: [new Map([[0, PCR0]]), new Map()] }],
    ["no age", { maxAgeMs: undefined }],
    ["an age without end", { maxAgeMs: Number.POSITIVE_INFINITY }],
    ["a negative age", { maxAgeMs: -1 }],
    ["a debug switch that is a word", { allowDebug: "false" }],
  ])("%s", async (_name, changes) => {
    const error = await refusal({}, changes as Partial<ExpectedAttestation>);
    expect(error.code).toBe("INVALID_EXPECTATION");
    expect(error.step).toBe(0);
  });

  test("PCR sets that pin an image", () => {
    for (const indices of [[0], [1, 2], [8, 3], [8, 4, 3]]) {
      const entries = indices.map((index) => [index, PCR0] as const);
      expect([...createPcrSet(entries).keys()]).toEqual(indices);
    }
    expect(() =>
      createPcrSet([
        [0, PCR0],
        [0, PCR0],
      ]),
    ).toThrow(expect.objectContaining({ code: "INVALID_EXPECTATION" }));
  });

  test("a set is a copy", () => {
    const value = Uint8Array.from(PCR0);
    const set = createPcrSet([[0, value]]);
    value.fill(0);
    expect(set.get(0)).toEqual(PCR0);
  });

  test("what is not bytes is no document", async () => {
    const { expected } = forge();
    const error = await refusalOf("8444" as unknown as Uint8Array, expected);
    expect(error.code).toBe("INVALID_ARGUMENT");
    await expect(extendPcr(new Uint8Array(47), PCR0)).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });
  });
});

test("QEMU's document is refused by its algorithm", async () => {
  // /dev/nsm of QEMU's nitro-enclave machine: protected {1: -1}, a signature and certificates of 64 zero bytes.
  const zeros = new Uint8Array(64);
  const { expected } = forge();
  const payload = encodeMap([
    ["module_id", "i-1234-enc5678"],
    ["digest", "SHA384"],
    ["timestamp", AT_MS],
    ["pcrs", new Map(Array.from({ length: 16 }, (_, index) => [index, PCR0]))],
    ["certificate", zeros],
    ["cabundle", [zeros]],
    ["public_key", null],
    ["user_data", null],
    ["nonce", NONCE],
  ]);
  const document = encode([hex("a10120"), new Map(), payload, zeros]);
  expect((await refusalOf(document, expected)).code).toBe("ALGORITHM_NOT_ALLOWED");
});

test("before the signature is checked, no content reaches a message", async () => {
  const secret = "attacker-chosen";
  const forgeries: readonly Forgery[] = [
    { entries: (entries) => [...entries, [secret, 1], [secret, 1]] },
    setEntry("digest", secret),
    { levels: at(3, { issuerCn: secret }) },
    { ...header(`a1016f${Buffer.from(secret).toString("hex")}`) },
    { bundle: () => [Buffer.from(secret), Buffer.from(secret)] },
  ];
  for (const forgery of forgeries) expect((await refusal(forgery)).message).not.toContain("attacker");
});

afterAll(() => {
  const missed = Object.keys(ATTESTATION_ERROR_STEPS).filter((code) => !reached.has(code as AttestationErrorCode));
  expect(missed).toEqual([]);
});
