/** KMS's envelopes: genuine ones parse, the simulator's and OpenSSL's open, and whatever else is refused by one code. */
import { spawnSync } from "node:child_process";
import {
  constants,
  createCipheriv,
  createPrivateKey,
  generateKeyPairSync,
  type KeyObject,
  privateDecrypt,
  publicEncrypt,
} from "node:crypto";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { StartError } from "../../../enclave/errors.ts";
import { type BerElement, decodeBer } from "../../../enclave/kms/ber.ts";
import { openCiphertextForRecipient, parseEnvelope } from "../../../enclave/kms/ciphertext-for-recipient.ts";
import { sealEnvelope } from "../../../simulator/kms/index.ts";
import { der } from "../../../simulator/pki/index.ts";
import { fromHex, isAbsent, readVectors, type WycheproofCase } from "../../support/wycheproof.ts";

const SHAPES = ["constructed", "primitive"] as const;
const { publicKey, privateKey } = generateKeyPairSync("rsa", { modulusLength: 2048 });
const PLAINTEXT = Buffer.from("a vault's data key of 32 bytes..");

/** The plaintext, or the code of the one error that there may be. */
function opened(ber: Uint8Array, key: KeyObject = privateKey): Buffer | string {
  try {
    return Buffer.from(openCiphertextForRecipient(ber, key));
  } catch (error) {
    expect(error).toBeInstanceOf(StartError);
    expect((error as StartError).message).toBe("CiphertextForRecipient cannot be opened");
    return (error as StartError).code;
  }
}

const CAPTURES = join(process.env["CLOISTER_VECTORS"] ?? "../shared/vectors", "kms");
if (!existsSync(CAPTURES)) process.stderr.write(`skipped: no ${CAPTURES}; name its folder in CLOISTER_VECTORS\n`);

describe.skipIf(!existsSync(CAPTURES))("what AWS KMS sent", () => {
  test.each([
    ["constructed", 48],
    ["primitive", 16],
  ] as const)("parses: %s", (shape, ciphertextBytes) => {
    const ber = readFileSync(join(CAPTURES, `ciphertext-for-recipient-${shape}.ber`));
    const { encryptedKey, iv, ciphertext } = parseEnvelope(ber);
    expect([encryptedKey.length, iv.length, ciphertext.length]).toEqual([256, 16, ciphertextBytes]);
    // It was for somebody else's key.
    expect(opened(ber)).toBe("KMS_REPLY_INVALID");
  });
});

describe.each(SHAPES)("an envelope of the %s shape", (shape) => {
  test.each([0, 1, 15, 16, 17, 32, 999, 1_000, 1_001, 4_096])("opens to its %d bytes", (length) => {
    const plaintext = Buffer.alloc(length, 0xa5);
    expect(opened(sealEnvelope(publicKey, plaintext, shape))).toEqual(plaintext);
  });

  const ber = sealEnvelope(publicKey, PLAINTEXT, shape);

  test("does not open with another key", () => {
    expect(opened(ber, generateKeyPairSync("rsa", { modulusLength: 2048 }).privateKey)).toBe("KMS_REPLY_INVALID");
    expect(opened(ber, generateKeyPairSync("rsa", { modulusLength: 1024 }).privateKey)).toBe("KMS_REPLY_INVALID");
    expect(opened(ber, generateKeyPairSync("ed25519").privateKey)).toBe("KMS_REPLY_INVALID");
  });

  test("is refused at every length but its own", () => {
    for (let length = 0; length < ber.length; length += 1) {
      expect(opened(ber.subarray(0, length)), `${length} bytes`).toBe("KMS_REPLY_INVALID");
    }
    for (const more of [[0], [0, 0], [5, 0], [...ber]]) {
      expect(opened(Uint8Array.of(...ber, ...more))).toBe("KMS_REPLY_INVALID");
    }
  });

  test("with a byte changed gives another plaintext or the one error, never another", () => {
    const counted = { refused: 0, opened: 0 };
    for (let at = 0; at < ber.length; at += 1) {
      const result = opened(ber.with(at, (ber[at] ?? 0) ^ (1 << (at % 8))));
      if (result === "KMS_REPLY_INVALID") counted.refused += 1;
      else counted.opened += 1;
    }
    // It is not authenticated: the key identifier, the IV and the ciphertext can be changed unnoticed here.
    expect(counted.opened).toBeGreaterThan(16);
    expect(counted.refused).toBeGreaterThan(256);
  });
});

