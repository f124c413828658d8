import { createECDH, createHash } from "node:crypto";
import { describe, expect, test } from "vitest";
import { StartError } from "../../enclave/errors.ts";
import { kmsHost, type Manifest, parseManifest } from "../../enclave/manifest.ts";

const [ONE = "", TWO = ""] = [1, 2].map((last) => {
  const ecdh = createECDH("prime256v1");
  ecdh.setPrivateKey(Uint8Array.from([...new Uint8Array(31), last]));
  return ecdh.getPublicKey("hex", "compressed");
});

const LINES: Readonly<Record<string, string>> = {
  version: "version: 1",
  deployment: "deployment: payments-eu",
  region: "region: eu-west-1",
  kmsKeyArn: "kmsKeyArn: arn:aws:kms:eu-west-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab",
  administrators: `administrators:\n  threshold: 2\n  publicKeys:\n    - "${ONE}"\n    - "${TWO}"`,
  egress: "egress:\n  - login.example.com:443",
};

/** The good manifest with some of its lines replaced; an empty one leaves it out. */
function text(changes: Readonly<Record<string, string>> = {}): string {
  const lines = Object.values({ ...LINES, ...changes }).filter((line) => line !== "");
  return `# Cloister\n${lines.join("\n")}\n`;
}

function parse(source: string): Manifest {
  return parseManifest(Buffer.from(source));
}

function refusal(source: string | Uint8Array): StartError {
  try {
    parseManifest(typeof source === "string" ? Buffer.from(source) : source);
  } catch (error) {
    expect(error).toBeInstanceOf(StartError);
    return error as StartError;
  }
  throw new Error("it was accepted");
}

describe("a good manifest", () => {
  test("is read, with the digest of its very bytes", () => {
    const source = text();
    expect(parse(source)).toEqual({
      version: 1,
      deployment: "payments-eu",
      region: "eu-west-1",
      kmsKeyArn: "arn:aws:kms:eu-west-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab",
      administrators: { threshold: 2, publicKeys: [ONE, TWO] },
      egress: ["login.example.com:443"],
      digest: createHash("sha256").update(source).digest(),
    });
    expect(parse(`${source}\n`).digest).not.toEqual(parse(source).digest);
  });

  test.each<[string, Record<string, string>]>([
    ["no egress", { egress: "egress: []" }],
    ["a deployment of one letter", { deployment: "deployment: a" }],
    ["a deployment of 63", { deployment: `deployment: ${"a".repeat(63)}` }],
    [
      "a multi-Region key",
      { kmsKeyArn: "kmsKeyArn: arn:aws:kms:eu-west-1:111122223333:key/mrk-1234abcd12ab34cd56ef1234567890ab" },
    ],
    [
      "AWS GovCloud",
      { region: "region: us-gov-west-1", kmsKeyArn: "kmsKeyArn: arn:aws-us-gov:kms:us-gov-west-1:111122223333:key/1" },
    ],
    [
      "AWS China",
      { region: "region: cn-north-1", kmsKeyArn: "kmsKeyArn: arn:aws-cn:kms:cn-north-1:111122223333:key/1" },
    ],
    ["fields in JSON, which YAML is too", { egress: 'egress: ["a.example:8443"]' }],
  ])("with %s is read", (_what, changes) => {
    expect(() => parse(text(changes))).not.toThrow();
  });
});

