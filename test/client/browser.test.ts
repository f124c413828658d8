/** The client library in Chromium: keys that no script can carry away, sealed logins, and a page that is loaded again. */
import type { Server } from "node:http";
import type { Browser, Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type Simulator, startSimulator } from "../../simulator/index.ts";
import { ALLOW_ALL } from "../support/allow-all.ts";
import { createApp } from "../support/app.ts";
import { bundleClient, CHROMIUM_ABSENT, launchChromium, serveScript } from "../support/chromium.ts";
import { newClientPage, type PageGlobal, type World, worldOf } from "../support/client-page.ts";

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
  let world: World;

  beforeAll(async () => {
    const served = await serveScript(await bundleClient());
    server = served.server;
    simulator = await startSimulator();
    world = worldOf(simulator, await createApp(simulator, await simulator.connect(), { policy: ALLOW_ALL }));
    browser = await launchChromium();
    page = await newClientPage(await browser.newContext(), simulator, "browser");
    await page.goto(served.origin);
  }, 90_000);
  afterAll(async () => {
    await browser?.close();
    server?.close();
    await simulator?.stop();
  });

  test("a session logs in sealed, keeps a key that cannot be exported, and goes on after a reload", {
    timeout: 60_000,
  }, async () => {
    const posted: string[] = [];
    page.on("request", (request) => {
      if (request.url().startsWith(simulator.url) && request.method() === "POST")
        posted.push(new URL(request.url()).pathname);
    });
    const first = await logInAndList(page, world);
    expect(first).toMatchObject({ wallets: 1, tokensAsked: 1, exported: "InvalidAccessError", stored: ["sign"] });
    expect(posted).toEqual(["/v1/sealed", "/v1/create_wallet", "/v1/list_wallets"]);
    await page.reload();
    const second = await logInAndList(page, world);
    expect(second).toMatchObject({ sessionId: first.sessionId, userId: first.userId, wallets: 2, tokensAsked: 0 });
  });

  test("a wallet's words go in and come out, unread by whoever relays them", { timeout: 60_000 }, async () => {
    expect(await importAndExport(page, world)).toEqual({
      address: "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266",
      words: "test test test test test test test test test test test junk",
    });
  });

  test("a split wallet's share outlives a reload, its key cannot leave, and a recovery file opens", {
    timeout: 60_000,
  }, async () => {
    const made = await splitWallet(page, world, null);
    await page.reload();
    const again = await splitWallet(page, world, made.walletId);
    expect(again).toMatchObject({ walletId: made.walletId, exported: "InvalidAccessError", shareLength: 198 });
    expect(again.signature).toBe(made.signature);
    expect(made.recoveryLength).toBe(198);
  });
});

interface SplitOutcome {
  readonly walletId: string;
  readonly signature: string;
  readonly exported: string;
  /** Of a wallet of twelve words: 67 + 16 + 64 + 1 bytes, in base64url. */
  readonly shareLength: number;
  readonly recoveryLength: number;
}

/** @param made - The wallet of a visit before. */
function splitWallet(page: Page, world: World, made: string | null): Promise<SplitOutcome> {
  return page.evaluate(
    async ({ made, ...world }) => {
      const { CloisterClient: library, connectTo, mint } = globalThis as PageGlobal;
      const client = await connectTo(world);
      const session = await library.Session.login(client, { appId: world.appId, token: mint });
      const store = library.indexedDbDeviceStore();
      const custody = session.custody(store);
      const opener = { kind: "passphrase", passphrase: "correct horse battery" } as const;
      const shared = made === null ? await custody.createWallet({ kind: "hd" }, opener) : null;
      const walletId = made ?? shared?.wallet.walletId ?? "";
      const { signature } = await custody.call("sign_message", { walletId, message: "0x68656c6c6f" });
      const kept = await store.load(walletId);
      if (kept === null) throw new Error("nothing was kept");
      const exported = await crypto.subtle.exportKey("jwk", kept.pair.privateKey).then(
        () => "exported",
        (error: DOMException) => error.name,
      );
      const recovery = shared === null ? "" : await library.openRecoveryFile(shared.recoveryFile, opener);
      const shareLength = (await custody.shareOf(walletId)).length;
      return { walletId, signature, exported, shareLength, recoveryLength: recovery.length };
    },
    { ...world, made },
  );
}

function importAndExport(page: Page, world: World): Promise<{ address: string; words: string }> {
  return page.evaluate(async (world) => {
    const { CloisterClient: library, connectTo, mint } = globalThis as PageGlobal;
    const client = await connectTo(world);
    const session = await library.Session.login(client, { appId: world.appId, token: mint });
    const secret = new TextEncoder().encode("test test test test test test test test test test test junk");
    const { walletId, accounts } = await session.importWallet({ kind: "hd", secret });
    const exported = await session.exportWallet({ walletId, form: "mnemonic" });
    return { address: accounts[0].address, words: new TextDecoder().decode(exported.secret) };
  }, world);
}

function logInAndList(page: Page, world: World): Promise<Outcome> {
  return page.evaluate(async (world) => {
    const { CloisterClient: library, connectTo, mint } = globalThis as PageGlobal;
    const client = await connectTo(world);
    let tokensAsked = 0;
    const store = library.indexedDbStore();
    const session = await library.Session.login(client, {
      appId: world.appId,
      store,
      token: (nonce) => {
        tokensAsked += 1;
        return mint(nonce);
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
  }, world);
}