test("6144 bytes may come, and more may not", () => {
  const sizes = { opened: 0, refused: 0 };
  for (let length = 5_600; length < 5_800; length += 16) {
    const ber = sealEnvelope(publicKey, Buffer.alloc(length), "primitive");
    if (ber.length <= 6_144) expect(opened(ber)).toHaveLength(length);
    else expect(opened(ber)).toBe("KMS_REPLY_INVALID");
    sizes[ber.length <= 6_144 ? "opened" : "refused"] += 1;
  }
  expect(Math.min(sizes.opened, sizes.refused)).toBeGreaterThan(1);
});

const OID = {
  data: "1.2.840.113549.1.7.1",
  signedData: "1.2.840.113549.1.7.2",
  envelopedData: "1.2.840.113549.1.7.3",
  rsaEncryption: "1.2.840.113549.1.1.1",
  rsaesOaep: "1.2.840.113549.1.1.7",
  mgf1: "1.2.840.113549.1.1.8",
  pSpecified: "1.2.840.113549.1.1.9",
  sha1: "1.3.14.3.2.26",
  sha256: "2.16.840.1.101.3.4.2.1",
  aes128Cbc: "2.16.840.1.101.3.4.1.2",
  aes256Cbc: "2.16.840.1.101.3.4.1.42",
  aes256Gcm: "2.16.840.1.101.3.4.1.46",
} as const;

const algorithm = (oid: string, ...parameters: Uint8Array[]) => der.sequence(der.objectIdentifier(oid), ...parameters);
const sha256 = algorithm(OID.sha256, der.nothing());
const oaep = (hash: Uint8Array, mask: Uint8Array, ...more: Uint8Array[]) =>
  algorithm(OID.rsaesOaep, der.sequence(der.explicit(0, hash), der.explicit(1, mask), ...more));

const CONTENT_KEY = Buffer.alloc(32, 0x11);
const IV = Buffer.alloc(16, 0x22);
const encryptKey = (key: Uint8Array, oaepHash = "sha256", oaepLabel?: Buffer) =>
  publicEncrypt(
    { key: publicKey, padding: constants.RSA_PKCS1_OAEP_PADDING, oaepHash, ...(oaepLabel && { oaepLabel }) },
    key,
  );
const encryptContent = (name: string, key: Uint8Array) => {
  const cipher = createCipheriv(name, key, IV);
  return Buffer.concat([cipher.update(PLAINTEXT), cipher.final()]);
};

/** One whole envelope in DER, with any part of it replaced. */
function envelope(parts: Readonly<Record<string, Uint8Array>> = {}): Uint8Array {
  const part = (name: string, usual: () => Uint8Array) => parts[name] ?? usual();
  const recipient = part("recipient", () =>
    der.sequence(
      part("recipientVersion", () => der.integer(2)),
      part("keyIdentifier", () => der.implicit(0, new Uint8Array(32))),
      part("keyAlgorithm", () => oaep(sha256, algorithm(OID.mgf1, sha256))),
      part("encryptedKey", () => der.octetString(encryptKey(CONTENT_KEY))),
    ),
  );
  const encrypted = part("encrypted", () =>
    der.sequence(
      part("dataType", () => der.objectIdentifier(OID.data)),
      part("contentAlgorithm", () => algorithm(OID.aes256Cbc, der.octetString(IV))),
      part("ciphertext", () => der.implicit(0, encryptContent("aes-256-cbc", CONTENT_KEY))),
    ),
  );
  const enveloped = part("enveloped", () =>
    der.sequence(
      part("version", () => der.integer(2)),
      part("recipients", () => der.element(0x31, recipient)),
      encrypted,
    ),
  );
  return der.sequence(
    part("contentType", () => der.objectIdentifier(OID.envelopedData)),
    part("content", () => der.explicit(0, enveloped)),
  );
}

