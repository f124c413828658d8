/** The signature section: AWS's bytes, OpenSSL's verdict, and everything that must not verify. */
import { execFileSync, spawnSync } from "node:child_process";
import {
  chmodSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { decode as cborgDecode } from "cborg";
import { afterAll, describe, expect, test } from "vitest";
import {
  bytesSource,
  createKeyFileSigner,
  describeEif,
  EifError,
  type EifSigner,
  inspectEif,
  inspectEifBytes,
  readEif,
  signEif,
  verifyEifSignature,
  writeEif,
} from "../../eif/index.ts";
import {
  decodeSignatureSection,
  encodeCoseSign1,
  encodePayload,
  encodeSignatureSection,
  toBeSignedFor,
} from "../../eif/signature.ts";
import { image, METADATA, pcr, piece, USUAL } from "./images.ts";
import { AT_MS, type SigningKey, signingKey } from "./signing-keys.ts";

const folder = mkdtempSync(join(tmpdir(), "cloister-eif-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const hex = (bytes: Uint8Array | undefined) => Buffer.from(bytes ?? []).toString("hex");
const fromHex = (text: string) => new Uint8Array(Buffer.from(text, "hex"));
const unsigned = join(folder, "unsigned.eif");
writeFileSync(unsigned, image());
const PCR0 = pcr(...USUAL.filter(({ type }) => type <= 3).map(({ data }) => data));

const signerOf = ({ certificatePem, privateKeyPem }: SigningKey) =>
  createKeyFileSigner(certificatePem, privateKeyPem, AT_MS);
const key = await signingKey();

async function signed(by: SigningKey = key): Promise<string> {
  const out = join(folder, `signed-${readdirSync(folder).length}.eif`);
  await signEif(unsigned, out, signerOf(by));
  return out;
}

describe("bytes that AWS's own types give (nitro.md section 9)", () => {
  test("of the section", () => {
    expect(hex(encodeSignatureSection(fromHex("2d1718ff"), fromHex("8443")))).toBe(
      "81a2737369676e696e675f636572746966696361746584182d17181818ff697369676e61747572658218841843",
    );
  });

  test("of the payload", () => {
    const value = Uint8Array.from({ length: 48 }, (_, at) => at * 5);
    expect(hex(encodePayload(value))).toBe(
      "a26e72656769737465725f696e646578006e72656769737465725f76616c7565983000050a0f141819181e18231828182d18321837183c1841184618" +
        "4b18501855185a185f18641869186e18731878187d18821887188c18911896189b18a018a518aa18af18b418b918be18c318c818cd18d218d718dc18e1" +
        "18e618eb",
    );
  });

  test.each([
    ["ES256", "a10126"],
    ["ES384", "a1013822"],
    ["ES512", "a1013823"],
  ] as const)("of %s's protected header, in what is signed", (algorithm, header) => {
    const length = (0x40 + header.length / 2).toString(16);
    const payload = `a26e72656769737465725f696e646578006e72656769737465725f76616c75659830${"00".repeat(48)}`;
    // array(4), "Signature1", the header, an empty external_aad, 82 bytes of payload.
    expect(hex(toBeSignedFor(new Uint8Array(48), algorithm))).toBe(
      `846a5369676e617475726531${length}${header}405852${payload}`,
    );
  });
});

describe.each([
  ["P-256", "ES256", 64, "sha256"],
  ["P-384", "ES384", 96, "sha384"],
  ["P-521", "ES512", 132, "sha512"],
] as const)("a key on %s", (curve, algorithm, signatureBytes, hash) => {
  test(`signs as ${algorithm}, and the image says so`, async () => {
    const by = await signingKey(curve);
    const path = await signed(by);
    const eif = await readEif(path);
    expect(eif.signature?.algorithm).toBe(algorithm);
    expect(eif.signature?.signature).toHaveLength(signatureBytes);
    expect(eif.signature?.certificatePem).toBe(by.certificatePem);
    const { measurements } = verifyEifSignature(eif, AT_MS);
    expect(measurements).toMatchObject({ PCR0, PCR8: pcr(by.der) });
    expect(eif.sections.map(({ type }) => type).at(-1)).toBe("signature");
  });

  test.skipIf(spawnSync("openssl", ["version"]).status !== 0)(
    "and OpenSSL agrees, over CBOR that another decoder read",
    async () => {
      const by = await signingKey(curve);
      const { signatureBytes: section } = await readEif(await signed(by));
      const [entry] = cborgDecode(section ?? new Uint8Array(), { strict: true }) as [
        { signing_certificate: number[]; signature: number[] },
      ];
      expect(Buffer.from(entry.signing_certificate).toString()).toBe(by.certificatePem);
      const [header, unprotected, payload, signature] = cborgDecode(Uint8Array.from(entry.signature), {
        strict: true,
        useMaps: true,
      }) as [Uint8Array, Map<unknown, unknown>, Uint8Array, Uint8Array];
      expect(unprotected.size).toBe(0);
      expect(cborgDecode(payload)).toEqual({
        register_index: 0,
        register_value: [...Buffer.from(PCR0, "hex")],
      });
      // RFC 9052's Sig_structure, put together anew.
      const bstr = (bytes: Uint8Array) =>
        Buffer.concat([bytes.length < 24 ? Buffer.of(0x40 + bytes.length) : Buffer.of(0x58, bytes.length), bytes]);
      const toBeSigned = Buffer.concat([
        Buffer.from("846a", "hex"),
        Buffer.from("Signature1"),
        bstr(header),
        Buffer.of(0x40),
        bstr(payload),
      ]);
      const half = signature.length / 2;
      const [certificate, message, der] = ["certificate.pem", "message", "signature.der"].map((name) =>
        join(folder, `${curve}-${name}`),
      );
      writeFileSync(certificate ?? "", by.certificatePem);
      writeFileSync(message ?? "", toBeSigned);
      writeFileSync(der ?? "", derSignature(signature.subarray(0, half), signature.subarray(half)));
      const publicKey = execFileSync("openssl", ["x509", "-in", certificate ?? "", "-pubkey", "-noout"]);
      writeFileSync(join(folder, `${curve}-public.pem`), publicKey);
      const judge = (file: string) =>
        spawnSync("openssl", [
          "dgst",
          `-${hash}`,
          "-verify",
          join(folder, `${curve}-public.pem`),
          "-signature",
          der ?? "",
          file,
        ]);
      expect(judge(message ?? "").stdout.toString()).toBe("Verified OK\n");
      writeFileSync(message ?? "", Buffer.concat([toBeSigned, Buffer.of(0)]));
      expect(judge(message ?? "").status).toBe(1);
    },
  );
});

function derSignature(r: Uint8Array, s: Uint8Array): Buffer {
  const integer = (value: Uint8Array) => {
    let from = 0;
    while (value[from] === 0) from += 1;
    const magnitude = Buffer.from(value.subarray(from));
    const body = (magnitude[0] ?? 0) >= 0x80 ? Buffer.concat([Buffer.of(0), magnitude]) : magnitude;
    return Buffer.concat([Buffer.of(2, body.length), body]);
  };
  const body = Buffer.concat([integer(r), integer(s)]);
  return Buffer.concat([
    Buffer.of(0x30),
    body.length < 0x80 ? Buffer.of(body.length) : Buffer.of(0x81, body.length),
    body,
  ]);
}

describe("signing", () => {
  test("while an image is written gives what signing it later gives, but for the signature itself", async () => {
    const out = join(folder, "at-once.eif");
    const source = (text: string) => bytesSource(Buffer.from(text));
    const built = JSON.parse(METADATA) as { BuildMetadata: Record<string, string> };
    const measurements = await writeEif(out, {
      architecture: "x86_64",
      kernel: source("KERNEL"),
      cmdline: "console=ttyS0",
      metadata: {
        imageName: "app",
        imageVersion: "1.0",
        build: {
          time: built.BuildMetadata["BuildTime"] ?? "",
          tool: "nitro-cli",
          toolVersion: "1.4.2",
          operatingSystem: "Linux",
          kernelVersion: "4.14.256",
        },
        dockerInfo: null,
        customMetadata: null,
      },
      ramdisks: [source("ramdisk zero"), source("ramdisk one!")],
      signer: signerOf(key),
    });
    const [atOnce, later] = [await readEif(out), await readEif(await signed())];
    expect(atOnce.measurements).toEqual(measurements);
    expect(later.measurements).toEqual(measurements);
    expect(later.sections.slice(0, 5)).toEqual(atOnce.sections.slice(0, 5));
  });

  test("anew, with a certificate of another size, leaves no old size, count or CRC", async () => {
    const path = await signed();
    const larger = await signingKey("P-521", { name: `CN=${"long ".repeat(40)}` });
    for (const by of [larger, key]) {
      const measurements = await signEif(path, path, signerOf(by));
      const eif = await readEif(path);
      expect(eif.sections.filter(({ type }) => type === "signature")).toHaveLength(1);
      expect(eif.header.sectionCount).toBe(6);
      expect(measurements).toMatchObject({ PCR0, PCR8: pcr(by.der) });
      verifyEifSignature(eif, AT_MS);
    }
  });

  test("mends an image that AWS's sign-eif has signed anew, and one whose signature cannot be read", async () => {
    const { signatureBytes } = await readEif(await signed());
    const stale = join(folder, "stale.eif");
    const pieces = [...USUAL, piece("signature", signatureBytes ?? "")];
    writeFileSync(stale, image(pieces, { patch: (file) => file.setBigUint64(284 + 8 * 5, 7n) }));
    expect((await inspectEif(stale)).problems.map(({ code }) => code)).toEqual(["STALE_SIGNATURE_SIZE"]);
    await signEif(stale, stale, signerOf(key));
    verifyEifSignature(await readEif(stale), AT_MS);
    writeFileSync(stale, image([...USUAL, piece("signature", "nonsense")]));
    await signEif(stale, stale, signerOf(key));
    verifyEifSignature(await readEif(stale), AT_MS);
  });

  test("refuses an image that is broken otherwise, and leaves it as it was", async () => {
    const path = join(folder, "broken.eif");
    const broken = image(USUAL, { trailing: new Uint8Array(3) });
    writeFileSync(path, broken);
    await expect(signEif(path, path, signerOf(key))).rejects.toMatchObject({ code: "TRAILING_BYTES" });
    expect(readFileSync(path).equals(broken)).toBe(true);
  });

  test("refuses an image that has no room for a signature, and leaves it as it was", async () => {
    const path = join(folder, "full.eif");
    const ramdisks = (count: number) => Array.from({ length: count }, () => piece("ramdisk", "more"));
    const full = image([...USUAL, ...ramdisks(27)]);
    writeFileSync(path, full);
    const before = readdirSync(folder);
    await readEif(path);
    await expect(signEif(path, path, signerOf(key))).rejects.toMatchObject({ code: "TOO_MANY_SECTIONS" });
    expect(readFileSync(path).equals(full)).toBe(true);
    expect(readdirSync(folder)).toEqual(before);
    // The signature may be the 32nd, and is replaced there.
    writeFileSync(path, image([...USUAL, ...ramdisks(26)]));
    for (let round = 0; round < 2; round += 1) await signEif(path, path, signerOf(key));
    expect((await readEif(path)).sections).toHaveLength(32);
  });

  test("in place keeps the mode of the file", async () => {
    const path = await signed();
    chmodSync(path, 0o600);
    await signEif(path, path, signerOf(key));
    expect(statSync(path).mode & 0o777).toBe(0o600);
  });

  test("refuses version 2, which had no signature", async () => {
    const path = join(folder, "old.eif");
    writeFileSync(
      path,
      image(
        USUAL.filter(({ type }) => type !== 5),
        { version: 2 },
      ),
    );
    await expect(signEif(path, path, signerOf(key))).rejects.toMatchObject({ code: "UNSUPPORTED_VERSION" });
  });

  test("keeps version, flags and defaults of what it signs", async () => {
    const path = join(folder, "three.eif");
    writeFileSync(
      path,
      image(
        USUAL.filter(({ type }) => type !== 5),
        { version: 3, flags: 1 },
      ),
    );
    await signEif(path, path, signerOf(key));
    const { header } = await readEif(path);
    expect(header).toMatchObject({ version: 3, flags: 1, defaultMemoryBytes: 1073741824n, defaultCpus: 2n });
  });

  test("refuses what another key has signed, and leaves no file behind", async () => {
    const other = await signingKey();
    const lying: EifSigner = { ...signerOf(other), certificatePem: key.certificatePem };
    const before = readdirSync(folder);
    const out = join(folder, "lying.eif");
    await expect(signEif(unsigned, out, lying)).rejects.toMatchObject({ code: "CERTIFICATE_KEY_MISMATCH" });
    expect(readdirSync(folder)).toEqual(before);
  });

  test("refuses certificates that do not fit into the section", async () => {
    const signer = { ...signerOf(key), certificatePem: `${key.certificatePem}${"# a comment\n".repeat(3000)}` };
    await expect(signEif(unsigned, join(folder, "x.eif"), signer)).rejects.toMatchObject({
      code: "SIGNATURE_TOO_LARGE",
    });
  });
});

describe("a signer of key files refuses", () => {
  const code = (work: () => unknown) => {
    try {
      work();
      return "nothing";
    } catch (error) {
      if (error instanceof EifError) return error.code;
      throw error;
    }
  };

  test("what is no certificate, and no key", () => {
    expect(code(() => createKeyFileSigner("", key.privateKeyPem, AT_MS))).toBe("CERTIFICATE_MALFORMED");
    const garbled = key.certificatePem.replace(/MI/, "AA");
    expect(code(() => createKeyFileSigner(garbled, key.privateKeyPem, AT_MS))).toBe("CERTIFICATE_MALFORMED");
    expect(code(() => createKeyFileSigner(key.certificatePem, "key", AT_MS))).toBe("PRIVATE_KEY_UNREADABLE");
  });

  test("another certificate's key, RSA keys, and certificates before and after their time", async () => {
    const [other, rsa] = [await signingKey(), await signingKey("RSA")];
    expect(code(() => createKeyFileSigner(key.certificatePem, other.privateKeyPem, AT_MS))).toBe(
      "CERTIFICATE_KEY_MISMATCH",
    );
    expect(code(() => signerOf(rsa))).toBe("CERTIFICATE_KEY_NOT_EC");
    const [early, late] = [
      await signingKey("P-256", { notBeforeMs: AT_MS + 1000 }),
      await signingKey("P-256", { notAfterMs: AT_MS - 1000 }),
    ];
    expect(code(() => signerOf(early))).toBe("CERTIFICATE_NOT_YET_VALID");
    expect(code(() => signerOf(late))).toBe("CERTIFICATE_EXPIRED");
  });
});

describe("verification refuses", () => {
  async function refusal(pieces: Parameters<typeof image>[0], atMs = AT_MS): Promise<string> {
    try {
      verifyEifSignature(await inspectEifBytes(image(pieces)), atMs);
      return "nothing";
    } catch (error) {
      if (error instanceof EifError) return error.code;
      throw error;
    }
  }
  const section = async (register = Buffer.from(PCR0, "hex"), by = key, certificatePem = by.certificatePem) => {
    const signature = await signerOf(by).sign(toBeSignedFor(register, "ES384"));
    return piece(
      "signature",
      encodeSignatureSection(Buffer.from(certificatePem), encodeCoseSign1(register, "ES384", signature)),
    );
  };

  test("nothing of an image that is in order", async () => {
    expect(await refusal([...USUAL, await section()])).toBe("nothing");
  });

  test("an image without a signature", async () => {
    expect(await refusal(USUAL)).toBe("NOT_SIGNED");
  });

  test("a signature over another image's PCR0", async () => {
    expect(await refusal([...USUAL.slice(0, 4), piece("ramdisk", "another"), await section()])).toBe(
      "SIGNED_PCR0_MISMATCH",
    );
  });

  test("a signature over another register", async () => {
    const payload = Buffer.from(encodePayload(Buffer.from(PCR0, "hex")));
    payload[payload.indexOf("register_index") + "register_index".length] = 8;
    const cose = Buffer.from(encodeCoseSign1(Buffer.from(PCR0, "hex"), "ES384", new Uint8Array(96)));
    const changed = Buffer.concat([
      cose.subarray(0, cose.indexOf(payload.subarray(0, 16))),
      payload,
      cose.subarray(-98),
    ]);
    const decoded = decodeSignatureSection(encodeSignatureSection(Buffer.from(key.certificatePem), changed));
    const signature = await signerOf(key).sign(decoded.toBeSigned);
    const whole = Buffer.concat([changed.subarray(0, -96), signature]);
    expect(
      await refusal([...USUAL, piece("signature", encodeSignatureSection(Buffer.from(key.certificatePem), whole))]),
    ).toBe("SIGNED_PCR0_MISMATCH");
  });

  test("a signature by another key than the certificate's", async () => {
    const other = await signingKey();
    expect(await refusal([...USUAL, await section(Buffer.from(PCR0, "hex"), other, key.certificatePem)])).toBe(
      "SIGNATURE_INVALID",
    );
  });

  test("a certificate on another curve than the algorithm's, and one of an RSA key", async () => {
    for (const other of [await signingKey("P-256"), await signingKey("RSA")]) {
      expect(await refusal([...USUAL, await section(Buffer.from(PCR0, "hex"), key, other.certificatePem)])).toBe(
        "SIGNATURE_INVALID",
      );
    }
  });

  test("a certificate outside its time, at the second", async () => {
    const pieces = [...USUAL, await section()];
    const [from, to] = [AT_MS - 86_400_000, AT_MS + 86_400_000];
    expect(await refusal(pieces, from - 1)).toBe("CERTIFICATE_NOT_YET_VALID");
    expect(await refusal(pieces, from)).toBe("nothing");
    expect(await refusal(pieces, to)).toBe("nothing");
    expect(await refusal(pieces, to + 1)).toBe("CERTIFICATE_EXPIRED");
  });

  test("what is no certificate", async () => {
    expect(await refusal([...USUAL, await section(Buffer.from(PCR0, "hex"), key, "no certificate")])).toBe(
      "CERTIFICATE_MALFORMED",
    );
  });

  test("every signature with one bit changed", async () => {
    const bytes = Buffer.from((await section()).data);
    // The signature's own bytes are the last 96 integers; those above 23 take two bytes, so only values are touched.
    const { signature } = decodeSignatureSection(bytes);
    for (let at = 0; at < signature.length; at += 5) {
      const changed = signature.with(at, (signature[at] ?? 0) ^ 1);
      const cose = encodeCoseSign1(Buffer.from(PCR0, "hex"), "ES384", changed);
      expect(
        await refusal([...USUAL, piece("signature", encodeSignatureSection(Buffer.from(key.certificatePem), cose))]),
      ).toBe("SIGNATURE_INVALID");
    }
  });
});

describe("a signature section is malformed", () => {
  const cose = encodeCoseSign1(new Uint8Array(48), "ES384", new Uint8Array(96));
  const good = encodeSignatureSection(Buffer.from("pem"), cose);
  const inner = (bytes: Uint8Array) => encodeSignatureSection(Buffer.from("pem"), bytes);
  const coseHex = hex(cose);

  test("never as we write it", () => {
    expect(decodeSignatureSection(good)).toMatchObject({ algorithm: "ES384", registerIndex: 0, certificatePem: "pem" });
  });

  test("cut off anywhere, or with a byte more", () => {
    for (let length = 0; length < good.length; length += 1) {
      expect(() => decodeSignatureSection(good.subarray(0, length)), `${length}`).toThrow(EifError);
    }
    expect(() => decodeSignatureSection(new Uint8Array([...good, 0]))).toThrow("more bytes");
  });

  test.each([
    [
      "byte strings, which AWS's types refuse",
      fromHex("81a2737369676e696e675f63657274696669636174654101697369676e61747572654102"),
    ],
    ["no signature in the list", fromHex("80")],
    ["two signatures in the list", fromHex(`82${hex(good).slice(2)}${hex(good).slice(2)}`)],
    ["keys in another order", fromHex("81a2697369676e617475726580737369676e696e675f636572746966696361746580")],
    ["a list of indefinite length", fromHex(`9f${hex(good).slice(2)}ff`)],
    ["a head that is longer than it needs to be", fromHex(`9801${hex(good).slice(2)}`)],
    ["an integer above 255", fromHex("81a2737369676e696e675f6365727469666963617465811901ff697369676e617475726580")],
    ["a count that no bytes follow", fromHex("81a2737369676e696e675f636572746966696361746599ffff")],
    ["a COSE_Sign1 of three items", inner(fromHex(`83${coseHex.slice(2)}`))],
    ["a tagged COSE_Sign1", inner(fromHex(`d2${coseHex}`))],
    ["an unprotected header", inner(fromHex(coseHex.replace("44a1013822a0", "44a1013822a10126")))],
    ["another algorithm", inner(fromHex(coseHex.replace("44a1013822", "44a1013827")))],
    ["two entries in the protected header", inner(fromHex(coseHex.replace("44a1013822", "46a20138220400")))],
    [
      "the signature size of another algorithm",
      inner(encodeCoseSign1(new Uint8Array(48), "ES384", new Uint8Array(64))),
    ],
    ["a register of 47 bytes", inner(encodeCoseSign1(new Uint8Array(47), "ES384", new Uint8Array(96)))],
  ])("with %s", (_, bytes) => {
    expect(() => decodeSignatureSection(bytes)).toThrow(
      expect.objectContaining({ code: "SIGNATURE_MALFORMED" }) as Error,
    );
  });
});

describe("describe-eif's fields of a signed image", () => {
  test("come in its order, with the certificate's as OpenSSL names them", async () => {
    const described = describeEif(await inspectEif(await signed()));
    expect(Object.keys(described)).toEqual([
      "EifVersion",
      "Measurements",
      "IsSigned",
      "SigningCertificate",
      "CheckCRC",
      "SignatureCheck",
      "ImageName",
      "ImageVersion",
      "Metadata",
    ]);
    expect(described.SignatureCheck).toBe(true);
    expect(described.SigningCertificate).toMatchObject({
      IssuerName: { commonName: "signer", countryName: "US", organizationName: "Test" },
      Algorithm: "ecdsa-with-SHA384",
      NotBefore: "May 31 00:00:00 2026 GMT",
      NotAfter: "Jun  2 00:00:00 2026 GMT",
    });
    const signature = Buffer.from(described.SigningCertificate?.Signature.replaceAll(":", "") ?? "", "hex");
    expect(Buffer.from(key.der).includes(signature)).toBe(true);
    expect(signature.length).toBeGreaterThan(96);
    expect(Buffer.from(key.der).subarray(-signature.length).equals(signature)).toBe(true);
  });
});

const VECTORS = join(process.env["CLOISTER_VECTORS"] ?? "../shared/vectors", "eif-signature-cbor-known-answers.txt");
test.skipIf(!existsSync(VECTORS))("AWS's known answers, read from their file", () => {
  const text = readFileSync(VECTORS, "utf8");
  const [, payload = ""] = /PcrInfo payload: ([0-9a-f]+)/.exec(text) ?? [];
  expect(hex(encodePayload(Uint8Array.from({ length: 48 }, (_, at) => at * 5)))).toBe(payload);
  const [, byteStrings = ""] = /byte-string variant ([0-9a-f]+)/.exec(text) ?? [];
  expect(byteStrings).not.toBe("");
  expect(() => decodeSignatureSection(fromHex(byteStrings))).toThrow(EifError);
});
