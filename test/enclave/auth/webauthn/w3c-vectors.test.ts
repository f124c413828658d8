/** Examples of the specification itself: WebAuthn Level 3, section 16, "Test Vectors" (relying party example.org). */
import { createHash } from "node:crypto";
import { describe, expect, test } from "vitest";
import { parseAuthenticatorData } from "../../../../enclave/auth/webauthn/authenticator-data.ts";
import { checkClientData } from "../../../../enclave/auth/webauthn/client-data.ts";
import { isSignedBy } from "../../../../enclave/auth/webauthn/verify-assertion.ts";
import { verifyRegistration } from "../../../../enclave/auth/webauthn/verify-registration.ts";
import { encodeBase64url } from "../../../../protocol/index.ts";

const RULES = { rpId: "example.org", origins: ["https://example.org"], topOrigins: [] };
const bytes = (hex: string) => Uint8Array.from(Buffer.from(hex, "hex"));
const challengeOf = (hex: string) => encodeBase64url(bytes(hex));

/** 16.2, "ES256 Credential with No Attestation". Its registration has no user verification, which we always ask for. */
const NONE_ES256 = {
  challenge: "00c30fb78531c464d2b6771dab8d7b603c01162f2fa486bea70f283ae556e130",
  clientDataJson: bytes(
    "7b2274797065223a22776562617574686e2e637265617465222c226368616c6c656e6765223a22414d4d507434557878475453746e63647134313759447742466938767049612d7077386f4f755657345441222c226f726967696e223a2268747470733a2f2f6578616d706c652e6f7267222c2263726f73734f726967696e223a66616c73652c22657874726144617461223a22636c69656e74446174614a534f4e206d617920626520657874656e6465642077697468206164646974696f6e616c206669656c647320696e20746865206675747572652c207375636820617320746869733a20426b5165446a646354427258426941774a544c453551227d",
  ),
  attestationObject: bytes(
    "a363666d74646e6f6e656761747453746d74a068617574684461746158a4bfabc37432958b063360d3ad6461c9c4735ae7f8edd46592a5e0f01452b2e4b559000000008446ccb9ab1db374750b2367ff6f3a1f0020f91f391db4c9b2fde0ea70189cba3fb63f579ba6122b33ad94ff3ec330084be4a5010203262001215820afefa16f97ca9b2d23eb86ccb64098d20db90856062eb249c33a9b672f26df61225820930a56b87a2fca66334b03458abf879717c12cc68ed73290af2e2664796b9220",
  ),
  assertion: {
    challenge: "39c0e7521417ba54d43e8dc95174f423dee9bf3cd804ff6d65c857c9abf4d408",
    authenticatorData: bytes("bfabc37432958b063360d3ad6461c9c4735ae7f8edd46592a5e0f01452b2e4b51900000000"),
    clientDataJson: bytes(
      "7b2274797065223a22776562617574686e2e676574222c226368616c6c656e6765223a224f63446e55685158756c5455506f334a5558543049393770767a7a59425039745a63685879617630314167222c226f726967696e223a2268747470733a2f2f6578616d706c652e6f7267222c2263726f73734f726967696e223a66616c73657d",
    ),
    signature: bytes(
      "3046022100f50a4e2e4409249c4a853ba361282f09841df4dd4547a13a87780218deffcd380221008480ac0f0b93538174f575bf11a1dd5d78c6e486013f937295ea13653e331e87",
    ),
  },
};