describe("an envelope of another structure", () => {
  test("the builder's own, nothing replaced, opens in DER too", () => {
    expect(opened(envelope())).toEqual(PLAINTEXT);
  });

  function childrenOf(element: BerElement | undefined): readonly BerElement[] {
    if (element === undefined) throw new Error("the builder makes no such part");
    return element.children;
  }
  const partsOfContent = () => childrenOf(childrenOf(decodeBer(envelope()).children[1])[0]);
  const recipientDer = () => der.concat(...childrenOf(partsOfContent()[1]).map(encode));

  test.each<[string, () => Record<string, Uint8Array>]>([
    ["SignedData", () => ({ contentType: der.objectIdentifier(OID.signedData) })],
    ["no content", () => ({ content: new Uint8Array(0) })],
    ["content under another tag", () => ({ content: der.explicit(1, der.sequence()) })],
    ["version 0", () => ({ version: der.integer(0) })],
    ["version 3", () => ({ version: der.integer(3) })],
    ["a version of two bytes", () => ({ version: der.integer(512) })],
    ["a version that is no integer", () => ({ version: der.octetString(Uint8Array.of(2)) })],
    ["no recipient", () => ({ recipients: der.element(0x31) })],
    ["two recipients", () => ({ recipients: der.element(0x31, recipientDer(), recipientDer()) })],
    ["recipients in a sequence", () => ({ recipients: der.sequence(recipientDer()) })],
    ["an empty recipient", () => ({ recipient: der.sequence() })],
    ["a recipient of version 0", () => ({ recipientVersion: der.integer(0) })],
    ["a recipient by issuer and number", () => ({ keyIdentifier: der.sequence(der.integer(1)) })],
    ["RSA without OAEP", () => ({ keyAlgorithm: algorithm(OID.rsaEncryption, der.nothing()) })],
    ["OAEP without parameters, which means SHA-1", () => ({ keyAlgorithm: algorithm(OID.rsaesOaep) })],
    ["OAEP with empty parameters, likewise", () => ({ keyAlgorithm: algorithm(OID.rsaesOaep, der.sequence()) })],
    [
      "OAEP with SHA-1",
      () => ({ keyAlgorithm: oaep(algorithm(OID.sha1, der.nothing()), algorithm(OID.mgf1, sha256)) }),
    ],
    [
      "a mask by SHA-1",
      () => ({ keyAlgorithm: oaep(sha256, algorithm(OID.mgf1, algorithm(OID.sha1, der.nothing()))) }),
    ],
    ["a mask that is not MGF1", () => ({ keyAlgorithm: oaep(sha256, algorithm(OID.sha256, sha256)) })],
    [
      "a label",
      () => ({
        keyAlgorithm: oaep(
          sha256,
          algorithm(OID.mgf1, sha256),
          der.explicit(2, algorithm(OID.pSpecified, der.octetString(Uint8Array.of(1)))),
        ),
      }),
    ],
    [
      "SHA-256 with parameters",
      () => ({ keyAlgorithm: oaep(algorithm(OID.sha256, der.integer(0)), algorithm(OID.mgf1, sha256)) }),
    ],
    ["SHA-256 without NULL", () => ({ keyAlgorithm: oaep(algorithm(OID.sha256), algorithm(OID.mgf1, sha256)) })],
    ["an encrypted key of 255 bytes", () => ({ encryptedKey: der.octetString(new Uint8Array(255)) })],
    ["an encrypted key of 257 bytes", () => ({ encryptedKey: der.octetString(new Uint8Array(257)) })],
    ["content that is not data", () => ({ dataType: der.objectIdentifier(OID.envelopedData) })],
    ["AES-128", () => ({ contentAlgorithm: algorithm(OID.aes128Cbc, der.octetString(IV)) })],
    ["AES-GCM", () => ({ contentAlgorithm: algorithm(OID.aes256Gcm, der.octetString(IV)) })],
    ["no IV", () => ({ contentAlgorithm: algorithm(OID.aes256Cbc) })],
    ["an IV of 12 bytes", () => ({ contentAlgorithm: algorithm(OID.aes256Cbc, der.octetString(new Uint8Array(12))) })],
    ["an IV that is an integer", () => ({ contentAlgorithm: algorithm(OID.aes256Cbc, der.element(2, IV)) })],
    ["no ciphertext", () => ({ ciphertext: new Uint8Array(0) })],
    ["an empty ciphertext", () => ({ ciphertext: der.implicit(0, new Uint8Array(0)) })],
    ["a ciphertext of 17 bytes", () => ({ ciphertext: der.implicit(0, new Uint8Array(17)) })],
    ["a ciphertext under another tag", () => ({ ciphertext: der.octetString(new Uint8Array(48)) })],
    ["a content key of 16 bytes", () => ({ encryptedKey: der.octetString(encryptKey(CONTENT_KEY.subarray(16))) })],
    ["a content key of 33 bytes", () => ({ encryptedKey: der.octetString(encryptKey(Buffer.alloc(33))) })],
    ["a key encrypted under SHA-1", () => ({ encryptedKey: der.octetString(encryptKey(CONTENT_KEY, "sha1")) })],
    [
      "a key encrypted under a label",
      () => ({ encryptedKey: der.octetString(encryptKey(CONTENT_KEY, "sha256", Buffer.from("label"))) }),
    ],
    ["a ciphertext under another content key", () => ({ ciphertext: der.implicit(0, new Uint8Array(48)) })],
    [
      "attributes after the content",
      () => ({ enveloped: der.sequence(...partsOfContent().map(encode), der.element(0xa1)) }),
    ],
  ])("is refused: %s", (_what, parts) => {
    expect(opened(envelope(parts()))).toBe("KMS_REPLY_INVALID");
  });

  test.each<[string, Uint8Array]>([
    ["nothing", new Uint8Array(0)],
    ["a NULL", Uint8Array.of(5, 0)],
    ["an empty sequence", Uint8Array.of(0x30, 0)],
    ["text", Buffer.from("AccessDenied")],
  ])("is refused: %s", (_what, bytes) => {
    expect(opened(bytes)).toBe("KMS_REPLY_INVALID");
  });
});

