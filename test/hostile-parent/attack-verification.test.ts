/**
 * Rows of the attack table (docs/threat-model.md, "The attack table") that concern what is read and believed: each test
 * is named after its row.
 */
import { globSync, readFileSync } from "node:fs";
import { createServer as createHttps } from "node:https";
import type { AddressInfo } from "node:net";
import { encode } from "cborg";
import { build } from "esbuild";
import { parseTransaction, type TransactionSerializedEIP1559 } from "viem";
import { afterAll, afterEach, beforeAll, describe, expect, onTestFinished, test } from "vitest";
import { verifyAttestation } from "../../attestation/index.ts";
import { connect } from "../../client/index.ts";
import { Egress } from "../../enclave/egress/egress.ts";
import { EgressAgent } from "../../enclave/egress/egress-agent.ts";
import { getJson } from "../../enclave/egress/get-json.ts";
import {
  credentialsAnswer,
  egressAnswer,
  enclaveCall,
  REQUEST_PORT,
  recordsAnswer,
  type Wallet,
} from "../../protocol/index.ts";
import type { HostileParent, Simulator } from "../../simulator/index.ts";
import { createTlsAuthority } from "../../simulator/pki/index.ts";
import { forge } from "../attestation/forge.ts";
import { startParent } from "../parent-proxy/fixture.ts";
import type { LoggedIn } from "../support/app.ts";
import { startHostileWorld } from "../support/hostile-world.ts";
import { post, requestBody, send, stampOf } from "../support/raw-request.ts";
import { usdcTransfer } from "../support/transactions.ts";

/** The order of secp256k1 and of P-256 (SEC 2). */
const SECP256K1_ORDER = 0xffff_ffff_ffff_ffff_ffff_ffff_ffff_fffe_baae_dce6_af48_a03b_bfd2_5e8c_d036_4141n;
const P256_ORDER = 0xffff_ffff_0000_0000_ffff_ffff_ffff_ffff_bce6_faad_a717_9e84_f3b9_cac2_fc63_2551n;

let simulator: Simulator;
let hostile: HostileParent;
let appId: string;
let alice: LoggedIn;
let wallet: Wallet;

beforeAll(async () => {
  ({ simulator, hostile, appId, alice, wallet } = await startHostileWorld());
});
afterAll(() => simulator.stop());
afterEach(() => {
  hostile.hooks.script = undefined;
  delete hostile.hooks.message;
});

describe("attestation replay:", () => {
  test("a document from a recording is refused for another caller's nonce", async () => {
    await simulator.connect();
    hostile.hooks.script = {
      seed: "replay",
      rules: [{ port: REQUEST_PORT, of: "answer", misdeed: { kind: "replay", place: "instead", id: "adopted" } }],
    };
    for (let attempt = 0; attempt < 5; attempt += 1) await expect(simulator.connect()).rejects.toThrow();
    hostile.hooks.script = undefined;
    await expect(simulator.connect()).resolves.toBeDefined();
  });

  test("a fresh document with another key, user data or nonce put into it is refused", async () => {
    const keyBytes = 64;
    for (const [name, at] of [
      ["public_key", 20],
      ["public_key", keyBytes - 1],
      ["user_data", 12],
      ["nonce", 5],
      ["timestamp", 4],
    ] as const) {
      hostile.hooks.message = (port, direction, message) => {
        if (port !== REQUEST_PORT || direction !== "to-parent" || !("body" in message)) return message;
        const body = Uint8Array.from(message.body);
        const where = Buffer.from(body).indexOf(name) + name.length + at;
        body[where] = (body[where] ?? 0) ^ 1;
        return { ...message, body };
      };
      await expect(simulator.connect(), name).rejects.toMatchObject({ name: "AttestationError" });
    }
  });
});

test("debug mode or all-zero PCRs: a caller who expects no PCRs, or none of a set, cannot even ask", async () => {
  const { url, deployment, expected } = simulator;
  for (const pcrs of [[], [new Map()], [new Map([[0, new Uint8Array(48)]])]]) {
    const asked = connect({ url, deployment, expected: { ...expected, pcrs }, nowMs: () => simulator.nowMs() });
    await expect(asked).rejects.toMatchObject({ code: "INVALID_EXPECTATION" });
  }
});

