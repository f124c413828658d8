import { describe, expect, test } from "vitest";
import {
  credentialsAnswer,
  credentialsCall,
  decodeCbor,
  egressAnswer,
  egressCall,
  enclaveAnswer,
  enclaveCall,
  encodeCbor,
  logMessage,
  MAX_ATTESTATION_NONCE_BYTES,
  MAX_BODY_BYTES,
  MAX_FRAME_BYTES,
  MAX_RECORD_BYTES,
  MAX_RECORD_CHANGES,
  MAX_RECORD_NAME_LENGTH,
  MAX_RECORDS_PER_PAGE,
  MAX_STAMPS,
  MAX_WEBAUTHN_STAMP_BYTES,
  recordsAnswer,
  recordsCall,
  type z,
} from "../../protocol/index.ts";
import { GOLDEN_MESSAGES } from "./golden-messages.ts";

const SCHEMAS = {
  credentialsAnswer,
  credentialsCall,
  egressAnswer,
  egressCall,
  enclaveAnswer,
  enclaveCall,
  logMessage,
  recordsAnswer,
  recordsCall,
} satisfies Record<string, z.ZodMiniType>;

const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString("hex");
const bytes = (text: string) => Uint8Array.from(Buffer.from(text, "hex"));
const malformed = expect.objectContaining({ name: "ProtocolError", code: "MALFORMED_MESSAGE" });

test.each(GOLDEN_MESSAGES)("%s, %s: encodes to and decodes from its fixed bytes", (schema, _name, message, golden) => {
  expect(hex(encodeCbor(message))).toBe(golden);
  expect(decodeCbor(SCHEMAS[schema], bytes(golden))).toEqual(message);
});

test.each(GOLDEN_MESSAGES)(
  "%s, %s: refuses a field more, one less, and every cut",
  (schema, _name, message, golden) => {
    const decode = (changed: object) => () => decodeCbor(SCHEMAS[schema], encodeCbor(changed));
    expect(decode({ ...message, more: 1 })).toThrow(malformed);
    for (const left of Object.keys(message)) {
      expect(decode(Object.fromEntries(Object.entries(message).filter(([key]) => key !== left)))).toThrow(malformed);
    }
    const whole = bytes(golden);
    for (let end = 0; end < whole.length; end += 1) {
      expect(() => decodeCbor(SCHEMAS[schema], whole.subarray(0, end))).toThrow(malformed);
    }
    expect(() => decodeCbor(SCHEMAS[schema], Buffer.concat([whole, Buffer.of(0)]))).toThrow(malformed);
  },
);

const golden = (schema: string, name: string) => {
  const found = GOLDEN_MESSAGES.find(([one, other]) => one === schema && other === name);
  if (found === undefined) throw new Error(`no golden ${schema} ${name}`);
  return found[2] as Record<string, unknown>;
};

