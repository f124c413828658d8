/** Every check of `cloister doctor`, with every outcome that it has. */
import { describe, expect, test } from "vitest";
import { CHECK_IDS, type CheckId, type Outcome, runChecks } from "../../host/index.ts";
import { formatKeyPolicy, generateKeyPolicy } from "../../kms-policy/index.ts";
import { hex, ONE_IMAGE, pcrs, ROLE, STRANGER } from "../kms-policy/policies.ts";
import { AT_MS, DESCRIBED, EIF, HostWorld, PARENT_CONFIG } from "./host-world.ts";

const ENCLAVE = "/etc/cloister/enclave.json";
const PARENT = "/etc/cloister/parent.json";
const MEASURED = "/etc/cloister/measurements.json";
const ALLOCATOR = "/etc/nitro_enclaves/allocator.yaml";
const RECORDS = "/var/lib/cloister/records.sqlite";
const DMI = "/sys/devices/virtual/dmi/id";
const POOL = "/sys/module/nitro_enclaves/parameters/ne_cpus";
const READY = "GET http://127.0.0.1:8080/readyz";
const KMS = "GET https://kms.us-east-1.amazonaws.com/";
const SS = "ss --no-header --listening --numeric --vsock";
const DESCRIBE = "nitro-cli describe-enclaves";
const MIB = 1024 * 1024;
const POSTGRES = {
  kind: "postgres",
  host: "db.internal",
  database: "cloister",
  user: "cloister",
  passwordFile: "/etc/cloister/password",
  tls: { kind: "verify-full" },
};

test("finds nothing wrong with a healthy host", async () => {
  const findings = await runChecks(await new HostWorld().context());
  expect(findings.filter(({ outcome }) => outcome !== "ok")).toEqual([]);
  expect(findings.map(({ check }) => check)).toEqual([...CHECK_IDS]);
});

type Case = readonly [check: CheckId, outcome: Outcome, found: string, change: (world: HostWorld) => void];