describe("NSM document parsing: what is shown in a document's place is refused:", () => {
  test.each<[string, Parameters<typeof forge>[0], string]>([
    [
      "QEMU's, with algorithm -1 and a signature of zeros",
      { protectedHeader: encode(new Map([[1, -1]])), signature: (made) => new Uint8Array(made.length) },
      "ALGORITHM_NOT_ALLOWED",
    ],
    ["one with a signature of zeros", { signature: (made) => new Uint8Array(made.length) }, "SIGNATURE_INVALID"],
    ["one with bytes behind it", { bytes: (made) => Buffer.concat([made, Uint8Array.of(0)]) }, "CBOR_TRAILING_BYTES"],
    ["one without its end", { bytes: (made) => made.subarray(0, -1) }, "CBOR_TRUNCATED"],
  ])("%s", async (_name, forgery, code) => {
    const genuine = forge();
    await expect(verifyAttestation(genuine.bytes, genuine.expected)).resolves.toBeDefined();
    const { bytes, expected } = forge(forgery);
    await expect(verifyAttestation(bytes, expected)).rejects.toMatchObject({ code });
    hostile.hooks.message = (port, direction, message) =>
      port === REQUEST_PORT && direction === "to-parent" && "body" in message ? { ...message, body: bytes } : message;
    await expect(simulator.connect()).rejects.toMatchObject({ name: "AttestationError" });
  });
});

