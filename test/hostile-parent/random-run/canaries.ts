/**
 * Looks for secrets in what was seen, in every form in which software is likely to spill one: raw, hex, base64 at any
 * alignment, base64url, a list of bytes, a decimal number, words of a mnemonic.
 */

/** Halves are looked for too, because a log cuts its values; shorter ones would be met by chance. */
const HALF_BYTES = 16;
const KEY_BYTES = 4;

interface Needle {
  readonly name: string;
  readonly form: string;
  readonly bytes: Buffer;
}

export interface Finding {
  readonly name: string;
  readonly form: string;
  readonly where: string;
}

export class Canaries {
  readonly #byStart = new Map<number, Needle[]>();
  /** One bit for each hash of a needle's first bytes: most of what is looked through ends here. */
  readonly #mayStart = new Uint8Array(2 ** 21);
  #count = 0;

  /** Secrets, not needles. */
  get count(): number {
    return this.#count;
  }

  /** @param secret - At least 16 bytes. */
  addBytes(name: string, secret: Uint8Array): void {
    if (secret.length < HALF_BYTES) throw new Error(`${name}: ${secret.length} bytes could be met by chance`);
    this.#count += 1;
    const halves = [secret.subarray(0, HALF_BYTES), secret.subarray(-HALF_BYTES)];
    for (const half of new Set(halves.map((bytes) => Buffer.from(bytes).toString("hex")))) {
      for (const [form, bytes] of formsOf(Buffer.from(half, "hex"))) this.#add({ name, form, bytes });
    }
    const number = BigInt(`0x${Buffer.from(secret).toString("hex")}`).toString();
    if (number.length >= HALF_BYTES) this.#add({ name, form: "decimal", bytes: Buffer.from(number) });
  }

  /** A secret that is text already, such as a token. */
  addText(name: string, text: string): void {
    this.#count += 1;
    const bytes = Buffer.from(text);
    for (const [form, needle] of [["text", bytes] as const, ...formsOf(bytes).filter(([form]) => form !== "raw")]) {
      this.#add({ name, form, bytes: needle });
    }
  }

  search(where: string, haystack: Uint8Array): Finding[] {
    const findings: Finding[] = [];
    let start = 0;
    for (let at = 0; at < haystack.length; at += 1) {
      start = ((start << 8) | (haystack[at] ?? 0)) >>> 0;
      const hash = hashOf(start);
      if (at < KEY_BYTES - 1 || ((this.#mayStart[hash >>> 3] ?? 0) & (1 << (hash & 7))) === 0) continue;
      const from = at - KEY_BYTES + 1;
      for (const { name, form, bytes } of this.#byStart.get(start) ?? []) {
        if (bytes.equals(haystack.subarray(from, from + bytes.length))) findings.push({ name, form, where });
      }
    }
    return findings;
  }

  #add(needle: Needle): void {
    const start = needle.bytes.readUInt32BE(0);
    const hash = hashOf(start);
    this.#mayStart[hash >>> 3] = (this.#mayStart[hash >>> 3] ?? 0) | (1 << (hash & 7));
    this.#byStart.set(start, [...(this.#byStart.get(start) ?? []), needle]);
  }
}

/** 24 bits. */
function hashOf(start: number): number {
  return Math.imul(start, 0x9e37_79b1) >>> 8;
}

function formsOf(secret: Buffer): (readonly [form: string, bytes: Buffer])[] {
  const hex = secret.toString("hex");
  return [
    ["raw", secret],
    ["reversed", Buffer.from(secret).reverse()],
    ["hex", Buffer.from(hex)],
    ["hex", Buffer.from(hex.toUpperCase())],
    ["bytes as numbers", Buffer.from([...secret].join(","))],
    ...[0, 1, 2].flatMap((lead) => {
      // What stands before and after shares characters with the secret's edges; the characters between are its own.
      const encoded = Buffer.concat([Buffer.alloc(lead), secret]).toString("base64");
      const own = encoded.slice(lead === 0 ? 0 : lead + 1, Math.floor(((lead + secret.length) * 8) / 6));
      return [
        ["base64", Buffer.from(own)] as const,
        ["base64url", Buffer.from(own.replaceAll("+", "-").replaceAll("/", "_"))] as const,
      ];
    }),
  ];
}
