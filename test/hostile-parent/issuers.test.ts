/** Keys that are not the issuer's, issuers that are ill, and callers who make the enclave fetch. */
import { createServer as createHttpServer, type Server } from "node:http";
import { createServer as createHttpsServer } from "node:https";
import type { AddressInfo } from "node:net";
import { exportJWK, generateKeyPair, SignJWT } from "jose";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { type Client, generateStampKey, loginNonce, type StampKey } from "../../client/index.ts";
import { EGRESS_PORT } from "../../protocol/index.ts";
import type { HostileParent, Simulator } from "../../simulator/index.ts";
import { createTlsAuthority } from "../../simulator/pki/index.ts";
import { AUDIENCE, createApp, logIn } from "../support/app.ts";
import { startHostileSimulator } from "../support/hostile-world.ts";
import { requestBody, send } from "../support/raw-request.ts";

const MITM = "mitm.example:443";
const PLAIN = "plain.example:443";
const ISSUER_HOST = "login.cloister.test";

let simulator: Simulator;
let hostile: HostileParent;
let client: Client;
let key: StampKey;
let nonce: string;
/** Under a root that the image does not have, in the issuer's very name. */
let impostor: Server;
let plain: Server;
/** What the impostors were asked for: bytes that reached them over a connection that was trusted. */
const served: string[] = [];

beforeAll(async () => {
  const keys = await forgedKeys();
  const answer = (request: { url?: string | undefined }, response: { end: (text: string) => void }) => {
    served.push(request.url ?? "");
    response.end(keys);
  };
  const authority = createTlsAuthority({ nowMs: Date.now, name: "SOMEBODY ELSE'S ROOT" });
  const issued = authority.issueServer({ hosts: [ISSUER_HOST] });
  impostor = createHttpsServer({ key: issued.keyPem, cert: issued.certPem }, answer);
  plain = createHttpServer(answer);
  ({ simulator, hostile } = await startHostileSimulator({
    alsoConnectTo: { [MITM]: await listen(impostor), [PLAIN]: await listen(plain) },
  }));
  expect(simulator.issuer.issuer).toBe(`https://${ISSUER_HOST}`);
  key = await generateStampKey();
  nonce = await loginNonce(key);
});
afterAll(async () => {
  await simulator.stop();
  impostor.close();
  plain.close();
});

beforeEach(async () => {
  // A fresh enclave has fetched no keys, and keeps no connection open.
  await simulator.killEnclave();
  await simulator.startEnclave();
  client = await simulator.connect();
});
afterEach(() => {
  delete hostile.hooks.message;
  simulator.issuer.trouble = null;
});

async function listen(server: Server): Promise<string> {
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return `127.0.0.1:${(server.address() as AddressInfo).port}`;
}

const forger = generateKeyPair("RS256", { extractable: true });

async function forgedKeys(): Promise<string> {
  const jwk = { ...(await exportJWK((await forger).publicKey)), kid: "forged", alg: "RS256", use: "sig" };
  return JSON.stringify({ keys: [jwk] });
}

async function forgedToken(): Promise<string> {
  const now = Math.floor(simulator.nowMs() / 1000);
  const claims = { iss: simulator.issuer.issuer, sub: "alice", aud: AUDIENCE, nonce, iat: now, exp: now + 300 };
  return new SignJWT(claims).setProtectedHeader({ alg: "RS256", kid: "forged" }).sign((await forger).privateKey);
}

function redirectTo(target: string): void {
  const [host = "", port] = target.split(":");
  hostile.hooks.message = (direction, from, message) =>
    direction === EGRESS_PORT && from === "to-parent" && "host" in message
      ? { ...message, host, port: Number(port) }
      : message;
}

async function codeOfLogin(appId: string, jwt?: string): Promise<string> {
  const token = jwt ?? (await simulator.issuer.mint({ subject: "alice", audience: AUDIENCE, nonce }));
  const body = requestBody(simulator, { operation: "register_session", appId, params: { jwt: token } });
  return (await send(simulator, body, key)).code ?? "accepted";
}