describe("DNS or TLS in the middle:", () => {
  const HOST = "kms.us-east-1.amazonaws.com";
  const nowMs = Date.now;

  async function fetchThrough(serverRoot: ReturnType<typeof createTlsAuthority>, hosts: readonly string[]) {
    const { keyPem, certPem } = serverRoot.issueServer({ hosts: [...hosts] });
    const requests: string[] = [];
    const server = createHttps({ key: keyPem, cert: certPem }, (request, response) => {
      requests.push(request.url ?? "");
      if (request.url === "/redirect") response.writeHead(302, { location: "https://elsewhere.example/" }).end();
      else response.end("{}");
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    onTestFinished(() => void server.close());
    const to = `127.0.0.1:${(server.address() as AddressInfo).port}`;
    const { guest } = await startParent({
      egress: { allow: [`${HOST}:443`], connectTo: new Map([[`${HOST}:443`, to]]) },
    });
    const egress = new Egress({ vsock: guest, allowed: new Set([`${HOST}:443`]), nowMs });
    const agent = new EgressAgent(egress, [root.rootPem]);
    onTestFinished(() => agent.destroy());
    const get = (path: string) =>
      getJson(new URL(path, `https://${HOST}`), agent, { maxBytes: 1000, timeoutMs: 5_000 });
    return { get, requests };
  }
  const root = createTlsAuthority({ nowMs, name: "PINNED" });
  const rogue = createTlsAuthority({ nowMs, name: "PINNED" });

  test("a rogue host that the name leads to gets no request: another root, or another name under the pinned one", async () => {
    for (const [authority, hosts] of [
      [rogue, [HOST]],
      [root, ["login.cloister.test"]],
      [root, ["us-east-1.amazonaws.com"]],
    ] as const) {
      const { get, requests } = await fetchThrough(authority, hosts);
      await expect(get("/")).rejects.toMatchObject({ code: "TLS_REFUSED" });
      expect(requests).toEqual([]);
    }
    expect(await (await fetchThrough(root, [HOST])).get("/")).toEqual({});
  });

  test("generic forwarder: a redirect is not followed", async () => {
    const { get, requests } = await fetchThrough(root, [HOST]);
    await expect(get("/redirect")).rejects.toMatchObject({ code: "UNREACHABLE" });
    expect(requests).toEqual(["/redirect"]);
  });
});

test("JSON differences: what two parsers may read in two ways is refused before anything is done", async () => {
  const genuine = Buffer.from(
    requestBody(simulator, {
      operation: "sign_transaction",
      appId,
      params: { walletId: wallet.walletId, chainId: "1", unsignedTransaction: usdcTransfer() },
    }),
  ).toString();
  const issuedAt = /"issuedAtMs":([0-9]+)/.exec(genuine)?.[1] ?? "";
  const refused = [
    genuine.replace('"chainId":"1"', '"chainId":"1","chainId":"5"'),
    genuine.replace('"chainId":"1"', '"chainId":"1","\\u0063hainId":"5"'),
    genuine.replace('"chainId":"1"', '"chainId":"1","__proto__":{"chainId":"5"}'),
    genuine.replace('"chainId":"1"', '"chainId":1'),
    genuine.replace('"chainId":"1"', '"chainId":"\\ud800"'),
    genuine.replace(issuedAt, `${issuedAt}.0`),
    genuine.replace(issuedAt, `${issuedAt}e0`),
    genuine.replace(issuedAt, "9007199254740993"),
    genuine.replace(issuedAt, `-${issuedAt}`),
    genuine.replace(issuedAt, `0${issuedAt}`),
    genuine.replace('"operation"', "'operation'"),
    `${genuine}{}`,
    `${genuine.slice(0, -1)},}`,
    `\ufeff${genuine}`,
    genuine.replace("{", "{/* */"),
  ];
  for (const text of refused) {
    expect(text).not.toBe(genuine);
    const { code } = await send(simulator, Uint8Array.from(Buffer.from(text)), alice.key);
    expect(code, text.slice(0, 120)).toMatch(/^(MALFORMED_JSON|INVALID_REQUEST|INVALID_PARAMS)$/);
  }
  expect((await send(simulator, Uint8Array.from(Buffer.from(genuine)), alice.key)).code).toBeNull();
});

describe("signature malleability:", () => {
  test("what the enclave signs has a low s, and the same bytes twice the same signature", async () => {
    for (let nonce = 0; nonce < 20; nonce += 1) {
      const params = { walletId: wallet.walletId, chainId: "1", unsignedTransaction: usdcTransfer({ nonce }) };
      const { signedTransaction } = await alice.session.signTransaction(params);
      const { s } = parseTransaction(signedTransaction as TransactionSerializedEIP1559);
      expect(BigInt(s ?? 0)).toBeLessThanOrEqual(SECP256K1_ORDER / 2n);
      expect((await alice.session.signTransaction(params)).signedTransaction).toBe(signedTransaction);
    }
  });

  test("a stamp's other form is the same request again, and loose DER is none", async () => {
    const body = requestBody(simulator, { operation: "list_wallets", appId, params: { after: null } });
    const signature = await alice.key.sign(body);
    const stampWith = (der: Uint8Array) => stampOf({ ...alice.key, sign: async () => Uint8Array.from(der) }, body);
    const loose = [
      Buffer.concat([signature, Uint8Array.of(0)]),
      Buffer.concat([Uint8Array.of(0x30, 0x81, signature[1] ?? 0), signature.subarray(2)]),
      signature.subarray(0, -1),
    ];
    for (const der of loose) {
      expect((await post(simulator, body, [await stampWith(der)])).code).toMatch(/^STAMP_(INVALID|MALFORMED)$/);
    }
    expect((await post(simulator, body, [await stampWith(signature)])).code).toBeNull();
    // ECDSA's own: s and n - s are signatures of the same. What counts a request is its id, not its stamp.
    expect((await post(simulator, body, [await stampWith(withOtherS(signature))])).code).toBe("REQUEST_REPLAYED");
  });
});

describe("parent-chosen configuration:", () => {
  test("what the parent can say to the enclave is enumerated, and nothing of it configures anything", () => {
    // A field that is added here is a question for review: what can a parent do with it?
    expect(Object.entries({ enclaveCall, recordsAnswer, egressAnswer, credentialsAnswer }).map(fieldsOf)).toEqual([
      "enclaveCall: body, id, kind, nonce, stamps",
      "recordsAnswer: id, kind, name, record, records",
      "egressAnswer: kind, reason",
      "credentialsAnswer: accessKeyId, expiresAtMs, id, kind, secretAccessKey, sessionToken",
    ]);
  });

  test("the enclave's code reads no environment variable, and of arguments only init's: the parent's CID", () => {
    const files = globSync("{enclave,vsock,protocol,attestation}/**/*.ts");
    expect(files.length).toBeGreaterThan(50);
    for (const file of files) {
      const reads = readFileSync(file, "utf8").match(/process\.(?:env|argv|execArgv).*/g) ?? [];
      const isEntry = file.replaceAll("\\", "/") === "enclave/main.ts";
      expect(reads, file).toEqual(isEntry ? ["process.argv.slice(2));"] : []);
    }
  });

  test("a field that no schema knows makes an answer none", async () => {
    hostile.hooks.message = (_port, direction, message) =>
      direction === "to-enclave" && "kind" in message && message.kind === "record"
        ? { ...message, logDestination: "https://evil.example" }
        : message;
    const params = { walletId: wallet.walletId, chainId: "1", unsignedTransaction: usdcTransfer() };
    await expect(alice.session.signTransaction(params)).rejects.toMatchObject({ code: "RECORDS_UNAVAILABLE" });
  });
});

test("generic forwarder: the egress leads to no address of the instance, its network or its metadata", async () => {
  const names = ["169.254.169.254:80", "127.0.0.1:80", "10.0.0.1:443", "localhost:443", "2130706433:80", "0.0.0.0:80"];
  const { guest, url } = await startParent({ egress: { allow: names, connectTo: new Map() } });
  const egress = new Egress({ vsock: guest, allowed: new Set(names), nowMs: Date.now });
  for (const name of names) {
    const [host = "", port] = name.split(":");
    await expect(egress.connectTls({ host, port: Number(port), roots: [], timeoutMs: 5_000 })).rejects.toMatchObject({
      code: "PARENT_REFUSED",
      message: expect.stringContaining("NOT_ALLOWED"),
    });
  }
  // And no path of the parent's HTTP server forwards anything.
  for (const path of ["/v1/../metrics/http://169.254.169.254/", "/http://169.254.169.254/", "//evil.example/x"]) {
    expect((await fetch(url + path, { redirect: "manual" })).status).toBe(404);
  }
});

test("side channels: no curve arithmetic in JavaScript gets at a secret of the enclave", async () => {
  const { metafile } = await build({
    entryPoints: ["enclave/index.ts"],
    bundle: true,
    write: false,
    metafile: true,
    platform: "node",
    format: "esm",
    conditions: ["cloister-source"],
    external: ["*.node"],
    logLevel: "silent",
  });
  const inputs = Object.keys(metafile.inputs);
  expect(inputs).toContain("enclave/signing/secp256k1.ts");
  const curves =
    /node_modules\/(@noble\/(secp256k1|ed25519)|elliptic|tweetnacl|tiny-secp256k1|secp256k1\/(index|elliptic|lib\/elliptic))/;
  expect(inputs.filter((file) => curves.test(file))).toEqual([]);
  const importersOf = (folder: string) =>
    Object.entries(metafile.inputs).flatMap(([file, { imports }]) =>
      imports.some(({ path }) => path.includes(folder)) && !file.includes(folder) ? [file] : [],
    );
  // It reads PSBTs, and checks that the public keys in them are points (decision 625): nothing else reaches it, and what
  // reaches it is lent no key but through a signer, which does not show it.
  const ofCurves = importersOf("node_modules/@noble/curves/");
  expect(ofCurves.filter((file) => !file.includes("node_modules/@scure/btc-signer/"))).toEqual([]);
  const ofSigner = importersOf("node_modules/@scure/btc-signer/");
  expect(ofSigner.filter((file) => !file.startsWith("enclave/signing/bitcoin/"))).toEqual([]);
  for (const file of ofSigner) {
    const own = (metafile.inputs[file]?.imports ?? []).map(({ path }) => path);
    expect([file, own.filter((path) => /wallets\/(?!signer\.ts)|custody\/|vault\//.test(path))]).toEqual([file, []]);
  }
});

/** r ‖ s of a DER signature, with n - s in the place of s. */
function withOtherS(der: Uint8Array): Uint8Array {
  const integers: bigint[] = [];
  for (let at = 2; at < der.length; ) {
    const length = der[at + 1] ?? 0;
    integers.push(BigInt(`0x${Buffer.from(der.subarray(at + 2, at + 2 + length)).toString("hex")}`));
    at += 2 + length;
  }
  const [r = 0n, s = 0n] = integers;
  const encoded = [r, P256_ORDER - s].map((value) => {
    const hex = value.toString(16);
    const bytes = Buffer.from(hex.length % 2 === 0 ? hex : `0${hex}`, "hex");
    const positive = (bytes[0] ?? 0) >= 0x80 ? Buffer.concat([Uint8Array.of(0), bytes]) : bytes;
    return Buffer.concat([Uint8Array.of(0x02, positive.length), positive]);
  });
  const body = Buffer.concat(encoded);
  return Buffer.concat([Uint8Array.of(0x30, body.length), body]);
}

interface SchemaShape {
  readonly def: { readonly shape?: Readonly<Record<string, unknown>>; readonly options?: readonly SchemaShape[] };
}

function fieldsOf([name, schema]: [string, unknown]): string {
  const { shape, options } = (schema as SchemaShape).def;
  const fields = (options ?? [{ def: { shape: shape ?? {} } }]).flatMap(({ def }) => Object.keys(def.shape ?? {}));
  return `${name}: ${[...new Set(fields)].sort().join(", ")}`;
}