const CASES: readonly Case[] = [
  ["instance", "failure", "of no known make, not EC2", (w) => w.files.delete(`${DMI}/sys_vendor`)],
  ["instance", "failure", "QEMU, not EC2", (w) => w.text(`${DMI}/sys_vendor`, "QEMU\n")],
  ["instance", "failure", "m6i.metal is bare metal", (w) => w.text(`${DMI}/product_name`, "m6i.metal\n")],
  ["instance", "failure", "t3.xlarge is burstable", (w) => w.text(`${DMI}/product_name`, "t3.xlarge\n")],
  ["instance", "skipped", "not for this user", (w) => w.files.set(`${DMI}/board_asset_tag`, "DENIED")],

  ["enclave-device", "failure", "/dev/nitro_enclaves is not there", (w) => w.files.delete("/dev/nitro_enclaves")],
  ["enclave-device", "skipped", "not for this user", (w) => w.files.set("/dev/nitro_enclaves", "DENIED")],

  ["nitro-cli", "failure", "nitro-cli is not there", (w) => w.commands.delete("nitro-cli --version")],
  ["nitro-cli", "failure", "ends with 1: broken", (w) => w.command("nitro-cli --version", "", 1, "broken")],
  ["nitro-cli", "failure", "boot without entropy", (w) => w.command("nitro-cli --version", "Nitro CLI 1.1.9\n")],
  ["nitro-cli", "ok", "Nitro CLI 1.2.0", (w) => w.command("nitro-cli --version", "Nitro CLI 1.2.0\n")],
  ["nitro-cli", "ok", "Nitro CLI 2.0.0", (w) => w.command("nitro-cli --version", "Nitro CLI 2.0.0\n")],
  ["nitro-cli", "warning", "names no version", (w) => w.command("nitro-cli --version", "Nitro CLI\n")],
  ["nitro-cli", "failure", "nitro-cli", (w) => w.commands.set("nitro-cli --version", "TIMED_OUT")],

  ["users", "failure", "there is no group ne", (w) => w.text("/etc/group", "root:x:0:\n")],
  ["users", "failure", "cloister-enclave is not in group ne", (w) => w.text("/etc/group", "ne:x:992:ec2-user\n")],
  ["users", "warning", "cloister is in group ne", (w) => w.text("/etc/group", "ne:x:992:cloister,cloister-enclave\n")],
  ["users", "failure", "there is no user cloister-enclave", (w) => w.text("/etc/passwd", "cloister:x:990:990::/:/\n")],
  ["users", "failure", "there is no user cloister", (w) => w.text("/etc/passwd", "cloister-enclave:x:991:992::/:/\n")],

  ["allocator", "failure", "is not there", (w) => w.files.delete(ALLOCATOR)],
  ["allocator", "failure", 'the first line is not "---"', (w) => w.text(ALLOCATOR, "memory_mib: 2048\ncpu_count: 2\n")],
  [
    "allocator",
    "failure",
    "exactly one of",
    (w) => w.text(ALLOCATOR, "---\nmemory_mib: 2048\ncpu_count: 2\ncpu_pool: 1,3\n"),
  ],
  [
    "allocator",
    "failure",
    "memory_mib is not a number",
    (w) => w.text(ALLOCATOR, "---\nmemory_mib: 2G\ncpu_count: 2\n"),
  ],
  ["allocator", "failure", "cpu_pool is no list", (w) => w.text(ALLOCATOR, "---\nmemory_mib: 2048\ncpu_pool: 3-1\n")],
  ["allocator", "failure", "sets 1 CPUs aside", (w) => w.text(ALLOCATOR, "---\nmemory_mib: 2048\ncpu_count: 1\n")],
  ["allocator", "failure", "sets 512 MiB aside", (w) => w.text(ALLOCATOR, "---\nmemory_mib: 512\ncpu_count: 2\n")],
  [
    "allocator",
    "ok",
    "2 CPUs and 4096 MiB",
    (w) => w.text(ALLOCATOR, "---\n# ours\nmemory_mib: 4096\ncpu_pool: 1,3\n"),
  ],
  ["allocator", "skipped", "enclave.json cannot be used", (w) => w.files.delete(ENCLAVE)],

  ["cpus", "failure", "the driver is not loaded", (w) => w.files.delete(POOL)],
  ["cpus", "failure", "no CPU is in the pool", (w) => w.text(POOL, "\n")],
  ["cpus", "failure", "cannot be read as a list", (w) => w.text(POOL, "all\n")],
  ["cpus", "failure", "1 CPUs are in the pool, the enclave wants 2", (w) => w.text(POOL, "1\n")],
  ["cpus", "failure", "the pool 1-2 has half a core", (w) => w.text(POOL, "1-2\n")],
  ["cpus", "failure", "no whole cores of 2 threads", (w) => w.edit(ENCLAVE, { cpu_count: 1 })],
  [
    "cpus",
    "failure",
    "the pool lies in 2 NUMA nodes",
    (w) => {
      w.numaNode(0, "0-1", { total: 2048, free: 0 });
      w.numaNode(1, "2-3", { total: 2048, free: 0 });
    },
  ],

  ["hugepages", "ok", "2048 MiB on node0; the enclave has its share", () => {}],
  ["hugepages", "failure", "1024 MiB of huge pages on node0", (w) => w.numaNode(0, "0-3", { total: 1024, free: 0 })],
  ["hugepages", "failure", "2046 MiB of huge pages", (w) => w.numaNode(0, "0-3", { total: 2046, free: 0 })],
  ["hugepages", "warning", "but only 1024 free, and the enclave is not running", (w) => w.enclaves([])],
  ["hugepages", "ok", "1024 MiB free", (w) => w.commands.delete(DESCRIBE)],
  [
    "hugepages",
    "ok",
    "2048 MiB on node0, 2048 MiB free",
    (w) => {
      w.enclaves([]);
      w.numaNode(0, "0-3", { total: 2048, free: 2048 });
    },
  ],
  [
    "hugepages",
    "failure",
    "0 MiB of huge pages on node1",
    (w) => {
      w.numaNode(0, "0,2", { total: 4096, free: 4096 });
      w.numaNode(1, "1,3", { total: 0, free: 0 });
    },
  ],

  ["enclave-config", "failure", "enclave.json is not there", (w) => w.files.delete(ENCLAVE)],
  ["enclave-config", "failure", "DEBUG_MODE", (w) => w.edit(ENCLAVE, { debug_mode: true })],
  ["enclave-config", "failure", "DEBUG_MODE", (w) => w.edit(ENCLAVE, { attach_console: true })],
  ["enclave-config", "failure", "CONFIG_INVALID", (w) => w.edit(ENCLAVE, { enclave_cid: 3 })],
  ["enclave-config", "failure", "CONFIG_INVALID", (w) => w.edit(ENCLAVE, { cpu_ids: [1, 3] })],
  ["enclave-config", "failure", "CONFIG_INVALID", (w) => w.text(ENCLAVE, "{")],
  ["enclave-config", "skipped", "not for this user", (w) => w.files.set(ENCLAVE, "DENIED")],

  ["image", "failure", "PCR0 differ", (w) => (w.image = { sizeBytes: 100 * MIB, pcr0: hex(0xbb) })],
  ["image", "failure", "IMAGE_UNREADABLE", (w) => (w.image = "ABSENT")],
  ["image", "failure", `the image's PCR0 is ${hex(0xaa)}`, (w) => w.files.delete(MEASURED)],
  ["image", "failure", "MEASUREMENTS_INVALID", (w) => w.text(MEASURED, "{}")],
  ["image-memory", "failure", "memory_mib is 399, the image needs 400", (w) => w.edit(ENCLAVE, { memory_mib: 399 })],
  ["image-memory", "ok", "400 MiB, the image needs 400", (w) => w.edit(ENCLAVE, { memory_mib: 400 })],
  ["image-memory", "skipped", "cannot be measured", (w) => (w.image = "ABSENT")],

  ["enclave", "failure", "cloister is not running", (w) => w.enclaves([])],
  ["enclave", "failure", "running: other", (w) => w.enclaves([{ ...DESCRIBED, EnclaveName: "other" }])],
  ["enclave", "failure", "is TERMINATING", (w) => w.enclaves([{ ...DESCRIBED, State: "TERMINATING" }])],
  ["enclave", "failure", "runs in debug mode", (w) => w.enclaves([{ ...DESCRIBED, Flags: "DEBUG_MODE" }])],
  [
    "enclave",
    "failure",
    "not the image expected: PCR0",
    (w) => w.enclaves([{ ...DESCRIBED, Measurements: { ...DESCRIBED.Measurements, PCR0: hex(1) } }]),
  ],
  ["enclave", "ok", "is RUNNING", (w) => w.enclaves([{ ...DESCRIBED, Measurements: undefined }])],
  ["enclave", "skipped", "nitro-cli is not there", (w) => w.commands.delete(DESCRIBE)],
  [
    "enclave",
    "failure",
    "E19: a file operation failed",
    (w) => w.command(DESCRIBE, "", 19, "[ E19 ] File operation failure"),
  ],
  ["enclave", "failure", "not what nitro-cli prints", (w) => w.command(DESCRIBE, "nothing")],

  ["cid", "failure", "speaks unix-socket", (w) => w.edit(PARENT, { vsock: { kind: "unix-socket", path: "/run/x" } })],
  ["cid", "failure", "calls CID 17", (w) => w.edit(PARENT, { vsock: { kind: "af-vsock", enclaveCid: 17 } })],
  ["cid", "failure", "has CID 18", (w) => w.enclaves([{ ...DESCRIBED, EnclaveCID: 18 }])],
  ["cid", "ok", "CID 16 on both sides", (w) => w.commands.delete(DESCRIBE)],

  ["heartbeat-port", "warning", "somebody listens", (w) => w.command(SS, "v_str LISTEN 0      0      *:9000  *:*\n")],
  ["heartbeat-port", "ok", "nobody listens", (w) => w.command(SS, "v_str LISTEN 0      0      9000:5000  *:*\n")],
  ["heartbeat-port", "skipped", "ss cannot list vsock", (w) => w.command(SS, "", 1, "no such module")],
  ["heartbeat-port", "skipped", "is not there", (w) => w.commands.delete(SS)],
  [
    "vhost-vsock",
    "warning",
    "vhost_vsock is loaded",
    (w) => w.text("/proc/modules", "vhost_vsock 28672 0 - Live 0x0\n"),
  ],

  [
    "vhost-vsock",
    "ok",
    'the parent says "toHost"',
    (w) => {
      w.text("/proc/modules", "vhost_vsock 28672 0 - Live 0x0\n");
      w.edit(PARENT, { vsock: { kind: "af-vsock", enclaveCid: 16, toHost: true } });
    },
  ],
  ["parent-config", "failure", "parent.json is not there", (w) => w.files.delete(PARENT)],
  ["parent-config", "failure", "http", (w) => w.edit(PARENT, { http: { host: "127.0.0.1" } })],
  [
    "parent-config",
    "failure",
    "static",
    (w) =>
      w.edit(PARENT, { credentials: { kind: "static", accessKeyId: "a", secretAccessKey: "b", sessionToken: null } }),
  ],
  ["parent-config", "skipped", "not for this user", (w) => w.files.set(PARENT, "DENIED")],

  ["parent", "ok", "the enclave is ready", () => {}],
  [
    "parent",
    "ok",
    "ready, with libsecp256k1 0.5.0",
    (w) => w.answer(READY, 200, '{"enclave":"ready","reason":null,"secp256k1":"libsecp256k1 0.5.0"}'),
  ],
  ["parent", "failure", "nothing answers", (w) => w.answers.delete(READY)],
  ["parent", "failure", "503: unreachable", (w) => w.answer(READY, 503, '{"enclave":"unreachable","reason":null}')],
  [
    "parent",
    "failure",
    "failed, KMS_ACCESS_DENIED",
    (w) => w.answer(READY, 503, '{"enclave":"failed","reason":{"code":"KMS_ACCESS_DENIED"}}'),
  ],
  ["parent", "warning", "503: booting", (w) => w.answer(READY, 503, '{"enclave":"booting","reason":null}')],
  [
    "parent",
    "warning",
    "attested, KMS_UNREACHABLE",
    (w) => w.answer(READY, 503, '{"enclave":"attested","reason":{"code":"KMS_UNREACHABLE"}}'),
  ],
  ["parent", "warning", "draining", (w) => w.answer(READY, 503, '{"enclave":"draining","reason":null}')],
  ["parent", "failure", "answers 502", (w) => w.answer(READY, 502, "<html>")],
  ["parent", "skipped", "parent.json may not be read by this user", (w) => w.files.set(PARENT, "DENIED")],
  [
    "parent",
    "ok",
    "ready",
    (w) => {
      w.edit(PARENT, { http: { host: "0.0.0.0", port: 8080 } });
    },
  ],

  [
    "egress",
    "failure",
    "names kms.us-east-1.amazonaws.com:443",
    (w) => w.edit(PARENT, { egress: { allow: ["login.example.com:443"] } }),
  ],
  [
    "egress",
    "warning",
    "allows evil.example:443",
    (w) => w.edit(PARENT, { egress: { allow: [...PARENT_CONFIG.egress.allow, "evil.example:443"] } }),
  ],
  ["egress", "skipped", "the manifest's copy on this host", (w) => w.files.delete("/etc/cloister/cloister.yaml")],

  ["records", "failure", "/var/lib/cloister is not there", (w) => w.files.delete("/var/lib/cloister")],
  [
    "records",
    "failure",
    "/var/lib/cloister is not cloister's",
    (w) => w.files.set("/var/lib/cloister", { isFolder: true, mode: 0o700, uid: 0 }),
  ],
  ["records", "failure", "records.sqlite is not cloister's", (w) => w.files.set(RECORDS, { mode: 0o600, uid: 0 })],
  ["records", "ok", "is not there yet", (w) => w.files.delete(RECORDS)],
  ["records", "skipped", "there is no user", (w) => w.text("/etc/passwd", "root:x:0:0::/:/\n")],
  [
    "records",
    "warning",
    "open to others of this host (0644)",
    (w) => {
      w.files.set("/var/lib/cloister", { isFolder: true, mode: 0o755, uid: 990 });
      w.files.set(RECORDS, { mode: 0o644, uid: 990 });
    },
  ],
  ["records", "ok", "records.sqlite", (w) => w.files.set(RECORDS, { mode: 0o644, uid: 990 })],
  ["records", "skipped", "kept by PostgreSQL on db.internal", (w) => w.edit(PARENT, { records: POSTGRES })],
  ["disk", "skipped", "kept by PostgreSQL on db.internal", (w) => w.edit(PARENT, { records: POSTGRES })],
  [
    "permissions",
    "failure",
    "everybody may read /etc/cloister/password",
    (w) => {
      w.edit(PARENT, { records: POSTGRES });
      w.files.set("/etc/cloister/password", { mode: 0o644 });
    },
  ],
  ["disk", "failure", "255 MiB are free", (w) => (w.freeBytes = 255 * MIB)],
  ["disk", "ok", "256 MiB are free", (w) => (w.freeBytes = 256 * MIB)],
  ["disk", "warning", "less than the records take", (w) => w.files.set(RECORDS, { sizeBytes: 30_000 * MIB, uid: 990 })],

  [
    "permissions",
    "failure",
    "others than root may write /opt/cloister/cloister.eif (0664)",
    (w) => w.files.set(EIF, { mode: 0o664 }),
  ],
  [
    "permissions",
    "warning",
    "enclave.json is not root's",
    (w) => w.files.set(ENCLAVE, { text: JSON.stringify({}), uid: 1000 }),
  ],
  [
    "permissions",
    "failure",
    "has a secret",
    (w) =>
      w.edit(PARENT, { credentials: { kind: "static", accessKeyId: "a", secretAccessKey: "b", sessionToken: null } }),
  ],
  [
    "permissions",
    "skipped",
    "none of the files",
    (w) => {
      for (const file of [ENCLAVE, PARENT, MEASURED, ALLOCATOR]) w.files.delete(file);
    },
  ],

  ["imds", "warning", "IMDSv1 answers too", (w) => w.imds("/latest/meta-data/", 200, "ami-id")],
  ["imds", "failure", "IMDSv2 gives no token", (w) => w.imds("/latest/api/token", 403, "", "PUT")],
  ["imds", "failure", "does not answer", (w) => w.imdsIs("TIMED_OUT")],
  ["credentials", "skipped", "no metadata", (w) => w.imdsIs("FAILED")],
  [
    "credentials",
    "failure",
    "the instance has no role",
    (w) => w.imds("/latest/meta-data/iam/security-credentials/", 404, ""),
  ],
  [
    "credentials",
    "failure",
    "no credentials of cloister-parent",
    (w) => w.imds("/latest/meta-data/iam/security-credentials/cloister-parent", 404, ""),
  ],
  [
    "credentials",
    "failure",
    "AssumeRoleUnauthorizedAccess",
    (w) => w.credentials({ Code: "AssumeRoleUnauthorizedAccess" }),
  ],
  [
    "credentials",
    "failure",
    "have expired",
    (w) => w.credentials({ Code: "Success", Expiration: "2026-11-26T12:00:00Z" }),
  ],
  [
    "credentials",
    "warning",
    "end in 4 min",
    (w) => w.credentials({ Code: "Success", Expiration: "2026-11-26T12:05:00Z" }),
  ],
  ["credentials", "warning", "name no expiry", (w) => w.credentials({ Code: "Success" })],

  ["key-policy", "skipped", "may not read the key policy", (w) => (w.keyPolicy = "DENIED")],
  ["key-policy", "failure", "cannot be had", (w) => (w.keyPolicy = "FAILED")],
  ["key-policy", "failure", "no statement allows it", (w) => (w.keyPolicy = openPolicy.replace(ROLE, STRANGER))],
  ["key-policy", "failure", "denied by DenyUseWithoutAttestation", (w) => (w.keyPolicy = policyOf([0xbb]))],
  ["key-policy", "ok", "it admits this image", (w) => (w.keyPolicy = policyOf([0xbb, 0xaa]))],
  ["key-policy", "skipped", "the role is not known", (w) => w.imdsIs("FAILED")],
  ["key-policy", "skipped", "no image was tried", (w) => w.files.delete(MEASURED)],
  ["key-policy", "failure", "is allowed without an attestation document", (w) => (w.keyPolicy = openPolicy)],
  ["key-policy", "failure", "is allowed to debug enclaves", (w) => (w.keyPolicy = openPolicy)],
  ["key-policy", "failure", "line 11, UNATTESTED_DECRYPT", (w) => (w.keyPolicy = openPolicy)],
  ["key-policy", "failure", "MALFORMED_JSON", (w) => (w.keyPolicy = "{ }}")],
  [
    "key-policy",
    "ok",
    "it admits this image",
    (w) => {
      w.keyPolicy = "DENIED";
      w.paths = { ...w.paths, keyPolicy: "/tmp/policy.json" };
      w.text("/tmp/policy.json", policyOf([0xaa]));
    },
  ],

  ["clock", "ok", "within 2 s of KMS, synchronised", (w) => (w.nowMs = AT_MS + 2_000)],
  ["clock", "warning", "3 s ahead of KMS", (w) => (w.nowMs = AT_MS + 3_500)],
  ["clock", "warning", "4 s behind KMS", (w) => (w.nowMs = AT_MS - 4_500)],
  ["clock", "failure", "300 s behind KMS, which refuses", (w) => (w.nowMs = AT_MS - 300_500)],
  ["clock", "failure", "300 s ahead of KMS, which refuses", (w) => (w.nowMs = AT_MS + 300_500)],
  ["clock", "failure", "does not answer", (w) => w.answers.set(KMS, "FAILED")],
  ["clock", "skipped", "sent no date", (w) => w.answer(KMS, 200, "")],
  [
    "clock",
    "warning",
    "not synchronised",
    (w) => w.command("timedatectl show --property=NTPSynchronized --value", "no\n"),
  ],
  ["clock", "ok", "within 2 s of KMS", (w) => w.commands.delete("timedatectl show --property=NTPSynchronized --value")],
];

