import { createHash } from "node:crypto";
import { expect, test } from "vitest";
import {
  type AttestedUserData,
  answerSigningInput,
  decodeAttestedKeys,
  decodeAttestedUserData,
  encodeAttestedKeys,
  encodeAttestedUserData,
  encodeCbor,
  stampsDigestInput,
} from "../../protocol/index.ts";

const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString("hex");
const manifest = new Uint8Array(32).fill(7);
const vault = null;
const malformed = (code: string) => expect.objectContaining({ name: "ProtocolError", code });

test("the answer's signing input has fixed bytes: context, request, stamps, status, answer", () => {
  const input = answerSigningInput({
    requestDigest: new Uint8Array(32).fill(1),
    stampsDigest: new Uint8Array(32).fill(3),
    status: 409,
    answerDigest: new Uint8Array(32).fill(2),
  });
  const context = "636c6f69737465722f726573706f6e73652f7631";
  expect(Buffer.from(context, "hex").toString()).toBe("cloister/response/v1");
  expect(hex(input)).toBe(`${context}${"01".repeat(32)}${"03".repeat(32)}0199${"02".repeat(32)}`);
});

test("the signing input of a whole exchange is this one", () => {
  const sha256 = (text: string) => new Uint8Array(createHash("sha256").update(text).digest());
  expect(new TextDecoder().decode(stampsDigestInput(["one", "two"]))).toBe("one\ntwo\n");
  const input = answerSigningInput({
    requestDigest: sha256("{}"),
    stampsDigest: sha256("one\ntwo\n"),
    status: 200,
    answerDigest: sha256("[]"),
  });
  expect(hex(input.subarray(20))).toBe(
    "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a" +
      "c3f9c8c283a2b1f2f1896f27a01cbe3cddc0c9d93f752e4639035a0f5b36f6e8" +
      "00c8" +
      "4f53cda18c2baa0c0354bb5f9a3ecbe5ed12ab4d8e11ba873c2f11161202b945",
  );
});

test.each<[Exclude<AttestedUserData["purpose"], "cloister/import/v1">, string]>([
  ["cloister/callers/v1", `73${hex(Buffer.from("cloister/callers/v1"))}`],
  ["cloister/kms-recipient/v1", `7819${hex(Buffer.from("cloister/kms-recipient/v1"))}`],
])("user data for %s has fixed bytes", (purpose, encodedPurpose) => {
  const golden = `a4617601${"67"}${hex(Buffer.from("purpose"))}${encodedPurpose}68${hex(Buffer.from("manifest"))}5820${"07".repeat(32)}65${hex(Buffer.from("vault"))}`;
  for (const [vault, encoded] of [
    [null, "f6"],
    [new Uint8Array(16).fill(9), `50${"09".repeat(16)}`],
  ] as const) {
    expect(hex(encodeAttestedUserData({ v: 1, purpose, manifest, vault }))).toBe(golden + encoded);
    expect(decodeAttestedUserData(Buffer.from(golden + encoded, "hex"))).toEqual({ v: 1, purpose, manifest, vault });
  }
});

test("user data for an import has fixed bytes", () => {
  const target = { audience: "test/app_1", userId: "usr_1", importId: "imp_1", deadlineMs: 1_790_000_000_000 };
  const data = {
    v: 1,
    purpose: "cloister/import/v1",
    manifest,
    vault: new Uint8Array(16).fill(9),
    import: target,
  } as const;
  const text = (value: string) => Buffer.from([0x60 + value.length, ...Buffer.from(value)]).toString("hex");
  const golden = [
    ...["a5", text("v"), "01", text("purpose"), text("cloister/import/v1"), text("manifest"), "5820", "07".repeat(32)],
    ...[text("vault"), "50", "09".repeat(16), text("import"), "a4", text("audience"), text("test/app_1")],
    ...[
      text("userId"),
      text("usr_1"),
      text("importId"),
      text("imp_1"),
      text("deadlineMs"),
      `1b${(1_790_000_000_000).toString(16).padStart(16, "0")}`,
    ],
  ].join("");
  expect(hex(encodeAttestedUserData(data))).toBe(golden);
  expect(decodeAttestedUserData(Buffer.from(golden, "hex"))).toEqual(data);
});

test.each([
  ["an import's purpose without an import", { v: 1, purpose: "cloister/import/v1", manifest, vault }],
  ["another's purpose with an import", { v: 1, purpose: "cloister/callers/v1", manifest, vault, import: {} }],
  ["another version", { v: 2, purpose: "cloister/callers/v1", manifest, vault }],
  ["another purpose", { v: 1, purpose: "cloister/callers/v2", manifest, vault }],
  ["a digest of 31 bytes", { v: 1, purpose: "cloister/callers/v1", manifest: manifest.subarray(1), vault }],
  ["a digest as text", { v: 1, purpose: "cloister/callers/v1", manifest: "07".repeat(32), vault }],
  ["a field more", { v: 1, purpose: "cloister/callers/v1", manifest, vault, debug: true }],
  ["a vault id of 15 bytes", { v: 1, purpose: "cloister/callers/v1", manifest, vault: new Uint8Array(15) }],
  ["no vault", { v: 1, purpose: "cloister/callers/v1", manifest }],
  ["no purpose", { v: 1, manifest, vault }],
])("refuses user data with %s", (_name, data) => {
  expect(() => decodeAttestedUserData(encodeCbor(data))).toThrow(malformed("MALFORMED_MESSAGE"));
});

test("the public key is the answer key, then the sealing key", () => {
  const keys = { answerKey: new Uint8Array(32).fill(1), sealingKey: new Uint8Array(32).fill(2) };
  expect(hex(encodeAttestedKeys(keys))).toBe("01".repeat(32) + "02".repeat(32));
  expect(decodeAttestedKeys(encodeAttestedKeys(keys))).toEqual(keys);
});

test.each([0, 32, 63, 65])("refuses a public key of %i bytes", (length) => {
  expect(() => decodeAttestedKeys(new Uint8Array(length))).toThrow(malformed("MALFORMED_ATTESTED_KEYS"));
});
