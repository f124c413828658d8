import { createHash } from "node:crypto";
import { decode, encode } from "cborg";
import { describe, expect, test } from "vitest";
import {
  type AttestationErrorCode,
  AWS_NITRO_ROOT_G1,
  createPcrSet,
  decodeUnverified,
  describeUnverifiedCertificate,
  type ExpectedAttestation,
  pcr4OfInstanceId,
  type VerifiedAttestation,
  verifyAttestation,
} from "../../attestation/index.ts";
import { GENUINE, ownTime, VECTORS_ABSENT } from "./genuine.ts";

const HOUR_MS = 3_600_000;

test("the pinned root is the one whose digest AWS publishes", () => {
  const digest = createHash("sha256").update(AWS_NITRO_ROOT_G1.der).digest("hex");
  expect(digest).toBe("641a0321a3e244efe456463195d606317ed7cdcc3c1756e09893f3c68f79bb5b");
});

test("writing into the root's bytes does not change what is pinned", () => {
  AWS_NITRO_ROOT_G1.der.fill(0);
  expect(AWS_NITRO_ROOT_G1.der[0]).toBe(0x30);
});

describe.skipIf(VECTORS_ABSENT).each(GENUINE)("$name", (genuine) => {
  const refused = (changes: Partial<ExpectedAttestation>, code: AttestationErrorCode) =>
    expect(verifyAttestation(genuine.read(), { ...ownTime(genuine), ...changes })).rejects.toMatchObject({
      name: "AttestationError",
      code,
    });

  test("verifies at its own time", async () => {
    const document = await verifyAttestation(genuine.read(), ownTime(genuine));
    expect(document.timestampMs).toBe(genuine.timestampMs);
    expect(document.digest).toBe("SHA384");
    expect(document.cabundle).toHaveLength(4);
    expect(document).toEqual(decodeUnverified(genuine.read()));
  });

  test("verifies at the document's own time by name", async () => {
    const document = await verifyAttestation(genuine.read(), { ...ownTime(genuine), atMs: "document" });
    expect(document.timestampMs).toBe(genuine.timestampMs);
  });

  test("names its parent instance in PCR4", async () => {
    const { moduleId, pcrs } = decodeUnverified(genuine.read());
    expect(pcrs.get(4)).toEqual(await pcr4OfInstanceId(moduleId.replace(/-enc.*/, "")));
  });

  test("verifies through its leaf's last second, and fails after it and before its first", async () => {
    const { notBeforeMs, notAfterMs } = describeUnverifiedCertificate(decodeUnverified(genuine.read()).certificate);
    const maxAgeMs = 24 * HOUR_MS;
    const atEnd = { ...ownTime(genuine), atMs: notAfterMs, maxAgeMs };
    await expect(verifyAttestation(genuine.read(), atEnd)).resolves.toBeDefined();
    await refused({ atMs: notAfterMs + 1, maxAgeMs }, "CERTIFICATE_EXPIRED");
    await refused({ atMs: notAfterMs + HOUR_MS, maxAgeMs }, "CERTIFICATE_EXPIRED");
    await refused({ atMs: notBeforeMs - 1, maxAgeMs }, "CERTIFICATE_NOT_YET_VALID");
  });

  test("fails with any certificate dropped, moved or replaced by another document's", async () => {
    const other = GENUINE.find(({ name }) => name !== genuine.name) ?? genuine;
    const own = decodeUnverified(genuine.read()).cabundle;
    const foreign = decodeUnverified(other.read()).cabundle;
    for (const [at, der] of own.entries()) {
      const next = (at + 1) % own.length;
      const bundles = [own.toSpliced(at, 1), own.with(at, own[next] ?? der).with(next, der)];
      // The root is the same in all of them, and two share an authority.
      if (Buffer.compare(foreign[at] ?? der, der) !== 0) bundles.push(own.with(at, foreign[at] ?? der));
      for (const cabundle of bundles) {
        await expect(verifyAttestation(withBundle(genuine.read(), cabundle), ownTime(genuine))).rejects.toMatchObject({
          code: expect.stringMatching(/^(ROOT_NOT_TRUSTED|ISSUER_MISMATCH|CERTIFICATE_SIGNATURE_INVALID)$/),
        });
      }
    }
  });

  test("fails with any PCR changed or absent", async () => {
    const { pcrs } = decodeUnverified(genuine.read());
    await refused({ pcrs: [createPcrSet([[0, new Uint8Array(48).fill(1)]])] }, "PCR_MISMATCH");
    for (const [index, value] of pcrs) {
      const changed = Uint8Array.from(value);
      changed[47] = (changed[47] ?? 0) ^ 1;
      await refused({ pcrs: [new Map([...pcrs, [index, changed]])], allowDebug: true }, "PCR_MISMATCH");
    }
    await refused({ pcrs: [new Map([...pcrs, [31, new Uint8Array(48)]])], allowDebug: true }, "PCR_ABSENT");
    await expect(
      verifyAttestation(genuine.read(), { ...ownTime(genuine), pcrs: [pcrs], allowDebug: true }),
    ).resolves.toBeDefined();
  });

  test("fails under a foreign root, whole or cut", async () => {
    const der = AWS_NITRO_ROOT_G1.der;
    der[der.length - 1] = (der.at(-1) ?? 0) ^ 1;
    await refused({ roots: [{ name: "foreign", der }] }, "ROOT_NOT_TRUSTED");
    await refused({ roots: [{ name: "cut", der: AWS_NITRO_ROOT_G1.der.subarray(0, 100) }] }, "ROOT_NOT_TRUSTED");
  });
});