function encode({ tag, content, children }: BerElement): Uint8Array {
  return (tag & 0x20) === 0 ? der.element(tag, content) : der.element(tag, ...children.map(encode));
}

describe.skipIf(spawnSync("openssl", ["version"]).status !== 0)(
  "OpenSSL (skipped where its command is missing)",
  () => {
    let folder = "";
    beforeAll(() => {
      folder = mkdtempSync(join(tmpdir(), "enclave-cms-"));
    });
    afterAll(() => rmSync(folder, { recursive: true, force: true }));

    function openssl(...options: readonly string[]): void {
      const { status, stderr } = spawnSync("openssl", options, { cwd: folder, timeout: 20_000 });
      if (status !== 0) throw new Error(String(stderr));
    }

    /** KMS writes NULL after SHA-256 where OpenSSL writes nothing (RFC 4055, 2.1 allows both). */
    function withNulls(element: BerElement): BerElement {
      const [first] = element.children;
      const isSha256 = first !== undefined && Buffer.from(encode(first)).equals(der.objectIdentifier(OID.sha256));
      const children = isSha256 ? [first, decodeBer(der.nothing())] : element.children.map(withNulls);
      return { ...element, children };
    }

    test.each([["in DER", []] as const, ["in BER, its content in pieces", ["-stream"]] as const])(
      "what it encrypts %s opens, once it has the NULLs that KMS writes",
      (_what, options) => {
        openssl(
          ...["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=test"],
          ...["-keyout", "key.pem", "-out", "certificate.pem"],
        );
        writeFileSync(join(folder, "plaintext"), PLAINTEXT);
        openssl(
          ...[
            "cms",
            "-encrypt",
            "-binary",
            "-aes-256-cbc",
            "-keyid",
            ...options,
            "-in",
            "plaintext",
            "-outform",
            "DER",
          ],
          ...["-recip", "certificate.pem", "-keyopt", "rsa_padding_mode:oaep", "-keyopt", "rsa_oaep_md:sha256"],
          ...["-out", "envelope"],
        );
        const key = createPrivateKey(readFileSync(join(folder, "key.pem")));
        const made = readFileSync(join(folder, "envelope"));
        expect(opened(encode(withNulls(decodeBer(made))), key)).toEqual(PLAINTEXT);
        expect(opened(made, key)).toBe("KMS_REPLY_INVALID");
      },
    );
  },
);

const OAEP_VECTORS = "rsa_oaep_2048_sha256_mgf1sha256_test";

test.skipIf(isAbsent(OAEP_VECTORS))("C2SP/wycheproof, RSA-OAEP as it is asked of node:crypto here", () => {
  interface Group {
    readonly privateKeyPkcs8: string;
  }
  interface Case extends WycheproofCase {
    readonly ct: string;
    readonly label: string;
  }
  const { numberOfTests, testGroups } = readVectors<Group, Case>(OAEP_VECTORS);
  const counted = { valid: 0, invalid: 0 };
  for (const { privateKeyPkcs8, tests } of testGroups) {
    const key = createPrivateKey({ key: Buffer.from(fromHex(privateKeyPkcs8)), format: "der", type: "pkcs8" });
    for (const { tcId, comment, ct, label, msg, result } of tests) {
      const decrypt = (oaepLabel?: Buffer) => {
        try {
          const padding = constants.RSA_PKCS1_OAEP_PADDING;
          const options = { key, padding, oaepHash: "sha256", ...(oaepLabel && { oaepLabel }) };
          return privateDecrypt(options, fromHex(ct)).toString("hex");
        } catch {
          return null;
        }
      };
      const expected = result === "valid" ? msg : null;
      expect(decrypt(label === "" ? undefined : Buffer.from(label, "hex")), `${tcId}: ${comment}`).toBe(expected);
      // The enclave gives no label, and whatever has one must not open.
      if (label !== "") expect(decrypt()).toBeNull();
      counted[result] += 1;
    }
  }
  expect(counted.valid + counted.invalid).toBe(numberOfTests);
  expect(Math.min(counted.valid, counted.invalid)).toBeGreaterThan(10);
});