describe("limits: each passes at its greatest and is refused one over", () => {
  const operation = golden("enclaveCall", "operation");
  const write = golden("recordsCall", "write");
  const page = golden("recordsCall", "first page");
  const name = (length: number) => ({ kind: "get", id: 1, name: "n".repeat(length) });
  const change = (more: object) => ({ name: "a", expectedVersion: 0, version: 1, value: null, ...more });
  const stored = { name: "a", version: 1, value: new Uint8Array(0) };
  test.each<[string, keyof typeof SCHEMAS, object, object]>([
    [
      "body",
      "enclaveCall",
      { ...operation, body: new Uint8Array(MAX_BODY_BYTES) },
      { ...operation, body: new Uint8Array(MAX_BODY_BYTES + 1) },
    ],
    [
      "stamps",
      "enclaveCall",
      { ...operation, stamps: Array(MAX_STAMPS).fill("") },
      { ...operation, stamps: Array(MAX_STAMPS + 1).fill("") },
    ],
    [
      "a stamp",
      "enclaveCall",
      { ...operation, stamps: ["s".repeat(MAX_WEBAUTHN_STAMP_BYTES)] },
      { ...operation, stamps: ["s".repeat(MAX_WEBAUTHN_STAMP_BYTES + 1)] },
    ],
    ["id", "enclaveCall", { ...operation, id: Number.MAX_SAFE_INTEGER }, { ...operation, id: -1 }],
    [
      "status",
      "enclaveAnswer",
      { ...golden("enclaveAnswer", "signed answer"), status: 599 },
      { ...golden("enclaveAnswer", "signed answer"), status: 600 },
    ],
    [
      "signature",
      "enclaveAnswer",
      { ...golden("enclaveAnswer", "signed answer"), signature: new Uint8Array(64) },
      { ...golden("enclaveAnswer", "signed answer"), signature: new Uint8Array(65) },
    ],
    ["record name", "recordsCall", name(MAX_RECORD_NAME_LENGTH), name(MAX_RECORD_NAME_LENGTH + 1)],
    [
      "record value",
      "recordsCall",
      { ...write, changes: [change({ value: new Uint8Array(MAX_RECORD_BYTES) })] },
      { ...write, changes: [change({ value: new Uint8Array(MAX_RECORD_BYTES + 1) })] },
    ],
    [
      "changes",
      "recordsCall",
      { ...write, changes: Array(MAX_RECORD_CHANGES).fill(change({})) },
      { ...write, changes: Array(MAX_RECORD_CHANGES + 1).fill(change({})) },
    ],
    ["changes, least", "recordsCall", { ...write, changes: [change({})] }, { ...write, changes: [] }],
    ["page", "recordsCall", { ...page, limit: MAX_RECORDS_PER_PAGE }, { ...page, limit: MAX_RECORDS_PER_PAGE + 1 }],
    [
      "records",
      "recordsAnswer",
      { id: 1, kind: "records", records: Array(MAX_RECORDS_PER_PAGE).fill(stored) },
      { id: 1, kind: "records", records: Array(MAX_RECORDS_PER_PAGE + 1).fill(stored) },
    ],
    ["egress port", "egressCall", { host: "a", port: 65_535 }, { host: "a", port: 65_536 }],
    ["egress port, least", "egressCall", { host: "a", port: 1 }, { host: "a", port: 0 }],
    ["egress host", "egressCall", { host: "h".repeat(253), port: 1 }, { host: "h".repeat(254), port: 1 }],
    ["log line", "logMessage", { line: "x".repeat(4096) }, { line: "x".repeat(4097) }],
  ])("%s", (_name, schema, greatest, over) => {
    const of = SCHEMAS[schema];
    expect(decodeCbor(of, encodeCbor(greatest))).toEqual(greatest);
    expect(() => decodeCbor(of, encodeCbor(over))).toThrow(malformed);
  });

  test("the greatest of every kind fits into a frame", () => {
    const greatestOperation = {
      ...operation,
      stamps: Array(MAX_STAMPS).fill("s".repeat(MAX_WEBAUTHN_STAMP_BYTES)),
      body: new Uint8Array(MAX_BODY_BYTES),
    };
    const record = {
      name: "n".repeat(MAX_RECORD_NAME_LENGTH),
      version: 2 ** 53 - 1,
      value: new Uint8Array(MAX_RECORD_BYTES),
    };
    const records = { id: 2 ** 53 - 1, kind: "records", records: Array(MAX_RECORDS_PER_PAGE).fill(record) };
    for (const message of [greatestOperation, records]) {
      expect(encodeCbor(message).length).toBeLessThanOrEqual(MAX_FRAME_BYTES);
    }
    expect(MAX_ATTESTATION_NONCE_BYTES).toBeLessThanOrEqual(1024);
  });
});

test.each([
  ["upper case", "Wallet"],
  ["a dot", "a.b"],
  ["nothing", ""],
  ["a newline at its end", "a\n"],
  ["another script", "ä"],
])("refuses a record name with %s", (_name, name) => {
  expect(() => decodeCbor(recordsCall, encodeCbor({ id: 1, kind: "get", name }))).toThrow(malformed);
});

/** The key `kind` and its value `status`, well encoded. */
const KIND = "646b696e6466737461747573";

test("the known-good control of the refusals below decodes", () => {
  expect(decodeCbor(enclaveCall, bytes(`a262696401${KIND}`))).toEqual({ id: 1, kind: "status" });
});

test.each([
  ["an unknown kind", encodeCbor({ id: 1, kind: "reboot" })],
  ["a fraction", encodeCbor({ id: 1.5, kind: "status" })],
  ["an integer over 2^53", bytes(`a26269641b0020000000000000${KIND}`)],
  ["a duplicate key", bytes(`a36269640162696402${KIND}`)],
  ["the key __proto__", bytes(`a3695f5f70726f746f5f5fa062696401${KIND}`)],
  ["a key that is no text", bytes(`a3010162696401${KIND}`)],
  ["an integer with a long head", bytes(`a26269641801${KIND}`)],
  ["an indefinite map", bytes(`bf62696401${KIND}ff`)],
  ["an indefinite text", bytes(`a262696401${KIND.replace("6673", "7f6673")}ff`)],
  ["a tag", bytes(`a2626964c101${KIND}`)],
  ["undefined", bytes(`a2626964f7${KIND}`)],
  ["not a number", bytes(`a2626964f97e00${KIND}`)],
  ["a list of 4 thousand million", bytes("9affffffff")],
  ["bytes of 2^53", bytes("5b0020000000000000")],
  ["lists in lists to the frame's end", new Uint8Array(MAX_FRAME_BYTES).fill(0x81)],
])("refuses CBOR with %s", (_name, encoded) => {
  expect(() => decodeCbor(enclaveCall, encoded)).toThrow(malformed);
});
