/** deploy/terraform/enclave-host: what needs no provider by Terraform itself; of the rest what can be read. */
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import {
  chmodSync,
  cpSync,
  existsSync,
  globSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { parseEnclaveConfig, parseMeasurements } from "../../host/index.ts";
import { parseConfig } from "../../parent-proxy/index.ts";
import { hex } from "../kms-policy/policies.ts";

vi.setConfig({ testTimeout: 90_000 });

const MODULE = "deploy/terraform/enclave-host";
const ENVIRONMENT = { ...process.env, CHECKPOINT_DISABLE: "1", TF_CLI_CONFIG_FILE: "/dev/null" };
const isAbsent = spawnSync("terraform", ["version"], { env: ENVIRONMENT }).status !== 0;
const NAME = isAbsent ? "skipped: there is no terraform on this machine" : "terraform";
const KEY_ARN = "arn:aws:kms:us-east-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab";
const MEASUREMENTS = JSON.stringify({ Measurements: { PCR0: hex(0xaa), PCR1: hex(0x11), PCR2: hex(0x22) } });
/** A manifest that a shell would make something of, if it came to see it. */
const MANIFEST = "version: 1\n# $(touch /tmp/owned) `id` 'TEXT\nTEXT\n";
const sha256 = (bytes: Uint8Array | string) => createHash("sha256").update(bytes).digest("hex");

const VARIABLES = {
  region: "us-east-1",
  partition: "aws",
  instance_type: "m6i.xlarge",
  architecture: "x86_64",
  enclave: {},
  artifacts_bucket: "example-artifacts",
  release: { key: "releases/cloister.tar.gz", sha256: sha256("release") },
  image: { key: "images/cloister.eif", sha256: sha256("image"), measurements: MEASUREMENTS, manifest: MANIFEST },
  pcr_sets: null,
  egress_allow: ["login.example.com:443"],
  http: {},
  has_callers: false,
  key_arn: KEY_ARN,
  records_volume_id: "vol-0123456789abcdef0",
  records_volume_gib: 20,
};

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "cloister-terraform-"));
  cpSync(join(MODULE, "launch"), folder, { recursive: true });
});
afterEach(() => rmSync(folder, { recursive: true }));

function terraform(...args: readonly string[]) {
  const options = { env: ENVIRONMENT, encoding: "utf8", timeout: 60_000 } as const;
  const { status, stdout, stderr } = spawnSync("terraform", [`-chdir=${folder}`, ...args], options);
  return { status, stdout, stderr: stderr.replaceAll(/\s*│?\s+/g, " ") };
}

function apply(change: object) {
  writeFileSync(join(folder, "test.auto.tfvars.json"), JSON.stringify({ ...VARIABLES, ...change }));
  return terraform("apply", "-auto-approve", "-input=false", "-no-color");
}

function outputs(change: object = {}): Record<string, unknown> {
  const { status, stderr } = apply(change);
  expect({ status, stderr: status === 0 ? "" : stderr }).toEqual({ status: 0, stderr: "" });
  const all = JSON.parse(terraform("output", "-json").stdout) as Record<string, { value: unknown }>;
  return Object.fromEntries(Object.entries(all).map(([name, { value }]) => [name, value]));
}

const REFUSED_TYPES: readonly (readonly [string, string])[] = [
  ["t3.xlarge", "Burstable"],
  ["t4g.large", "Burstable"],
  ["m6i.metal", "Bare metal"],
  ["c7i.metal-24xl", "Bare metal"],
  ["mac2.metal", "Bare metal"],
  ["m4.xlarge", "not built on Nitro"],
  ["c4.2xlarge", "not built on Nitro"],
  ["m7i-flex.xlarge", "runs no enclaves"],
  ["a1.xlarge", "runs no enclaves"],
  ["u-6tb1.56xlarge", "runs no enclaves"],
  ["trn1.2xlarge", "runs no enclaves"],
  ["g4ad.xlarge", "runs no enclaves"],
  ["m6g.medium", "one vCPU"],
  ["m6i.large", "4 vCPUs"],
  ["c6a.large", "4 vCPUs"],
  ["M6i.xlarge", "Expected an instance type"],
  ["m6i", "Expected an instance type"],
];
const TAKEN_TYPES = [
  "m6i.xlarge",
  "c5.2xlarge",
  "c6in.8xlarge",
  "r7a.xlarge",
  "m5dn.xlarge",
  "m6g.large",
  "c7g.xlarge",
  "x2gd.large",
];

