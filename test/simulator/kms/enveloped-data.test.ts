import { spawnSync } from "node:child_process";
import { generateKeyPairSync } from "node:crypto";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { sealEnvelope } from "../../../simulator/kms/index.ts";
import { hasOpenssl } from "./openssl.ts";

const VECTORS = join(process.env["CLOISTER_VECTORS"] ?? "../shared/vectors", "kms");
const { publicKey, privateKey } = generateKeyPairSync("rsa", { modulusLength: 2048 });
const SHAPES = ["constructed", "primitive"] as const;

/** Every identifier and length octet in order, and the content of whatever holds no key, IV or ciphertext. */
function skeletonOf(ber: Uint8Array): string[] {
  const lines: string[] = [];
  let at = 0;
  const walk = (end: number | null, depth: number): void => {
    while (end === null || at < end) {
      const tag = ber[at] ?? -1;
      const first = ber[at + 1] ?? -1;
      if (tag < 0 || first < 0) throw new Error("the skeleton's bytes end too early");
      if (end === null && tag === 0 && first === 0) {
        lines.push(`${"  ".repeat(depth)}end-of-contents`);
        at += 2;
        return;
      }
      const more = first > 0x80 ? first & 0x7f : 0;
      const length = first === 0x80 ? null : more === 0 ? first : Buffer.from(ber).readUIntBE(at + 2, more);
      const head = Buffer.from(ber.subarray(at, at + 2 + more)).toString("hex");
      at += 2 + more;
      const fixed = tag === 0x02 || tag === 0x06 || tag === 0x05;
      const content = fixed && length !== null ? Buffer.from(ber.subarray(at, at + length)).toString("hex") : "";
      lines.push(`${"  ".repeat(depth)}${head} ${content}`.trimEnd());
      if ((tag & 0x20) !== 0) walk(length === null ? null : at + length, depth + 1);
      else at += length ?? 0;
    }
  };
  walk(ber.length, 0);
  return lines;
}

describe("against genuine captures of AWS KMS (skipped where the vectors are absent)", () => {
  // The plaintext's size is chosen so that the content has as many blocks as the capture's.
  test.skipIf(!existsSync(VECTORS)).each([
    ["constructed", 32, 493],
    ["primitive", 0, 457],
  ] as const)("%s: the same tags and lengths, octet for octet", (shape, plaintextBytes, size) => {
    const genuine = readFileSync(join(VECTORS, `ciphertext-for-recipient-${shape}.ber`));
    const ours = sealEnvelope(publicKey, new Uint8Array(plaintextBytes), shape);
    expect(genuine.length).toBe(size);
    expect(skeletonOf(ours)).toEqual(skeletonOf(genuine));
    expect(ours.length).toBe(genuine.length);
    expect(Buffer.from(ours).equals(genuine)).toBe(false);
  });
});

test("content over 1000 bytes comes in several octet strings", () => {
  const skeleton = skeletonOf(sealEnvelope(publicKey, new Uint8Array(2500), "constructed"));
  expect(skeleton.filter((line) => /^ +0482(03e8|0200)$/.test(line)).map((line) => line.trim())).toEqual([
    "048203e8",
    "048203e8",
    "04820200",
  ]);
});

test("nothing is used twice", () => {
  const [one, two] = [0, 1].map(() => sealEnvelope(publicKey, new Uint8Array(32), "primitive"));
  expect(one).not.toEqual(two);
});

describe.skipIf(!hasOpenssl)("openssl (skipped where its command is missing)", () => {
  let folder = "";
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), "kms-cms-"));
    writeFileSync(join(folder, "key.pem"), privateKey.export({ type: "pkcs8", format: "pem" }), { mode: 0o600 });
  });
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  function open(ber: Uint8Array): { ok: boolean; plaintext: Buffer } {
    const file = join(folder, "envelope.ber");
    writeFileSync(file, ber);
    const { status, stdout } = spawnSync("openssl", [
      ...["cms", "-decrypt", "-binary", "-inform", "DER", "-in", file, "-inkey", join(folder, "key.pem")],
    ]);
    return { ok: status === 0, plaintext: stdout };
  }

  test.each(SHAPES.flatMap((shape) => [0, 1, 15, 16, 32, 1000, 4096].map((size) => [shape, size] as const)))(
    "opens %s content of %d bytes",
    (shape, size) => {
      const plaintext = Buffer.alloc(size, 0xa5);
      expect(open(sealEnvelope(publicKey, plaintext, shape))).toEqual({ ok: true, plaintext });
    },
  );

  test("does not open what was sealed to another key", () => {
    const stranger = generateKeyPairSync("rsa", { modulusLength: 2048 });
    const plaintext = Buffer.alloc(32, 0xa5);
    const opened = open(sealEnvelope(stranger.publicKey, plaintext, "primitive"));
    expect(opened.ok && opened.plaintext.equals(plaintext)).toBe(false);
  });
});