describe.skipIf(VECTORS_ABSENT)("what is special in each", () => {
  const [debug, pcr8, pcr16, indefinite] = GENUINE.map((genuine) => ({ genuine, expected: ownTime(genuine) }));

  test("debug mode is refused unless allowed", async () => {
    if (debug === undefined) throw new Error("no document");
    const expected = { ...debug.expected, allowDebug: false };
    await expect(verifyAttestation(debug.genuine.read(), expected)).rejects.toMatchObject({ code: "DEBUG_MODE" });
  });

  test("the nonce must be the one sent", async () => {
    if (pcr8 === undefined || debug === undefined) throw new Error("no document");
    const { nonce } = decodeUnverified(pcr8.genuine.read());
    if (nonce === null) throw new Error("no nonce");
    expect(nonce).toHaveLength(256);
    await expect(verifyAttestation(pcr8.genuine.read(), { ...pcr8.expected, nonce })).resolves.toBeDefined();
    for (const other of [nonce.subarray(1), nonce.map((byte) => byte ^ 1)]) {
      await expect(verifyAttestation(pcr8.genuine.read(), { ...pcr8.expected, nonce: other })).rejects.toMatchObject({
        code: "NONCE_MISMATCH",
      });
    }
    await expect(verifyAttestation(debug.genuine.read(), { ...debug.expected, nonce })).rejects.toMatchObject({
      code: "NONCE_MISMATCH",
      got: "none",
    });
  });

  test("an empty field is empty and not null, and PCR16 is listed", () => {
    if (pcr16 === undefined) throw new Error("no document");
    const document = decodeUnverified(pcr16.genuine.read());
    expect(document.userData).toEqual(new Uint8Array(0));
    expect(document.pcrs.size).toBe(17);
  });

  test("age is bounded in both directions", async () => {
    if (indefinite === undefined) throw new Error("no document");
    const { genuine, expected } = indefinite;
    const at = (offsetMs: number, maxAgeMs: number) =>
      verifyAttestation(genuine.read(), { ...expected, atMs: genuine.timestampMs + offsetMs, maxAgeMs });
    await expect(at(1000, 1000)).resolves.toBeDefined();
    await expect(at(1001, 1000)).rejects.toMatchObject({ code: "TOO_OLD" });
    await expect(at(-3000, 1000)).resolves.toBeDefined();
  });

  test("the caller's bytes may change while signatures are being verified", async () => {
    if (indefinite === undefined) throw new Error("no document");
    const bytes = Buffer.from(indefinite.genuine.read());
    const verifying = verifyAttestation(bytes, indefinite.expected);
    bytes.fill(0);
    expect((await verifying).moduleId).toBe("i-02447a481344e9ec0-enc0199546b533fd5d0");
  });
});

test.skipIf(VECTORS_ABSENT)("what is not verified cannot be passed where a verified document is wanted", async () => {
  const [genuine] = GENUINE;
  if (genuine === undefined) throw new Error("no document");
  const release = (document: VerifiedAttestation): string => document.moduleId;
  // @ts-expect-error: this line must not compile.
  const unverified = release(decodeUnverified(genuine.read()));
  expect(release(await verifyAttestation(genuine.read(), ownTime(genuine)))).toBe(unverified);
});

/** The same document with other certificates: what it says of them is no longer signed, but the path is checked first. */
function withBundle(bytes: Uint8Array, cabundle: readonly Uint8Array[]): Uint8Array {
  const [header, unprotected, payload, signature] = decode(bytes, { useMaps: true }) as [
    Uint8Array,
    unknown,
    Uint8Array,
    Uint8Array,
  ];
  const fields = decode(payload, { useMaps: true }) as Map<string, unknown>;
  return encode([header, unprotected, encode(fields.set("cabundle", cabundle)), signature]);
}