/** 16.3, "ES256 Credential with Self Attestation". */
const PACKED_SELF_ES256 = {
  challenge: "7869c2b772d4b58eba9378cf8f29e26cf935aa77df0da89fa99c0bdc0a76f7e5",
  credentialId: "455ef34e2043a87db3d4afeb39bbcb6cc32df9347c789a865ecdca129cbef58c",
  clientDataJson: bytes(
    "7b2274797065223a22776562617574686e2e637265617465222c226368616c6c656e6765223a2265476e4374334c55745936366b336a506a796e6962506b31716e666644616966715a774c33417032392d55222c226f726967696e223a2268747470733a2f2f6578616d706c652e6f7267222c2263726f73734f726967696e223a66616c73652c22657874726144617461223a22636c69656e74446174614a534f4e206d617920626520657874656e6465642077697468206164646974696f6e616c206669656c647320696e20746865206675747572652c207375636820617320746869733a205539685458764b453255526b4d6e625f307859485667227d",
  ),
  attestationObject: bytes(
    "a363666d74667061636b65646761747453746d74a263616c672663736967584630440220067a20754ab925005dbf378097c92120031581c73228d1fb4f5b881bcd7da98302207fc7b147558c7c0eba3af18bd9d121fa3d3a26d17fe3f220272178f473b6006d68617574684461746158a4bfabc37432958b063360d3ad6461c9c4735ae7f8edd46592a5e0f01452b2e4b55d00000000df850e09db6afbdfab51697791506cfc0020455ef34e2043a87db3d4afeb39bbcb6cc32df9347c789a865ecdca129cbef58ca5010203262001215820eb151c8176b225cc651559fecf07af450fd85802046656b34c18f6cf193843c5225820927b8aa427a2be1b8834d233a2d34f61f13bfd44119c325d5896e183fee484f2",
  ),
  assertion: {
    challenge: "4478a10b1352348dd160c1353b0d469b5db19eb91c27f7dfa6fed39fe26af20b",
    authenticatorData: bytes("bfabc37432958b063360d3ad6461c9c4735ae7f8edd46592a5e0f01452b2e4b50900000000"),
    clientDataJson: bytes(
      "7b2274797065223a22776562617574686e2e676574222c226368616c6c656e6765223a225248696843784e534e493352594d45314f7731476d3132786e726b634a5f6666707637546e2d4a71386773222c226f726967696e223a2268747470733a2f2f6578616d706c652e6f7267222c2263726f73734f726967696e223a66616c73652c22657874726144617461223a22636c69656e74446174614a534f4e206d617920626520657874656e6465642077697468206164646974696f6e616c206669656c647320696e20746865206675747572652c207375636820617320746869733a206754623533727a36456853576f6d58477a696d433151227d",
    ),
    signature: bytes(
      "304402203310b9431903c401f1be2bdc8d23a4007682dbbddcf846994947b7f465daf84002204e94dd00047b316061b3b99772b7efd95994a83ef584b3b6b825ea3550251b66",
    ),
  },
};

describe("registration", () => {
  test("with self attestation is verified", () => {
    const { challenge, credentialId } = PACKED_SELF_ES256;
    const registered = verifyRegistration(PACKED_SELF_ES256, challengeOf(challenge), RULES);
    expect(Buffer.from(registered.credentialId).toString("hex")).toBe(credentialId);
    expect(registered).toMatchObject({ signCount: 0, isBackupEligible: true, isBackedUp: true });
    expect(registered.publicKey.algorithm).toBe("ES256");
  });

  test("with one bit of its self attestation changed is refused", () => {
    const { challenge, attestationObject, clientDataJson } = PACKED_SELF_ES256;
    const changed = attestationObject.with(60, (attestationObject[60] ?? 0) ^ 1);
    const attempt = () =>
      verifyRegistration({ attestationObject: changed, clientDataJson }, challengeOf(challenge), RULES);
    expect(attempt).toThrow(expect.objectContaining({ code: "PASSKEY_SIGNATURE_INVALID" }));
  });

  test("without user verification is refused for that alone", () => {
    const attempt = () => verifyRegistration(NONE_ES256, challengeOf(NONE_ES256.challenge), RULES);
    expect(attempt).toThrow(expect.objectContaining({ code: "PASSKEY_USER_NOT_VERIFIED" }));
    const verified = NONE_ES256.attestationObject.with(30 + 32, 0x5d);
    const response = { ...NONE_ES256, attestationObject: verified };
    expect(verifyRegistration(response, challengeOf(NONE_ES256.challenge), RULES).publicKey.algorithm).toBe("ES256");
  });
});

describe.each([
  ["16.2", NONE_ES256, 0x5d],
  ["16.3", PACKED_SELF_ES256, 0x5d],
])("assertion of %s", (_section, { challenge, attestationObject, clientDataJson, assertion }, flags) => {
  const at = Buffer.from(attestationObject).indexOf(createHash("sha256").update("example.org").digest()) + 32;
  const withVerification = attestationObject.with(at, flags);
  const isSelf = Buffer.from(attestationObject).includes("packed");
  const registration = { attestationObject: isSelf ? attestationObject : withVerification, clientDataJson };

  test("is signed by the registered key, and no other bytes are", () => {
    const { publicKey } = verifyRegistration(registration, challengeOf(challenge), RULES);
    const { authenticatorData, signature } = assertion;
    expect(isSignedBy(publicKey, authenticatorData, assertion.clientDataJson, signature)).toBe(true);
    const changed = authenticatorData.with(32, (authenticatorData[32] ?? 0) ^ 0x04);
    expect(isSignedBy(publicKey, changed, assertion.clientDataJson, signature)).toBe(false);
  });

  test("has the client data and authenticator data that the specification says", () => {
    const expected = { type: "webauthn.get", challenges: [challengeOf(assertion.challenge)], rules: RULES } as const;
    expect(() => checkClientData(assertion.clientDataJson, expected)).not.toThrow();
    expect(parseAuthenticatorData(assertion.authenticatorData)).toMatchObject({ isUserPresent: true, signCount: 0 });
  });
});
