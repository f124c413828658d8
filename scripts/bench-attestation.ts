/**
 * Verifications per second beside the packages that others build a verifier from: `@peculiar/x509` for certificates and
 * `cbor-x` for CBOR, doing the same checks on the same document, in the same process and run.
 *
 *   node scripts/bench-attestation.ts [--seconds N]
 */
import "reflect-metadata";
import { parseArgs } from "node:util";
import * as x509 from "@peculiar/x509";
import { Decoder } from "cbor-x";
import { decode, encode } from "cborg";
import { decodeUnverified, verifyAttestation } from "../attestation/index.ts";
import { createNsmPki, createSimulatedNsm } from "../simulator/nsm/index.ts";

const NOW_MS = Date.now();
const PCR0 = new Uint8Array(48).fill(0xa5);
const NONCE = new Uint8Array(32).fill(0x4e);
const IN_FLIGHT = 16;
const ROUNDS = 5;

const { values } = parseArgs({ options: { seconds: { type: "string", default: "2" } } });
const roundMs = Number(values.seconds) * 1000;
if (!(roundMs > 0)) throw new Error("expected --seconds above 0");

const pki = createNsmPki({ nowMs: () => NOW_MS });
const document = await makeDocument();
const rootDer = new Uint8Array(pki.root.der);
const expected = {
  roots: [pki.root],
  atMs: NOW_MS,
  nonce: NONCE,
  pcrs: [new Map([[0, PCR0]])],
  maxAgeMs: 60_000,
} as const;

const contenders: Readonly<Record<string, (bytes: Uint8Array) => Promise<unknown>>> = {
  "cloister/attestation": (bytes) => verifyAttestation(bytes, expected),
  "@peculiar/x509 + cbor-x": verifyWithPackages,
};

for (const [name, verify] of Object.entries(contenders)) await mustJudge(name, verify);
console.log(
  `document of ${document.length} bytes, 5 P-384 signatures each; Node ${process.version}; best of ${ROUNDS} rounds`,
);
const best = new Map<string, { one: number; many: number }>();
// Turn by turn, so that whatever else the machine does falls on both.
for (let round = 0; round < ROUNDS; round += 1) {
  for (const [name, verify] of Object.entries(contenders)) {
    const before = best.get(name) ?? { one: 0, many: 0 };
    best.set(name, {
      one: Math.max(before.one, await rate(verify, 1)),
      many: Math.max(before.many, await rate(verify, IN_FLIGHT)),
    });
  }
}
for (const [name, { one, many }] of best) {
  console.log(
    `${name.padEnd(24)} ${one.toFixed(0).padStart(5)}/s one by one, ${many.toFixed(0).padStart(5)}/s ${IN_FLIGHT} at a time`,
  );
}
const started = performance.now();
for (let count = 0; count < 2000; count += 1) decodeUnverified(document);
console.log(`decoding alone           ${((2000 / (performance.now() - started)) * 1000).toFixed(0).padStart(5)}/s`);

async function rate(verify: (bytes: Uint8Array) => Promise<unknown>, inFlight: number): Promise<number> {
  const begun = performance.now();
  let count = 0;
  const worker = async (): Promise<void> => {
    while (performance.now() - begun < roundMs / ROUNDS) {
      await verify(document);
      count += 1;
    }
  };
  await Promise.all(Array.from({ length: inFlight }, worker));
  return (count / (performance.now() - begun)) * 1000;
}

/** A contender that accepts a changed document would win by not working. */
async function mustJudge(name: string, verify: (bytes: Uint8Array) => Promise<unknown>): Promise<void> {
  await verify(document);
  const changed = document.with(-1, (document.at(-1) ?? 0) ^ 1);
  const refused = await verify(changed).then(
    () => false,
    () => true,
  );
  if (!refused) throw new Error(`${name} verifies a changed document`);
}

async function makeDocument(): Promise<Uint8Array> {
  const moduleId = "i-0123456789abcdef0-enc0123456789abcdef";
  const nsm = createSimulatedNsm({ pki, pcrs: new Map([[0, PCR0]]), moduleId, nowMs: () => NOW_MS });
  const answer = await nsm.handle(encode({ Attestation: { nonce: NONCE, public_key: NONCE, user_data: null } }));
  return new Uint8Array((decode(answer) as { Attestation: { document: Uint8Array } }).Attestation.document);
}

/** The same nine steps, as far as the packages allow: they do not refuse duplicate keys, long heads or BER. */
async function verifyWithPackages(bytes: Uint8Array): Promise<void> {
  const decoder = new Decoder({ mapsAsObjects: false, useRecords: false });
  const [protectedBytes, , payload, signature] = decoder.decode(bytes) as [Uint8Array, unknown, Uint8Array, Uint8Array];
  demand((decoder.decode(protectedBytes) as Map<number, number>).get(1) === -35 && signature.length === 96);
  const fields = decoder.decode(payload) as Map<string, unknown>;
  const bundle = fields.get("cabundle") as Uint8Array[];
  demand(Buffer.compare(bundle[0] ?? new Uint8Array(), rootDer) === 0 && fields.get("digest") === "SHA384");
  const chain = [...bundle, fields.get("certificate") as Uint8Array].map(
    (der) => new x509.X509Certificate(new Uint8Array(der)),
  );
  await Promise.all(chain.slice(1).map((certificate, at) => verifyLink(certificate, chain[at])));
  for (const [at, certificate] of chain.entries()) checkCertificate(certificate, chain.length - 1 - at);
  const leafKey = await chain.at(-1)?.publicKey.export({ name: "ECDSA", namedCurve: "P-384" }, ["verify"]);
  const toBeSigned = encode(["Signature1", protectedBytes, new Uint8Array(0), payload]);
  demand(leafKey !== undefined);
  const own = new Uint8Array(signature);
  demand(await crypto.subtle.verify({ name: "ECDSA", hash: "SHA-384" }, leafKey as CryptoKey, own, toBeSigned));
  demand(Buffer.compare(fields.get("nonce") as Uint8Array, NONCE) === 0);
  demand(Math.abs(NOW_MS - Number(fields.get("timestamp"))) <= 60_000);
  const pcrs = fields.get("pcrs") as Map<number, Uint8Array>;
  for (const value of pcrs.values()) demand(value.length === 48);
  demand(Buffer.compare(pcrs.get(0) ?? new Uint8Array(), PCR0) === 0);
}

async function verifyLink(certificate: x509.X509Certificate, issuer: x509.X509Certificate | undefined): Promise<void> {
  demand(issuer !== undefined && certificate.issuer === issuer.subject);
  demand(await certificate.verify({ publicKey: (issuer as x509.X509Certificate).publicKey, signatureOnly: true }));
}

function checkCertificate(certificate: x509.X509Certificate, below: number): void {
  demand(certificate.notBefore.getTime() <= NOW_MS && NOW_MS <= certificate.notAfter.getTime());
  const constraints = certificate.getExtension(x509.BasicConstraintsExtension);
  const usage = certificate.getExtension(x509.KeyUsagesExtension)?.usages ?? 0;
  demand(constraints?.ca === below > 0);
  demand(constraints?.pathLength === undefined || constraints.pathLength >= below - 1);
  demand((usage & (below > 0 ? x509.KeyUsageFlags.keyCertSign : x509.KeyUsageFlags.digitalSignature)) !== 0);
}

function demand(holds: boolean): void {
  if (!holds) throw new Error("refused");
}
