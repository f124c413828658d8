/**
 * Fuzzes what reads bytes that an attacker wrote, for a bounded time. What is looked for: anything thrown that is no
 * AttestationError, anything read otherwise than a second decoder reads it, and any document that verifies though its
 * payload is none that was signed.
 *
 *   node scripts/fuzz.ts [--seconds N] [--seed N]
 */
import { X509Certificate } from "node:crypto";
import { existsSync, globSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { decode, encode, Tagged } from "cborg";
import type * as Attestation from "../attestation/index.ts";
import { createNsmPki, createSimulatedNsm } from "../simulator/nsm/index.ts";
import { fuzz } from "./fuzz-engine.ts";
import { fail, fuzzRunOf, loadInstrumented, report } from "./fuzz-run.ts";

const MAX_DOCUMENT_BYTES = 16 * 1024 + 1;
const MAX_CERTIFICATE_BYTES = 2048;
const NOW_MS = Date.UTC(2026, 0, 1);

const run = fuzzRunOf("fuzz");
process.exitCode = await main();

async function main(): Promise<number> {
  const { seed, seconds } = run;
  const { program: attestation, counters } = await loadInstrumented<typeof Attestation>(
    "attestation/index.ts",
    "neutral",
  );
  const { documents, roots } = await seeds(attestation);
  const certificates = documents.flatMap((bytes) => {
    const { cabundle, certificate } = attestation.decodeUnverified(bytes);
    return [...cabundle, certificate];
  });
  console.log(`fuzz: seed ${seed}, ${seconds} s, ${counters.length} counters, ${documents.length} documents as seeds`);
  const kept: Uint8Array[] = [];
  const targets = [
    {
      name: "document",
      run: documentTarget(attestation),
      seeds: documents,
      maxBytes: MAX_DOCUMENT_BYTES,
      onKept: (input: Uint8Array) => kept.push(input),
    },
    { name: "certificate", run: certificateTarget(attestation), seeds: certificates, maxBytes: MAX_CERTIFICATE_BYTES },
  ];
  for (const { name, ...target } of targets) {
    const started = performance.now();
    const stop = () => performance.now() - started > (seconds * 1000) / targets.length;
    const result = fuzz({ ...target, counters, dictionary: dictionary(), seed, stop });
    if (!report(run, name, result, performance.now() - started)) return 1;
  }
  return (await verifyKept(attestation, [...documents, ...kept], documents, roots)) ? 0 : 1;
}

function documentTarget(attestation: typeof Attestation): (input: Uint8Array) => void {
  return (input) => {
    const ours = refusedAsNull(attestation, () => attestation.decodeUnverified(input));
    if (ours === null) return;
    // The second opinion reads the same bytes by other code; tag 18 is ours to strip.
    const envelope = decode(input[0] === 0xd2 ? input.subarray(1) : input, {
      useMaps: true,
      strict: true,
    }) as unknown[];
    const payload = decode(envelope[2] as Uint8Array, { useMaps: true, strict: true, rejectDuplicateMapKeys: true });
    const field = (key: string): unknown => (payload as Map<string, unknown>).get(key) ?? null;
    same("module_id", ours.moduleId, field("module_id"));
    same("timestamp", ours.timestampMs, field("timestamp"));
    same("pcrs", ours.pcrs, field("pcrs"));
    same("certificate", ours.certificate, field("certificate"));
    same("cabundle", ours.cabundle, field("cabundle"));
    same("public_key", ours.publicKey, field("public_key"));
    same("user_data", ours.userData, field("user_data"));
    same("nonce", ours.nonce, field("nonce"));
  };
}

function certificateTarget(attestation: typeof Attestation): (input: Uint8Array) => void {
  return (input) => {
    const ours = refusedAsNull(attestation, () => attestation.describeUnverifiedCertificate(input));
    if (ours === null) return;
    const theirs = opensslCertificate(input);
    if (theirs === null) return;
    same("notBefore", ours.notBeforeMs, theirs.validFromDate.getTime());
    same("notAfter", ours.notAfterMs, theirs.validToDate.getTime());
    // Not the other way round: any extension that OpenSSL cannot read, and we pass over, makes it say no.
    if (theirs.ca) same("CA", ours.isAuthority, true);
  };
}

/** OpenSSL also reads inside names and extensions, which this verifier compares or passes over as bytes. */
function opensslCertificate(der: Uint8Array): X509Certificate | null {
  try {
    return new X509Certificate(der);
  } catch {
    return null;
  }
}

function refusedAsNull<T>(attestation: typeof Attestation, read: () => T): T | null {
  try {
    return read();
  } catch (error) {
    if (error instanceof attestation.AttestationError) return null;
    throw error;
  }
}

function same(what: string, ours: unknown, theirs: unknown): void {
  const [a, b] = [encode(ours, { mapSorter: () => 0 }), encode(theirs, { mapSorter: () => 0 })];
  if (Buffer.compare(a, b) !== 0) throw new Error(`${what} is read otherwise by the second decoder`);
}

/** Every input that took a new path goes through the whole verifier, under roots that the seeds do verify under. */
async function verifyKept(
  attestation: typeof Attestation,
  kept: readonly Uint8Array[],
  documents: readonly Uint8Array[],
  roots: readonly Attestation.AttestationRoot[],
): Promise<boolean> {
  const payloadOf = (bytes: Uint8Array): string => {
    const [, , payload] = decode(bytes[0] === 0xd2 ? bytes.subarray(1) : bytes, { useMaps: true }) as unknown[];
    return Buffer.from(payload as Uint8Array).toString("hex");
  };
  const signed = new Set(documents.map(payloadOf));
  let verified = 0;
  for (const input of kept) {
    try {
      await attestation.verifyAttestation(input, {
        roots,
        atMs: "document",
        nonce: "unchecked",
        pcrs: "unchecked",
        maxAgeMs: 0,
        allowDebug: true,
      });
    } catch (error) {
      if (error instanceof attestation.AttestationError) continue;
      return fail(run, "verify", input, error);
    }
    verified += 1;
    if (!signed.has(payloadOf(input)))
      return fail(run, "verify", input, new Error("verifies, and nobody has signed it"));
  }
  console.log(`fuzz: verify: ${kept.length} inputs, ${verified} verified, all of them with a payload that was signed`);
  // A run in which not even the seeds verify would prove nothing.
  return verified >= documents.length;
}

/** A simulated document with every field, and the genuine ones where they are at hand. */
async function seeds(attestation: typeof Attestation) {
  const pki = createNsmPki({ nowMs: () => NOW_MS });
  const moduleId = "i-0123456789abcdef0-enc0123456789abcdef";
  const nsm = createSimulatedNsm({ pki, pcrs: new Map(), moduleId, nowMs: () => NOW_MS });
  const bytes = Uint8Array.of(1, 2, 3);
  const answer = await nsm.handle(encode({ Attestation: { public_key: bytes, user_data: bytes, nonce: bytes } }));
  const simulated = (decode(answer) as { Attestation: { document: Uint8Array } }).Attestation.document;
  const tagged = encode(new Tagged(18, decode(simulated, { useMaps: true })));
  const vectors = join(process.env["CLOISTER_VECTORS"] ?? "../shared/vectors", "attestation");
  const genuine = existsSync(vectors) ? globSync(join(vectors, "*.cose")).map((path) => readFileSync(path)) : [];
  return { documents: [simulated, tagged, ...genuine], roots: [attestation.AWS_NITRO_ROOT_G1, pki.root] };
}

function dictionary(): Uint8Array[] {
  const words = [
    "module_id",
    "digest",
    "timestamp",
    "pcrs",
    "certificate",
    "cabundle",
    "public_key",
    "user_data",
    "nonce",
  ];
  const heads = [
    "9bffffffffffffffff",
    "bf",
    "ff",
    "5b8000000000000000",
    "1bffffffffffffffff",
    "7a00000010",
    "d2",
    "f6",
    "f7",
  ];
  const der = ["3080", "30820100", "0603551d13", "0603551d0f", "0101ff", "170d3530", "180f32303530", "0300", "0200"];
  return [
    ...[...words, "__proto__", "SHA384", "SHA256"].map((word) => encode(word)),
    ...[...heads, ...der].map((hex) => new Uint8Array(Buffer.from(hex, "hex"))),
  ];
}
