/** The client library in Chromium: keys that no script can carry away, sealed logins, and a page that is loaded again. */
import { existsSync } from "node:fs";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { build } from "esbuild";
import { type Browser, chromium, type Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type * as Library from "../../client/index.ts";
import { type Simulator, startSimulator } from "../../simulator/index.ts";
import { ALLOW_ALL } from "../support/allow-all.ts";
import { AUDIENCE, createApp } from "../support/app.ts";

/** Where Debian puts it. */
const CHROMIUM = process.env["CLOISTER_CHROMIUM"] ?? "/usr/bin/chromium";
const CHROMIUM_ABSENT = !existsSync(CHROMIUM);
if (CHROMIUM_ABSENT) {
  process.stderr.write(
    `skipped: no ${CHROMIUM}; "apt-get install chromium" brings it, or name one in CLOISTER_CHROMIUM\n`,
  );
}

const ARGUMENTS = [
  ...["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"],
  ...["--disable-background-networking", "--disable-component-update", "--disable-sync"],
];

/** What the page is told; plain data crosses into it. */
interface Visit {
  readonly url: string;
  readonly deployment: string;
  readonly appId: string;
  readonly rootHex: string;
  readonly pcr0Hex: string;
  readonly audience: string;
  readonly subject: string;
  readonly tokenUrl: string;
}

interface Outcome {
  readonly sessionId: string;
  readonly userId: string;
  readonly wallets: number;
  readonly tokensAsked: number;
  readonly exported: string;
  readonly stored: readonly string[];
}

describe.skipIf(CHROMIUM_ABSENT)("in Chromium, through a bundle", () => {
  let browser: Browser;
  let server: Server;
  let simulator: Simulator;
  let page: Page;
  let visit: Visit;

  beforeAll(async () => {
    const { outputFiles } = await build({
      ...{ entryPoints: ["client/index.ts"], bundle: true, write: false, platform: "browser", target: "es2024" },
      ...{ format: "iife", globalName: "CloisterClient", conditions: ["cloister-source"] },
    });
    const bundle = outputFiles[0]?.text ?? "";
    simulator = await startSimulator();
    server = createServer((request, response) => {
      const isPage = request.url === "/";
      if (request.url?.startsWith("/token?") === true) return void serveToken(request.url, response);
      response.writeHead(200, { "content-type": isPage ? "text/html" : "text/javascript" });
      response.end(isPage ? '<!doctype html><title>Client</title><script src="/client.js"></script>' : bundle);
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    const { url, deployment, expected } = simulator;
    visit = {
      ...{ url, deployment, audience: AUDIENCE, subject: "browser", tokenUrl: `${origin}/token` },
      appId: await createApp(simulator, await simulator.connect(), { policy: ALLOW_ALL }),
      rootHex: hexOf(expected.roots[0]?.der),
      pcr0Hex: hexOf(expected.pcrs[0]?.get(0)),
    };
    browser = await chromium.launch({ executablePath: CHROMIUM, args: ARGUMENTS });
    page = await browser.newPage();
    await page.goto(`${origin}/`);
  }, 90_000);
  afterAll(async () => {
    await browser?.close();
    server?.close();
    await simulator?.stop();
  });

  async function serveToken(url: string, response: { end: (text: string) => void }): Promise<void> {
    const nonce = new URL(url, "http://x").searchParams.get("nonce") ?? "";
    response.end(await simulator.issuer.mint({ subject: "browser", audience: AUDIENCE, nonce }));
  }

  test("a session logs in sealed, keeps a key that cannot be exported, and goes on after a reload", {
    timeout: 60_000,
  }, async () => {
    const posted: string[] = [];
    page.on("request", (request) => {
      if (request.url().startsWith(simulator.url) && request.method() === "POST")
        posted.push(new URL(request.url()).pathname);
    });
    const first = await logInAndList(page, visit);
    expect(first).toMatchObject({ wallets: 1, tokensAsked: 1, exported: "InvalidAccessError", stored: ["sign"] });
    expect(posted).toEqual(["/v1/sealed", "/v1/create_wallet", "/v1/list_wallets"]);
    await page.reload();
    const second = await logInAndList(page, visit);
    expect(second).toMatchObject({ sessionId: first.sessionId, userId: first.userId, wallets: 2, tokensAsked: 0 });
  });

  test("a wallet's words go in and come out, unread by whoever relays them", { timeout: 60_000 }, async () => {
    expect(await importAndExport(page, visit)).toEqual({
      address: "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266",
      words: "test test test test test test test test test test test junk",
    });
  });
});

function importAndExport(page: Page, visit: Visit): Promise<{ address: string; words: string }> {
  return page.evaluate(async ({ url, deployment, appId, rootHex, pcr0Hex, tokenUrl }) => {
    const library = (globalThis as unknown as { CloisterClient: typeof Library }).CloisterClient;
    const bytes = (hex: string) => Uint8Array.from(hex.match(/../g) ?? [], (pair) => Number.parseInt(pair, 16));
    const client = await library.connect({
      url,
      deployment,
      expected: {
        roots: [{ name: "simulator", der: bytes(rootHex) }],
        pcrs: [new Map([[0, bytes(pcr0Hex)]]) as never],
        manifestDigest: "covered-by-pcrs",
        vaultId: "any",
      },
    });
    const token = async (nonce: string) => (await fetch(`${tokenUrl}?nonce=${nonce}`)).text();
    const session = await library.Session.login(client, { appId, token });
    const secret = new TextEncoder().encode("test test test test test test test test test test test junk");
    const { walletId, accounts } = await session.importWallet({ kind: "hd", secret });
    const exported = await session.exportWallet({ walletId, form: "mnemonic" });
    return { address: accounts[0].address, words: new TextDecoder().decode(exported.secret) };
  }, visit);
}

function hexOf(bytes: Uint8Array | undefined): string {
  return Buffer.from(bytes ?? new Uint8Array(0)).toString("hex");
}

function logInAndList(page: Page, visit: Visit): Promise<Outcome> {
  return page.evaluate(async ({ url, deployment, appId, rootHex, pcr0Hex, tokenUrl }) => {
    const library = (globalThis as unknown as { CloisterClient: typeof Library }).CloisterClient;
    const bytes = (hex: string) => Uint8Array.from(hex.match(/../g) ?? [], (pair) => Number.parseInt(pair, 16));
    const client = await library.connect({
      url,
      deployment,
      expected: {
        roots: [{ name: "simulator", der: bytes(rootHex) }],
        pcrs: [new Map([[0, bytes(pcr0Hex)]]) as never],
        manifestDigest: "covered-by-pcrs",
        vaultId: "any",
      },
    });
    let tokensAsked = 0;
    const store = library.indexedDbStore();
    const session = await library.Session.login(client, {
      appId,
      store,
      token: async (nonce) => {
        tokensAsked += 1;
        return (await fetch(`${tokenUrl}?nonce=${nonce}`)).text();
      },
    });
    await session.createWallet({ kind: "single-key" });
    const { wallets } = await session.listWallets();
    const kept = await store.load();
    if (kept === null) throw new Error("nothing was kept");
    const { privateKey } = kept.pair;
    const exported = await crypto.subtle.exportKey("pkcs8", privateKey).then(
      () => "exported",
      (error: DOMException) => error.name,
    );
    const { sessionId, userId } = session;
    return { sessionId, userId, wallets: wallets.length, tokensAsked, exported, stored: privateKey.usages };
  }, visit);
}
