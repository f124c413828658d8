import { readFileSync } from "node:fs";
import type { Server } from "node:http";
import type { Browser, Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type * as Attestation from "../../attestation/index.ts";
import { bundleAttestation } from "../../scripts/size.ts";
import { CHROMIUM_ABSENT, launchChromium, serve } from "../support/chromium.ts";
import { forge } from "./forge.ts";
import { GENUINE, ownTime, VECTORS_ABSENT } from "./genuine.ts";
import { ACCEPTED, REFUSED } from "./negative-corpus.ts";

const EXAMPLE = "examples/verify-in-browser/";

/** One document as it crosses into the page. */
interface Visit {
  readonly name: string;
  readonly documentHex: string;
  readonly rootHex: string | null;
  readonly atMs: number;
  readonly allowDebug: boolean;
  readonly expected: string;
}

describe.skipIf(CHROMIUM_ABSENT)("in Chromium, through the bundle", () => {
  let browser: Browser;
  let server: Server;
  let page: Page;
  let origin: string;

  beforeAll(async () => {
    const bundle = await bundleAttestation();
    ({ server, origin } = await serve((path) =>
      path === "/dist/browser/attestation.js" ? bundle : exampleFile(path),
    ));
    browser = await launchChromium();
    page = await browser.newPage();
    await page.goto(`${origin}/${EXAMPLE}index.html`);
  }, 60_000);

  afterAll(async () => {
    await browser?.close();
    server?.close();
  });

  test.skipIf(VECTORS_ABSENT)(
    "genuine documents verify at their own time, and not changed, late or under debug mode",
    async () => {
      const visits = GENUINE.flatMap((genuine): Visit[] => {
        const { timestampMs: atMs, debug } = genuine;
        const bytes = genuine.read();
        const flipped = bytes.with(bytes.length - 1, (bytes.at(-1) ?? 0) ^ 1);
        const base = { documentHex: hexOf(bytes), rootHex: null, atMs, allowDebug: debug };
        expect(ownTime(genuine).atMs).toBe(atMs);
        return [
          { ...base, name: genuine.name, expected: "verified" },
          { ...base, name: "flipped", documentHex: hexOf(flipped), expected: "SIGNATURE_INVALID" },
          { ...base, name: "late", atMs: atMs + 4 * 3_600_000, expected: "CERTIFICATE_EXPIRED" },
          { ...base, name: "debug", allowDebug: false, expected: debug ? "DEBUG_MODE" : "verified" },
        ];
      });
      expect(await visit(page, visits)).toEqual(visits.map(({ name, expected }) => `${name}: ${expected}`));
    },
  );

  test("the negative corpus gets the same codes", { timeout: 120_000 }, async () => {
    const cases = [
      ...ACCEPTED.map(([name, forgery]) => ({ name, forgery, expected: "verified" })),
      ...REFUSED.flat().map(([name, code, forgery]) => ({ name, forgery, expected: code })),
    ];
    const visits = cases.map(({ name, forgery, expected }): Visit => {
      const forged = forge(forgery);
      const [root] = forged.expected.roots;
      const atMs = typeof forged.expected.atMs === "number" ? forged.expected.atMs : 0;
      const hex = { documentHex: hexOf(forged.bytes), rootHex: hexOf(root?.der ?? new Uint8Array()) };
      return { name, ...hex, atMs, allowDebug: false, expected };
    });
    expect(visits.length).toBeGreaterThan(150);
    expect(await visit(page, visits)).toEqual(visits.map(({ name, expected }) => `${name}: ${expected}`));
  });

  test.skipIf(VECTORS_ABSENT)("the example page verifies what is pasted, and says why it does not", async () => {
    const genuine = GENUINE.at(-1);
    if (genuine === undefined) throw new Error("no document");
    await page.goto(`${origin}/${EXAMPLE}index.html`);
    await page.fill("#document", Buffer.from(genuine.read()).toString("base64"));
    await page.click("button");
    await page.waitForSelector("#answer.refused");
    expect(await page.textContent("#answer")).toContain("CERTIFICATE_EXPIRED (step 5)");
    await page.check("input[value=document]");
    await page.click("button");
    await page.waitForSelector("#answer.verified");
    expect(await page.textContent("#answer")).toContain("i-02447a481344e9ec0-enc0199546b533fd5d0");
    await page.fill("#pcr0", "11".repeat(48));
    await page.click("button");
    await page.waitForSelector("#answer.refused");
    expect(await page.textContent("#answer")).toContain("PCR_MISMATCH (step 9)");
  });
});

function exampleFile(path: string): string | null {
  return [`/${EXAMPLE}index.html`, `/${EXAMPLE}verify.js`].includes(path) ? readFileSync(`.${path}`, "utf8") : null;
}

/** Verifies in the page; gives each document's name and how it ended. */
async function visit(page: Page, visits: readonly Visit[]): Promise<readonly string[]> {
  return page.evaluate(async (all) => {
    const bundle = (globalThis as unknown as { CloisterAttestation: typeof Attestation }).CloisterAttestation;
    const bytes = (hex: string) => Uint8Array.from(hex.match(/../g) ?? [], (pair) => Number.parseInt(pair, 16));
    const results: string[] = [];
    for (const { name, documentHex, rootHex, atMs, allowDebug } of all) {
      const roots = [rootHex === null ? bundle.AWS_NITRO_ROOT_G1 : { name: "test", der: bytes(rootHex) }];
      const expected = { roots, atMs, nonce: "unchecked", pcrs: "unchecked", maxAgeMs: 60_000, allowDebug } as const;
      results.push(
        await bundle.verifyAttestation(bytes(documentHex), expected).then(
          () => `${name}: verified`,
          (error: unknown) => `${name}: ${error instanceof bundle.AttestationError ? error.code : String(error)}`,
        ),
      );
    }
    return results;
  }, visits);
}

function hexOf(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString("hex");
}