function policyOf(images: readonly number[]): string {
  return formatKeyPolicy(generateKeyPolicy({ ...ONE_IMAGE, pcrSets: images.map((pcr0) => pcrs({ 0: pcr0 })) }));
}

const openPolicy = JSON.stringify(
  {
    Version: "2012-10-17",
    Statement: [
      {
        Sid: "Open",
        Effect: "Allow",
        Principal: { AWS: ONE_IMAGE.roleArn },
        Action: ["kms:Decrypt", "kms:GenerateDataKey"],
        Resource: "*",
      },
    ],
  },
  null,
  2,
);

test.each(CASES)("%s: %s: %s", async (check, outcome, found, change) => {
  const world = new HostWorld();
  change(world);
  const findings = await world.examine(check);
  expect(findings).toContainEqual(expect.objectContaining({ check, outcome, found: expect.stringContaining(found) }));
  // Whatever is wrong, something can be done.
  for (const finding of findings) {
    if (finding.outcome === "warning" || finding.outcome === "failure") expect(finding.todo).toMatch(/\S/);
  }
});

test("every check is seen to be fine and not to be", () => {
  for (const check of CHECK_IDS) {
    const seen = CASES.filter(([of]) => of === check).map(([, outcome]) => outcome);
    expect(
      seen.some((outcome) => outcome !== "ok"),
      check,
    ).toBe(true);
  }
});