describe("MANIFEST_INVALID", () => {
  test.each<[string, string | Uint8Array, RegExp]>([
    ["nothing", "", /expected object/],
    ["a list", "- 1\n- 2\n", /expected object/],
    ["text", "cloister\n", /expected object/],
    ["what is not YAML", "version: [1\n", /not YAML: [A-Z_]+ in line 2/],
    ["tabs for indentation", text({ administrators: "administrators:\n\tthreshold: 1" }), /not YAML/],
    ["two documents", `${text()}---\n${text()}`, /not YAML/],
    ["a tag that is not known", text({ deployment: "deployment: !secret a" }), /not YAML/],
    ["a key twice", `${text()}region: eu-west-2\n`, /not YAML/],
    ["a key twice, deep inside", text({ administrators: `${LINES["administrators"]}\n  threshold: 1` }), /not YAML/],
    ["an alias to nothing", text({ deployment: "deployment: *a" }), /alias/],
    ["an alias", text({ region: "region: &r eu-west-1", deployment: "deployment: *r" }), /alias/],
    ["a merge key", text({ egress: "egress: []\n<<: { debug: true }" }), /the manifest: has a field/],
    ["bytes that are not UTF-8", Buffer.concat([Buffer.from(text()), Buffer.from("# \xff\n", "latin1")]), /UTF-8/],
    ["an unknown field", `${text()}debug: true\n`, /not known: debug$/],
    [
      "an unknown field of the administrators",
      text({ administrators: `${LINES["administrators"]}\n  quorum: 1` }),
      /administrators/,
    ],
    ["a __proto__", `${text()}__proto__: { debug: true }\n`, /a field that is not known$/],
  ])("for %s", (_what, source, why) => {
    expect(refusal(source)).toMatchObject({ code: "MANIFEST_INVALID", message: expect.stringMatching(why) });
  });

  test.each(Object.keys(LINES))("for a manifest without %s", (field) => {
    expect(refusal(text({ [field]: "" }))).toMatchObject({
      code: "MANIFEST_INVALID",
      message: expect.stringContaining(field),
    });
  });

  const arn = (rest: string) => ({ kmsKeyArn: `kmsKeyArn: ${rest}` });
  const keys = (threshold: string, ...publicKeys: string[]) => ({
    administrators: `administrators:\n  threshold: ${threshold}\n  publicKeys: [${publicKeys.map((key) => `"${key}"`).join(", ")}]`,
  });

  test.each<[string, Record<string, string>, RegExp]>([
    ["version 2", { version: "version: 2" }, /version/],
    ["version 1 as text", { version: 'version: "1"' }, /version/],
    ["a deployment in capitals", { deployment: "deployment: Payments" }, /deployment/],
    ["a deployment with a slash, which would change audiences", { deployment: "deployment: a/b" }, /deployment/],
    ["a deployment with a hyphen at its end", { deployment: "deployment: a-" }, /deployment/],
    ["a deployment of 64 letters", { deployment: `deployment: ${"a".repeat(64)}` }, /deployment/],
    ["a deployment that YAML reads as a number", { deployment: "deployment: 1" }, /deployment/],
    ["a region that leads elsewhere", { region: "region: eu-west-1.evil.example" }, /region/],
    ["an empty region", { region: 'region: ""' }, /region/],
    ["a key of another region", arn("arn:aws:kms:us-east-1:111122223333:key/1"), /another region/],
    ["an alias's ARN", arn("arn:aws:kms:eu-west-1:111122223333:alias/vault"), /kmsKeyArn/],
    ["a key id alone", arn("1234abcd-12ab-34cd-56ef-1234567890ab"), /kmsKeyArn/],
    ["another service's ARN", arn("arn:aws:s3:eu-west-1:111122223333:key/1"), /kmsKeyArn/],
    ["an account of 11 digits", arn("arn:aws:kms:eu-west-1:11112222333:key/1"), /kmsKeyArn/],
    ["an ARN with something after it", arn("arn:aws:kms:eu-west-1:111122223333:key/1/2"), /kmsKeyArn/],
    ["no administrators", keys("1"), /publicKeys/],
    ["a threshold of 0", keys("0", ONE), /threshold/],
    ["a threshold of -1", keys("-1", ONE), /threshold/],
    ["a threshold of 1.5", keys("1.5", ONE, TWO), /threshold/],
    ["a threshold over the keys", keys("3", ONE, TWO), /distinct keys/],
    ["a threshold that only one key twice would reach", keys("2", ONE, ONE), /distinct keys/],
    ["a key in capitals", keys("1", ONE.toUpperCase()), /publicKeys/],
    ["an uncompressed key", keys("1", `04${"11".repeat(64)}`), /publicKeys/],
    ["a key of 32 bytes", keys("1", ONE.slice(0, -2)), /publicKeys/],
    ["33 keys", keys("1", ...Array.from({ length: 33 }, (_, at) => `02${String(at).padStart(64, "0")}`)), /publicKeys/],
    ["egress without a port", { egress: "egress: [login.example.com]" }, /egress/],
    ["egress as a URL", { egress: 'egress: ["https://login.example.com:443"]' }, /egress/],
    ["egress in capitals", { egress: 'egress: ["Login.example.com:443"]' }, /egress/],
    ["egress to every host", { egress: 'egress: ["*:443"]' }, /egress/],
    ["egress that is not a list", { egress: "egress: login.example.com:443" }, /egress/],
    [
      "egress to 65 hosts",
      { egress: `egress: [${Array.from({ length: 65 }, (_, at) => `"h${at}:443"`).join()}]` },
      /egress/,
    ],
  ])("for %s", (_what, changes, why) => {
    expect(refusal(text(changes))).toMatchObject({ code: "MANIFEST_INVALID", message: expect.stringMatching(why) });
  });
});

test.each([
  ["eu-west-1", "kms.eu-west-1.amazonaws.com"],
  ["us-gov-west-1", "kms.us-gov-west-1.amazonaws.com"],
  ["cn-north-1", "kms.cn-north-1.amazonaws.com.cn"],
])("KMS of %s is at %s", (region, host) => {
  expect(kmsHost({ ...parse(text()), region })).toBe(host);
});
