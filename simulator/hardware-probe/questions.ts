/**
 * What the simulated NSM takes for granted and no document of AWS settles (nitro.md 10), as questions to a device. Asked of
 * hardware, the answers show where the simulator is wrong. Some change registers, so a device is asked once in its life.
 */
import { generateKeyPairSync } from "node:crypto";
import { decode, encode } from "cborg";
import type { NsmDevice } from "../../enclave/index.ts";

export interface Answer {
  readonly question: string;
  /** The NSM's error code; `ok` with what matters of the answer; `unreadable` where it is no CBOR; or the driver's errno. */
  readonly answer: string;
  /** What somebody needs to go on, such as a document to send to KMS. */
  readonly attached?: Readonly<Record<string, string>>;
}

const REGISTER = 16;
const OTHER_REGISTER = 17;
/** The CDDL says 1024, AWS's text 512 in places, and buffers may end elsewhere. */
const SIZES = [512, 513, 1024, 1025, 2048] as const;
const FIELDS = ["nonce", "user_data", "public_key"] as const;
const RSA_BITS = [2048, 3072, 4096] as const;

/** One after the other, in this order. */
export async function* askNsm(device: NsmDevice): AsyncGenerator<Answer> {
  const ask = async (question: string, request: Uint8Array): Promise<Answer> => ({
    question,
    answer: await answerTo(device, request),
  });
  const attest = (fields: Readonly<Record<string, Uint8Array>>) =>
    message({ Attestation: { user_data: null, nonce: null, public_key: null, ...fields } });

  yield ask("DescribeNSM", message("DescribeNSM"));
  yield ask("GetRandom", message("GetRandom"));
  yield ask("DescribePCR 31", message({ DescribePCR: { index: 31 } }));
  yield ask("DescribePCR 32", message({ DescribePCR: { index: 32 } }));
  yield ask("ExtendPCR 0, which is locked", extend(0));
  yield ask(`ExtendPCR ${REGISTER}`, extend(REGISTER));
  yield ask(`LockPCR ${REGISTER}`, message({ LockPCR: { index: REGISTER } }));
  yield ask(`LockPCR ${REGISTER} again`, message({ LockPCR: { index: REGISTER } }));
  yield ask(`ExtendPCR ${REGISTER}, which is locked now`, extend(REGISTER));
  yield ask(`LockPCRs below ${OTHER_REGISTER + 1}`, message({ LockPCRs: { range: OTHER_REGISTER + 1 } }));
  yield ask(`LockPCRs below ${OTHER_REGISTER + 1} again`, message({ LockPCRs: { range: OTHER_REGISTER + 1 } }));
  yield ask("LockPCRs below 33", message({ LockPCRs: { range: 33 } }));
  for (const field of FIELDS) {
    for (const size of SIZES) {
      yield ask(`Attestation with a ${field} of ${size} bytes`, attest({ [field]: new Uint8Array(size) }));
    }
  }
  yield ask("a request that is no CBOR", Uint8Array.of(0xff));
  yield ask("a request of an unknown name", message("Sign"));
  yield ask("a request with a byte too many", Uint8Array.of(...message("DescribeNSM"), 0));
  for (const bits of RSA_BITS) yield documentFor(device, bits, attest);
}

/** The private key is printed on purpose: it is for KMS's answer to a test, and for nothing else. */
async function documentFor(
  device: NsmDevice,
  bits: number,
  attest: (fields: Readonly<Record<string, Uint8Array>>) => Uint8Array,
): Promise<Answer> {
  const { publicKey, privateKey } = generateKeyPairSync("rsa", { modulusLength: bits });
  const request = attest({ public_key: publicKey.export({ type: "spki", format: "der" }) });
  const question = `Attestation for an RSA key of ${bits} bits`;
  try {
    const document = fieldsOf(decode(await device.process(request), { useMaps: true }), "Attestation")?.get("document");
    if (!(document instanceof Uint8Array)) return { question, answer: "no document" };
    const pkcs8 = privateKey.export({ type: "pkcs8", format: "der" });
    const base64 = (bytes: Uint8Array) => Buffer.from(bytes).toString("base64");
    return { question, answer: "ok", attached: { document: base64(document), privateKey: base64(pkcs8) } };
  } catch (error) {
    return { question, answer: (error as Error).message };
  }
}

async function answerTo(device: NsmDevice, request: Uint8Array): Promise<string> {
  let bytes: Uint8Array;
  try {
    bytes = await device.process(request);
  } catch (error) {
    return (error as Error).message;
  }
  try {
    return describe(decode(bytes, { useMaps: true }));
  } catch {
    return `unreadable: ${Buffer.from(bytes).toString("hex")}`;
  }
}

function describe(response: unknown): string {
  if (typeof response === "string") return "ok";
  if (!(response instanceof Map)) return `unreadable: ${String(response)}`;
  const [[kind, fields] = []] = [...(response as Map<unknown, unknown>)];
  if (kind === "Error") return String(fields);
  if (!(fields instanceof Map)) return `ok: ${String(kind)}`;
  // Lengths, not contents: what is random or differs from one machine to the next cannot be compared.
  const shown = [...(fields as Map<unknown, unknown>)].map(([name, value]) => {
    if (name === "module_id") return `module_id ${String(value).replace(/^i-[0-9a-f]+-enc[0-9a-f]+$/, "i-…-enc…")}`;
    if (name === "document") return "document";
    if (value instanceof Uint8Array) return `${String(name)} ${value.length} bytes`;
    return `${String(name)} ${Array.isArray(value) ? value.join(",") : String(value)}`;
  });
  return `ok: ${shown.join("; ")}`;
}

function fieldsOf(response: unknown, kind: string): Map<unknown, unknown> | undefined {
  const fields: unknown = response instanceof Map ? response.get(kind) : undefined;
  return fields instanceof Map ? fields : undefined;
}

function extend(index: number): Uint8Array {
  return message({ ExtendPCR: { index, data: new Uint8Array(1) } });
}

/** In the order of the fields, as AWS's library writes them. */
function message(value: unknown): Uint8Array {
  return encode(value, { mapSorter: () => 0 });
}