function discovered(): Promise<string> {
  const { issuer } = simulator.issuer;
  return createApp(simulator, client, {
    issuers: [{ issuer, audiences: [AUDIENCE], discovery: { keyHosts: [] }, algorithms: ["RS256"] }],
  });
}

describe("keys served by a parent in the middle are not taken", () => {
  test("with the issuer's name under a certificate of another root", async () => {
    const appId = await createApp(simulator, client);
    redirectTo(MITM);
    expect(await codeOfLogin(appId, await forgedToken())).toBe("JWKS_UNAVAILABLE");
    expect(served).toEqual([]);
  });

  test("with a certificate of the right root for another host", async () => {
    const appId = await createApp(simulator, client);
    redirectTo("kms.us-east-1.amazonaws.com:443");
    expect(await codeOfLogin(appId, await forgedToken())).toBe("JWKS_UNAVAILABLE");
  });

  test("over plain HTTP", async () => {
    const appId = await createApp(simulator, client);
    redirectTo(PLAIN);
    expect(await codeOfLogin(appId, await forgedToken())).toBe("JWKS_UNAVAILABLE");
    expect(served).toEqual([]);
  });

  test("and an address that is not https is no app's", async () => {
    const { issuer } = simulator.issuer;
    const issuers = [
      { issuer, audiences: [AUDIENCE], jwksUri: "http://login.cloister.test/jwks", algorithms: ["RS256" as const] },
    ];
    await expect(createApp(simulator, client, { issuers })).rejects.toMatchObject({ code: "INVALID_PARAMS" });
  });
});

describe("an issuer that is ill gets nobody in, and holds nobody up", () => {
  test("with a redirect to a link-local address", async () => {
    const appId = await createApp(simulator, client);
    simulator.issuer.trouble = (_path, response) => {
      response.writeHead(302, { location: "http://169.254.169.254/latest/meta-data/" }).end();
    };
    const from = hostile.record.length;
    expect(await codeOfLogin(appId)).toBe("JWKS_UNAVAILABLE");
    const hosts = hostile.record.slice(from).flatMap((each) => {
      return each.port === EGRESS_PORT && "message" in each && "host" in each.message ? [each.message.host] : [];
    });
    expect(hosts.length).toBeGreaterThan(0);
    expect(hosts).not.toContain("169.254.169.254");
  });

  test("with 10 MB of keys", async () => {
    const appId = await createApp(simulator, client);
    const one = (await forgedKeys()).slice(9, -2);
    let sentBytes = 0;
    simulator.issuer.trouble = (_path, response) => {
      response.on("error", () => {});
      response.write(`{"keys":[${one}`);
      const more = () => {
        while (sentBytes < 10_000_000 && !response.destroyed) {
          sentBytes += one.length;
          if (!response.write(`,${one}`)) return void response.once("drain", more);
        }
        response.end("]}");
      };
      more();
    };
    expect(await codeOfLogin(appId, await forgedToken())).toBe("JWKS_UNAVAILABLE");
  });

  test("with more keys than any issuer has, within the limit of bytes", async () => {
    const appId = await createApp(simulator, client);
    const one = (await forgedKeys()).slice(9, -2);
    simulator.issuer.trouble = (_path, response) => {
      response.end(`{"keys":[${Array.from({ length: 65 }, () => one).join(",")}]}`);
    };
    expect(await codeOfLogin(appId, await forgedToken())).toBe("JWKS_UNAVAILABLE");
  });

  test("with a key set that never ends, while sessions go on", { timeout: 30_000 }, async () => {
    const appId = await createApp(simulator, client);
    const { session } = await logIn(simulator, client, appId, "alice");
    const other = await discovered();
    simulator.issuer.trouble = (_path, response) => {
      response.on("error", () => {});
      response.write('{"keys":[');
      const timer = setInterval(() => response.write(" "), 100);
      response.once("close", () => clearInterval(timer));
    };
    const waiting = codeOfLogin(other);
    await session.listWallets();
    expect(await waiting).toBe("JWKS_UNAVAILABLE");
    await session.listWallets();
    // An older set still serves those who know it.
    expect(await codeOfLogin(appId)).toBe("accepted");
  });
});