describe("instance types, by the rules as they are written", () => {
  const rules = [
    ...(
      /variable "instance_type" \{.*?\n\}\n/s.exec(readFileSync(`${MODULE}/launch/variables.tf`, "utf8"))?.[0] ?? ""
    ).matchAll(/condition +=(.*)\n +error_message = "(.*)"/g),
  ].map(([, condition = "", message = ""]) => ({ condition, message }));

  /** Conditions are regular expressions under !, && and ||, which JavaScript reads alike. */
  function refusals(type: string): string[] {
    return rules.flatMap(({ condition, message }) => {
      const script = condition.replaceAll(
        /can\(regex\(("(?:[^"\\]|\\.)*"), var\.instance_type\)\)/g,
        (_all, pattern: string) => String(new RegExp(JSON.parse(pattern) as string).test(type)),
      );
      if (!/^[ a-z!&|()]+$/.test(script)) throw new Error(`not read: ${condition}`);
      const terms = (text: string, by: string) => text.split(by).map((term) => term.trim());
      const holds = terms(script, "||").some((any) =>
        terms(any, "&&").every((term) => term === "true" || term === "!false"),
      );
      return holds ? [] : [message];
    });
  }

  test("are read", () => expect(rules.length).toBe(7));
  test.each(REFUSED_TYPES)("refuse %s", (type, message) => expect(refusals(type).join()).toContain(message));
  test.each(TAKEN_TYPES)("take %s", (type) => expect(refusals(type)).toEqual([]));
});

describe.skipIf(isAbsent)(NAME, () => {
  test.each(REFUSED_TYPES)("refuses %s", (instance_type, message) => {
    const { status, stderr } = apply({ instance_type });
    expect({ status, stderr }).toEqual({ status: 1, stderr: expect.stringContaining(message) });
  });

  test.each(["m6i.xlarge", "r7a.xlarge"])("takes %s", (instance_type) => {
    expect(apply({ instance_type }).status).toBe(0);
  });

  test.each<[string, object, string]>([
    ["half a core", { enclave: { cpu_count: 3 } }, "even cpu_count"],
    ["a CID that is taken", { enclave: { cid: 3 } }, "Expected a CID of 4 or more"],
    ["no memory", { enclave: { memory_mib: 63 } }, "Expected memory_mib of 64 or more"],
    ["Graviton as x86", { instance_type: "m6g.large" }, "architecture is not the instance type's"],
    ["x86 as Graviton", { architecture: "arm64" }, "architecture is not the instance type's"],
    ["another architecture", { architecture: "riscv" }, "Expected x86_64 or arm64"],
    [
      "measurements of another kind",
      { image: { ...VARIABLES.image, measurements: "{}" } },
      "Expected the text of measurements.json",
    ],
    ["a digest that is none", { release: { key: "x", sha256: "abc" } }, "Expected a key of letters"],
    [
      "a key that a shell would run",
      { release: { key: "x'; reboot '", sha256: sha256("") } },
      "Expected a key of letters",
    ],
    ["a destination without a port", { egress_allow: ["login.example.com"] }, "Expected host:port"],
    ["callers whom nobody hears", { has_callers: true }, "the parent listens on 127.0.0.1"],
    ["a port that only root may take", { http: { port: 443 } }, "Expected a port from 1024"],
    ["a proxy by its name", { http: { trusted_proxies: ["balancer.internal"] } }, "Expected at most 64 proxies"],
    ["a proxy of 33 bits", { http: { trusted_proxies: ["10.0.0.0/33"] } }, "Expected at most 64 proxies"],
    ["a manifest that does not fit", { image: { ...VARIABLES.image, manifest: "#".repeat(8193) } }, "too long"],
  ])("refuses %s", (_what, change, message) => {
    const { status, stderr } = apply(change);
    expect({ status, stderr }).toEqual({ status: 1, stderr: expect.stringContaining(message) });
  });

  test("takes one CPU where a core has one thread", () => {
    expect(apply({ enclave: { cpu_count: 1 }, instance_type: "m7a.xlarge" }).status).toBe(0);
    expect(apply({ enclave: { cpu_count: 1 }, instance_type: "m7g.large", architecture: "arm64" }).status).toBe(0);
  });

  test.each<[string, string]>([
    ["127.0.0.1", "http://127.0.0.1:8080"],
    ["0.0.0.0", "http://127.0.0.1:8080"],
    ["10.0.0.5", "http://10.0.0.5:8080"],
    ["::", "http://[::1]:8080"],
  ])("asks after a parent that listens on %s where it listens", (host, url) => {
    expect(outputs({ http: { host } })["user_data"]).toContain(`echo 'CLOISTER_URL=${url}' >`);
  });

  test("names the proxies that stand in front, to a parent that takes them", () => {
    const trusted_proxies = ["10.0.0.0/8", "192.0.2.1", "2001:db8::/32"];
    const { user_data } = outputs({ http: { host: "0.0.0.0", trusted_proxies } });
    const [, text = ""] = /parent.json <<'TEXT'\n(.*)\n/.exec(String(user_data)) ?? [];
    const { http } = parseConfig(Buffer.from(text, "base64"));
    expect(http).toEqual({ host: "0.0.0.0", port: 8080, trustedProxies: trusted_proxies });
  });

  test("gives the role the key, two objects, and nothing else", () => {
    const { role_policy } = outputs();
    expect(JSON.parse(role_policy as string).Statement).toEqual([
      { Sid: "OpenTheVault", Effect: "Allow", Action: ["kms:Decrypt", "kms:GenerateDataKey"], Resource: KEY_ARN },
      {
        Sid: "FetchReleaseAndImage",
        Effect: "Allow",
        Action: "s3:GetObject",
        Resource: [
          "arn:aws:s3:::example-artifacts/releases/cloister.tar.gz",
          "arn:aws:s3:::example-artifacts/images/cloister.eif",
        ],
      },
    ]);
  });

  test("lets EC2 alone assume the role, in China by its name there", () => {
    const service = (change: object) => JSON.parse(outputs(change)["trust_policy"] as string).Statement[0].Principal;
    expect(service({})).toEqual({ Service: "ec2.amazonaws.com" });
    expect(service({ partition: "aws-cn" })).toEqual({ Service: "ec2.amazonaws.com.cn" });
  });

  test("admits the image's PCR0, nobody without an image, and whom it is told to", () => {
    expect(outputs()["pcr_sets"]).toEqual([{ 0: hex(0xaa) }]);
    expect(outputs({ image: null })).toMatchObject({ pcr_sets: [], user_data: "" });
    const both = [{ 0: hex(0xaa) }, { 0: hex(0xbb) }];
    expect(outputs({ pcr_sets: both })["pcr_sets"]).toEqual(both);
  });

  test("is formatted as Terraform formats", () => {
    const { status, stdout } = spawnSync("terraform", ["fmt", "-check", "-recursive", MODULE], {
      env: ENVIRONMENT,
      encoding: "utf8",
    });
    expect({ status, stdout }).toEqual({ status: 0, stdout: "" });
  });

  describe("user data, run over stand-ins", () => {
    /** Programs of the host that do nothing but note that they were called; `aws` hands out what the bucket has. */
    function run(change: object, bucket: Readonly<Record<string, string | Uint8Array>>, found = 2) {
      const root = join(folder, "root");
      mkdirSync(join(root, "bin"), { recursive: true });
      for (const path of ["etc", "bucket", "dev/disk/by-id"]) mkdirSync(join(root, path), { recursive: true });
      writeFileSync(join(root, "dev/disk/by-id/nvme-Amazon_Elastic_Block_Store_vol0123456789abcdef0"), "");
      for (const [key, bytes] of Object.entries(bucket))
        writeFileSync(join(root, "bucket", key.replaceAll("/", "_")), bytes);
      const stand = (name: string, script: string) => {
        writeFileSync(join(root, "bin", name), `#!/bin/bash\necho "${name} $*" >> ${root}/calls\n${script}\n`);
        chmodSync(join(root, "bin", name), 0o755);
      };
      for (const name of ["dnf", "mount", "mkfs.xfs", "systemctl"]) stand(name, "");
      stand("blkid", `exit ${found}`);
      stand("aws", `cp "${root}/bucket/$(echo "$8" | tr / _)" "$9"`);
      const script = (outputs(change)["user_data"] as string).replaceAll(
        /(?<![A-Za-z"])\/(opt|etc|var\/lib|dev\/disk)(?=\/)/g,
        `${root}/$1`,
      );
      const { status, stderr } = spawnSync("bash", ["--norc", "-c", script], {
        encoding: "utf8",
        timeout: 60_000,
        env: { PATH: `${root}/bin:${process.env["PATH"]}`, TMPDIR: folder },
      });
      const calls = existsSync(`${root}/calls`) ? readFileSync(`${root}/calls`, "utf8").trim().split("\n") : [];
      return { status, stderr, calls, root };
    }

    function packRelease(): Uint8Array {
      const from = join(folder, "cloister-1");
      mkdirSync(join(from, "deploy"), { recursive: true });
      writeFileSync(join(from, "deploy/install.sh"), `#!/bin/bash\necho "install.sh $*" >> ${folder}/root/calls\n`);
      chmodSync(join(from, "deploy/install.sh"), 0o755);
      spawnSync("tar", ["-czf", join(folder, "release.tgz"), "-C", folder, "cloister-1"]);
      return readFileSync(join(folder, "release.tgz"));
    }
    const both = (release: Uint8Array) => ({ "releases/cloister.tar.gz": release, "images/cloister.eif": "image" });
    const withDigest = (release: Uint8Array) => ({
      release: { key: "releases/cloister.tar.gz", sha256: sha256(release) },
    });

    test("installs release, image and settings, and starts them", () => {
      const release = packRelease();
      const { status, stderr, calls, root } = run(
        { ...withDigest(release), enclave: { memory_mib: 3072 } },
        both(release),
      );
      expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
      const settings = join(root, "etc/cloister");
      expect(parseEnclaveConfig(readFileSync(join(settings, "enclave.json")))).toMatchObject({
        memoryMib: 3072,
        enclaveCid: 16,
      });
      expect(parseConfig(readFileSync(join(settings, "parent.json")))).toMatchObject({
        vsock: { kind: "af-vsock", enclaveCid: 16 },
        egress: { allow: ["kms.us-east-1.amazonaws.com:443", "login.example.com:443"] },
      });
      expect(parseMeasurements(readFileSync(join(settings, "measurements.json"))).PCR0).toBe(hex(0xaa));
      expect(readFileSync(join(settings, "cloister.yaml"), "utf8")).toBe(MANIFEST);
      expect(readFileSync(join(root, "opt/cloister-image/cloister.eif"), "utf8")).toBe("image");
      expect(calls.filter((call) => !call.startsWith("aws "))).toEqual([
        "dnf install -y aws-nitro-enclaves-cli",
        expect.stringMatching(/^blkid --probe .*vol0123456789abcdef0$/),
        expect.stringMatching(/^mkfs.xfs -q .*vol0123456789abcdef0$/),
        "systemctl daemon-reload",
        `mount ${root}/var/lib/cloister`,
        "install.sh --memory-mib 3072 --cpu-count 2",
        "systemctl enable --now nitro-enclaves-allocator.service",
        "systemctl start cloister-parent.service cloister-enclave.service cloister-health.timer",
      ]);
    });

    test("does not format a volume that holds something", () => {
      const release = packRelease();
      const { status, calls } = run(withDigest(release), both(release), 0);
      expect(status).toBe(0);
      expect(calls.filter((call) => call.startsWith("mkfs"))).toEqual([]);
    });

    test.each(["releases/cloister.tar.gz", "images/cloister.eif"])("stops at another %s than was asked for", (key) => {
      const release = packRelease();
      const { status, calls, root } = run(withDigest(release), { ...both(release), [key]: "forged" });
      expect(status).not.toBe(0);
      expect(calls.filter((call) => /^(install|systemctl)/.test(call))).toEqual([]);
      expect(existsSync(join(root, "opt/cloister-image"))).toBe(false);
    });
  });
});

const without = (names: ReadonlySet<string>, known: ReadonlySet<string>) =>
  [...names].filter((name) => !known.has(name));

describe("the module around it", () => {
  const sources = new Map(globSync(`${MODULE}/*.tf`).map((file) => [file, readFileSync(file, "utf8")]));
  const all = [...sources.values()].join("\n");
  const names = (text: string, pattern: RegExp) => new Set([...text.matchAll(pattern)].map(([, name = ""]) => name));
  const code = all.replaceAll(/^\s*#.*$/gm, "").replaceAll(/description = ".*"/g, "");

  test("uses every variable that it declares, and declares every one that it uses", () => {
    expect(names(code, /\bvar\.([a-z0-9_]+)/g)).toEqual(names(all, /^variable "([a-z0-9_]+)"/gm));
  });

  test.each([
    ["launch", `${MODULE}/launch`],
    ["vault_key", "deploy/terraform/kms-key"],
  ])("gives module %s what it takes, and asks for what it has", (module, path) => {
    const inside = globSync(`${path}/*.tf`)
      .map((file) => readFileSync(file, "utf8"))
      .join("\n");
    const block = new RegExp(`^module "${module}" \\{\n(.*?)^\\}`, "ms").exec(all)?.[1] ?? "";
    const given = names(block, /^ {2}(?!source|providers)([a-z_]+) +=/gm);
    const taken = names(inside, /^variable "([a-z0-9_]+)"/gm);
    const needed = new Set(
      [...taken].filter((name) => !new RegExp(`variable "${name}" \\{[^}]*\\bdefault\\b`).test(inside)),
    );
    expect(without(given, taken)).toEqual([]);
    expect(without(needed, given)).toEqual([]);
    const asked = names(code, new RegExp(`\\bmodule\\.${module}\\.([a-z_]+)`, "g"));
    expect(asked.size).toBeGreaterThan(0);
    expect(without(asked, names(inside, /^output "([a-z_]+)"/gm))).toEqual([]);
  });

  test("refers to no resource that is not there", () => {
    const declared = new Set(
      [...all.matchAll(/^(?:resource|data) "([a-z0-9_]+)" "([a-z0-9_]+)"/gm)].map(
        ([, type, name]) => `${type}.${name}`,
      ),
    );
    const used = new Set([...code.matchAll(/\b(aws_[a-z0-9_]+\.[a-z0-9_]+)/g)].map(([, name = ""]) => name));
    expect(without(used, declared)).toEqual([]);
  });

  test.each([
    ["enclaves are on", /enclave_options \{\s+enabled = true/],
    ["metadata want a token", /http_tokens = "required"/],
    ["and go one hop", /http_put_response_hop_limit = 1\n/],
    [
      "the records are encrypted, and not destroyed",
      /aws_ebs_volume" "records" \{[^}]*encrypted +=\s*true.*?prevent_destroy = true/s,
    ],
    ["the root volume is encrypted", /root_block_device \{\s+encrypted +=\s*true/],
    ["no public address", /associate_public_ip_address = false/],
    [
      "ingress from named groups alone",
      /ingress_rule" "callers" \{\s+for_each = toset\(var\.caller_security_group_ids\)/,
    ],
  ])("%s", (_what, pattern) => {
    expect(all).toMatch(pattern);
  });

  test("opens no port to the world, and hands out no action but by launch/", () => {
    expect(all.match(/aws_vpc_security_group_ingress_rule"/g)).toHaveLength(1);
    expect(all).not.toMatch(/ingress \{|aws_security_group_rule/);
    expect(all.match(/aws_iam_role_policy"/g)).toHaveLength(1);
    expect(all).not.toMatch(/"(?:kms|s3|ec2|iam):/);
  });
});
