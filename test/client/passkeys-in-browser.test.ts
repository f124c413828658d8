/** Passkeys as a browser makes them: Chromium's own virtual authenticator is the judge of ours, and the enclave of it. */
import type { Server } from "node:http";
import type { Browser, CDPSession, Page } from "playwright-core";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { type Simulator, startSimulator } from "../../simulator/index.ts";
import { createApp } from "../support/app.ts";
import { bundleClient, CHROMIUM_ABSENT, launchChromium, serveScript } from "../support/chromium.ts";
import { newClientPage, type PageGlobal, type World, worldOf } from "../support/client-page.ts";

describe.skipIf(CHROMIUM_ABSENT)("in Chromium", () => {
  let simulator: Simulator;
  let browser: Browser;
  let page: Page;
  let devtools: CDPSession;
  let authenticatorId: string;
  let servers: Server[];
  let origin: string;
  let otherOrigin: string;
  let world: World;

  beforeAll(async () => {
    const script = await bundleClient();
    const [own, other] = [await serveScript(script), await serveScript(script)];
    servers = [own.server, other.server];
    origin = own.origin;
    otherOrigin = other.origin;
    simulator = await startSimulator();
    const client = await simulator.connect();
    const passkeys = { rpId: "localhost", origins: [origin], topOrigins: [], operations: null };
    const appId = await createApp(simulator, client, { passkeys });
    world = worldOf(simulator, appId);
    browser = await launchChromium();
  }, 120_000);

  afterAll(async () => {
    await browser?.close();
    for (const server of servers ?? []) server.close();
    await simulator?.stop();
  });

  beforeEach(async () => {
    const context = await browser.newContext();
    page = await newClientPage(context, simulator, `alice-${Math.random()}`);
    devtools = await context.newCDPSession(page);
    await devtools.send("WebAuthn.enable");
    const options = {
      protocol: "ctap2",
      transport: "internal",
      hasResidentKey: true,
      hasUserVerification: true,
    } as const;
    const added = await devtools.send("WebAuthn.addVirtualAuthenticator", {
      options: { ...options, isUserVerified: true, automaticPresenceSimulation: true },
    });
    authenticatorId = added.authenticatorId;
    await page.goto(origin);
    return () => context.close();
  });

  test.each([
    ["ES256", -7],
    ["EdDSA", -8],
    ["RS256", -257],
  ] as const)("a passkey with %s is registered, stamps by itself, and logs in", async (name, algorithm) => {
    const found = await page.evaluate(
      async (given) => {
        const { CloisterClient: library, connectTo, mint } = globalThis as PageGlobal;
        const { generateStampKey, loginNonce, passkeyStampKey } = library;
        // The library leaves the choice to the authenticator; here each is to be tried.
        const create = navigator.credentials.create.bind(navigator.credentials);
        navigator.credentials.create = (options) => {
          const publicKey = options?.publicKey as PublicKeyCredentialCreationOptions;
          return create({
            publicKey: { ...publicKey, pubKeyCredParams: [{ type: "public-key", alg: given.algorithm }] },
          });
        };
        const client = await connectTo(given);
        const { appId } = given;
        const key = await generateStampKey();
        const session = await client.login({ appId, key, jwt: await mint(await loginNonce(key)) });
        const made = await session.account.registerPasskey({
          rp: { id: "localhost", name: "Test" },
          user: { name: "alice", displayName: "Alice" },
          name: "this browser",
        });
        const wallet = await client.call("create_wallet", { kind: "single-key" }, { appId, keys: [made.key] });
        const later = await generateStampKey();
        // Without naming a credential: the user picks among those that the authenticator knows.
        const anyPasskey = passkeyStampKey({ credentialId: null, rpId: "localhost" });
        const again = await client.loginWithPasskey({ appId, key: later, passkey: anyPasskey });
        const signed = await again.signMessage({ walletId: wallet.walletId, message: "0x68656c6c6f" });
        return {
          passkey: made.passkey,
          listed: await again.account.listPasskeys(),
          isSameUser: again.userId === session.userId,
          signature: signed.signature,
        };
      },
      { ...world, algorithm },
    );
    expect(found.passkey).toMatchObject({ algorithm: name, name: "this browser" });
    expect(found.listed).toEqual([found.passkey]);
    expect(found.isSameUser).toBe(true);
    expect(found.signature).toMatch(/^0x[0-9a-f]{130}$/);
    const { credentials } = await devtools.send("WebAuthn.getCredentials", { authenticatorId });
    expect(credentials.map(({ signCount }) => signCount).some((count) => count > 1)).toBe(true);
  });

  test("a page at another origin of the same relying party gets a stamp, and no answer for it", async () => {
    const credentialId = await register();
    await page.goto(otherOrigin);
    expect(await codeOfAsking(credentialId)).toBe("PASSKEY_ORIGIN_NOT_ALLOWED");
    await page.goto(origin);
    expect(await codeOfAsking(credentialId)).toBe("done");
  });

  test("a user who cannot be verified gives no stamp", async () => {
    const credentialId = await register();
    await devtools.send("WebAuthn.setUserVerified", { authenticatorId, isUserVerified: false });
    expect(await codeOfAsking(credentialId)).toBe("NotAllowedError");
  });

  test("a copy of the authenticator, whose counter is behind, is refused", async () => {
    const credentialId = await register();
    const { credentials } = await devtools.send("WebAuthn.getCredentials", { authenticatorId });
    const [copy] = credentials;
    if (copy === undefined) throw new Error("no credential");
    expect(await codeOfAsking(credentialId)).toBe("done");
    await devtools.send("WebAuthn.removeCredential", { authenticatorId, credentialId: copy.credentialId });
    await devtools.send("WebAuthn.addCredential", { authenticatorId, credential: copy });
    expect(await codeOfAsking(credentialId)).toBe("PASSKEY_COUNTER_REGRESSED");
  });

  async function register(): Promise<string> {
    return page.evaluate(async (given) => {
      const { CloisterClient: library, connectTo, mint } = globalThis as PageGlobal;
      const key = await library.generateStampKey();
      const client = await connectTo(given);
      const jwt = await mint(await library.loginNonce(key));
      const session = await client.login({ appId: given.appId, key, jwt });
      const made = await session.account.registerPasskey({
        rp: { id: "localhost", name: "Test" },
        user: { name: "alice", displayName: "Alice" },
        name: "this browser",
      });
      return made.passkey.credentialId;
    }, world);
  }

  async function codeOfAsking(credentialId: string): Promise<string> {
    return page.evaluate(
      async ({ id, ...given }) => {
        const { CloisterClient: library, connectTo } = globalThis as PageGlobal;
        const client = await connectTo(given);
        const passkey = library.passkeyStampKey({ credentialId: id, rpId: "localhost" });
        try {
          await client.call("list_wallets", { after: null }, { appId: given.appId, keys: [passkey] });
          return "done";
        } catch (error) {
          // A DOMException has a number there.
          const { code, name } = error as { readonly code: unknown; readonly name: string };
          return typeof code === "string" ? code : name;
        }
      },
      { ...world, id: credentialId },
    );
  }
});