describe("discovery", () => {
  test("finds the issuer's keys", async () => {
    expect(await codeOfLogin(await discovered())).toBe("accepted");
    expect(simulator.issuer.fetched.slice(-2)).toEqual(["/.well-known/openid-configuration", "/.well-known/jwks.json"]);
  });

  test.each([
    ["points to another issuer", { issuer: "https://evil.example" }],
    ["names keys on a host that the app does not", { jwks_uri: "https://evil.example/jwks.json" }],
    ["names keys on another port of the same host", { jwks_uri: "https://login.cloister.test:8443/jwks.json" }],
    ["names keys over plain HTTP", { jwks_uri: "http://login.cloister.test/.well-known/jwks.json" }],
    ["names no keys", { jwks_uri: undefined }],
  ])("that %s is refused", async (_name, changes) => {
    const appId = await discovered();
    const { issuer, jwksUri } = simulator.issuer;
    const keys = await forgedKeys();
    simulator.issuer.trouble = (path, response) => {
      const configuration = JSON.stringify({ issuer, jwks_uri: jwksUri, ...changes });
      response.end(path.endsWith("/openid-configuration") ? configuration : keys);
    };
    const from = simulator.issuer.fetched.length;
    expect(await codeOfLogin(appId, await forgedToken())).toBe("JWKS_UNAVAILABLE");
    expect(simulator.issuer.fetched.slice(from)).toEqual(["/.well-known/openid-configuration"]);
  });

  test("on a host that the manifest does not name is no app's", async () => {
    const { issuer } = simulator.issuer;
    const issuers = (keyHosts: string[], name = issuer) => [
      { issuer: name, audiences: [AUDIENCE], discovery: { keyHosts }, algorithms: ["RS256" as const] },
    ];
    for (const each of [issuers(["keys.example:443"]), issuers([], "https://evil.example")]) {
      await expect(createApp(simulator, client, { issuers: each })).rejects.toMatchObject({ code: "INVALID_PARAMS" });
    }
  });
});

test("ten thousand logins with unknown kids make the enclave fetch twice at most", { timeout: 120_000 }, async () => {
  const appId = await createApp(simulator, client);
  expect(await codeOfLogin(appId)).toBe("accepted");
  const from = simulator.issuer.fetched.length;
  const { privateKey } = await forger;
  const now = Math.floor(simulator.nowMs() / 1000);
  const claims = { iss: simulator.issuer.issuer, sub: "alice", aud: AUDIENCE, nonce, iat: now, exp: now + 3600 };
  // One signature does for all of them: none gets so far as to have it checked.
  const genuine = await new SignJWT(claims).setProtectedHeader({ alg: "RS256", kid: "0" }).sign(privateKey);
  const rest = genuine.slice(genuine.indexOf("."));
  const codes = new Map<string, number>();
  let next = 0;
  const startedAt = performance.now();
  await Promise.all(
    Array.from({ length: 32 }, async () => {
      while (next < 10_000) {
        next += 1;
        const header = Buffer.from(JSON.stringify({ alg: "RS256", kid: `unknown-${next}` })).toString("base64url");
        const code = await codeOfLogin(appId, header + rest);
        codes.set(code, (codes.get(code) ?? 0) + 1);
      }
    }),
  );
  expect([...codes]).toEqual([["JWT_KEY_UNKNOWN", 10_000]]);
  // One for the first, unless it came within the interval of the first fetch; one more for each 30 s since.
  const intervals = Math.ceil((performance.now() - startedAt) / 30_000);
  expect(simulator.issuer.fetched.length - from).toBeLessThanOrEqual(1 + intervals);
  expect(await codeOfLogin(appId)).toBe("accepted");
});