describe("whatever goes wrong", () => {
  const boom = async () => {
    throw new Error("boom");
  };

  test("a check that throws is a finding, and the others go on", async () => {
    const context = await new HostWorld().context();
    const checks = Object.fromEntries(
      CHECK_IDS.map((id) => [id, async () => ({ outcome: "ok", found: "", todo: null })]),
    );
    const findings = await runChecks(context, { checks: { ...checks, cpus: boom } as never });
    expect(findings).toHaveLength(CHECK_IDS.length);
    expect(findings.filter(({ outcome }) => outcome !== "ok")).toEqual([
      { check: "cpus", outcome: "failure", found: "the check could not be made: boom", todo: expect.any(String) },
    ]);
  });

  test("a check that never ends is cut off", async () => {
    const context = await new HostWorld().context();
    const never = () => new Promise<never>(() => {});
    const checks = Object.fromEntries(CHECK_IDS.map((id) => [id, never]));
    const findings = await runChecks(context, { timeoutMs: 20, checks: checks as never });
    expect(findings.map(({ found }) => found)).toEqual(CHECK_IDS.map(() => "no answer within 20 ms"));
  });

  test.each(["ABSENT", "DENIED", "TIMED_OUT", "FAILED"] as const)("every file is %s", async (code) => {
    const world = new HostWorld();
    for (const path of world.files.keys()) world.files.set(path, code);
    for (const line of world.commands.keys()) world.commands.set(line, code);
    for (const request of world.answers.keys()) world.answers.set(request, code);
    world.keyPolicy = code;
    const findings = await runChecks(await world.context());
    expect(new Set(findings.map(({ check }) => check)).size).toBe(CHECK_IDS.length);
    expect(findings.some(({ found }) => found.includes("the check could not be made"))).toBe(false);
  });
});
