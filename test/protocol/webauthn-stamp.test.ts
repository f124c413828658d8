import { createHash } from "node:crypto";
import fc from "fast-check";
import { expect, test } from "vitest";
import {
  decodeWebauthnStamp,
  encodeWebauthnStamp,
  isWebauthnStamp,
  MAX_WEBAUTHN_STAMP_BYTES,
  ProtocolError,
  passkeyRegistrationInput,
} from "../../protocol/index.ts";

const STAMP = {
  credentialId: Uint8Array.of(0xfb, 0xff, 1),
  authenticatorData: new Uint8Array(37).fill(0xab),
  clientDataJson: new TextEncoder().encode('{"type":"webauthn.get"}'),
  signature: Uint8Array.of(0x30, 6, 2, 1, 1, 2, 1, 2),
};
const GOLDEN =
  '{"authenticatorData":"q6urq6urq6urq6urq6urq6urq6urq6urq6urq6urq6urq6urqw",' +
  '"clientDataJson":"eyJ0eXBlIjoid2ViYXV0aG4uZ2V0In0","credentialId":"-_8B","signature":"MAYCAQECAQI"}';

const malformed = expect.objectContaining({ name: "ProtocolError", code: "MALFORMED_STAMP" });

test("has fixed bytes", () => {
  expect(encodeWebauthnStamp(STAMP)).toBe(GOLDEN);
  expect(decodeWebauthnStamp(GOLDEN)).toEqual(STAMP);
  expect(isWebauthnStamp(GOLDEN)).toBe(true);
});

test("takes Turnkey's members in any order", () => {
  const { credentialId, ...rest } = JSON.parse(GOLDEN) as Record<string, string>;
  expect(decodeWebauthnStamp(JSON.stringify({ credentialId, ...rest }))).toEqual(STAMP);
});

test.each([
  ["nothing", ""],
  ["base64url of it", Buffer.from(GOLDEN).toString("base64url")],
  ["a member too few", GOLDEN.replace(',"signature":"MAYCAQECAQI"', "")],
  ["a member too many", GOLDEN.replace("{", '{"userHandle":"AA",')],
  ["a member twice", GOLDEN.replace("{", '{"credentialId":"-_8B",')],
  ["an empty member", GOLDEN.replace("-_8B", "")],
  ["padding", GOLDEN.replace("MAYCAQECAQI", "MAYCAQECAQI=")],
  ["plain base64", GOLDEN.replace("-_8B", "+/8B")],
  ["bits that no byte uses", GOLDEN.replace("MAYCAQECAQI", "MAYCAQECAQJ")],
  ["a list", `[${GOLDEN}]`],
  ["a line feed before its end", GOLDEN.replace("}", "\n}")],
  ["a tab between its members", GOLDEN.replace(",", ",\t")],
])("%s is no stamp", (_what, header) => {
  expect(() => decodeWebauthnStamp(header)).toThrow(malformed);
});

test("is read up to its limit, and refused one over", () => {
  const padTo = (length: number) => GOLDEN.replace("{", `{${" ".repeat(length - GOLDEN.length)}`);
  expect(decodeWebauthnStamp(padTo(MAX_WEBAUTHN_STAMP_BYTES))).toEqual(STAMP);
  expect(() => decodeWebauthnStamp(padTo(MAX_WEBAUTHN_STAMP_BYTES + 1))).toThrow(malformed);
});

test("is read or refused, whatever it is, and what is written is read back", () => {
  fc.assert(
    fc.property(fc.string({ unit: "binary", maxLength: 80 }), (text) => {
      try {
        decodeWebauthnStamp(`{${text}`);
        return false;
      } catch (error) {
        return error instanceof ProtocolError && error.code === "MALFORMED_STAMP";
      }
    }),
  );
  const bytes = fc.uint8Array({ minLength: 1, maxLength: 200 }).map((some) => Uint8Array.from(some));
  fc.assert(
    fc.property(
      fc.record({ credentialId: bytes, authenticatorData: bytes, clientDataJson: bytes, signature: bytes }),
      (stamp) => {
        expect(decodeWebauthnStamp(encodeWebauthnStamp(stamp))).toEqual(stamp);
      },
    ),
  );
});

test("a registration's challenge has fixed bytes", () => {
  const input = passkeyRegistrationInput({
    audience: "prod-eu/app_1",
    userId: "usr_1",
    requestId: "0f8fad5b-d9cb-469f-a165-70867728950e",
  });
  expect(new TextDecoder().decode(input)).toBe(
    "cloister/passkey-registration/v1\nprod-eu/app_1\nusr_1\n0f8fad5b-d9cb-469f-a165-70867728950e\n",
  );
  expect(createHash("sha256").update(input).digest("base64url")).toHaveLength(43);
});
