/** An EC2 parent as the doctor sees it: a healthy one, of which each test changes a thing. */
import { doctorTools } from "../../cli/doctor.ts";
import {
  type CheckId,
  type CommandResult,
  Context,
  DEFAULT_PATHS,
  FactError,
  type FactErrorCode,
  type Facts,
  type Finding,
  HostError,
  type HttpAnswer,
  type Paths,
  runChecks,
  type Tools,
} from "../../host/index.ts";
import { formatKeyPolicy, generateKeyPolicy } from "../../kms-policy/index.ts";
import { hex, ONE_IMAGE } from "../kms-policy/policies.ts";

export const AT_MS = Date.parse("2026-11-26T12:00:00.500Z");
export const KEY_ARN = "arn:aws:kms:us-east-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab";
export const EIF = "/opt/cloister/cloister.eif";
const RECORDS = "/var/lib/cloister/records.sqlite";
const MIB = 1024 * 1024;

/** As nitro-cli 1.5.0 prints it (nitro.md 6). */
export const DESCRIBED = {
  EnclaveName: "cloister",
  EnclaveID: "i-0123456789abcdef0-enc18f0123456789ab",
  ProcessID: 4242,
  EnclaveCID: 16,
  NumberOfCPUs: 2,
  CPUIDs: [1, 3],
  MemoryMiB: 2048,
  State: "RUNNING",
  Flags: "NONE",
  Measurements: { HashAlgorithm: "Sha384 { ... }", PCR0: hex(0xaa), PCR1: hex(0x11), PCR2: hex(0x22) },
  ImageName: "cloister",
  ImageVersion: "1.0",
};

export const ENCLAVE_CONFIG = {
  enclave_name: "cloister",
  cpu_count: 2,
  memory_mib: 2048,
  eif_path: EIF,
  enclave_cid: 16,
  debug_mode: false,
};

export const PARENT_CONFIG = {
  vsock: { kind: "af-vsock", enclaveCid: 16 },
  http: { host: "127.0.0.1", port: 8080 },
  records: { kind: "sqlite", file: RECORDS },
  egress: { allow: ["kms.us-east-1.amazonaws.com:443", "login.example.com:443"] },
  credentials: { kind: "aws" },
};

export const MANIFEST = `version: 1
deployment: prod
region: us-east-1
kmsKeyArn: ${KEY_ARN}
administrators:
  threshold: 1
  publicKeys:
    - "02${"ab".repeat(32)}"
egress:
  - login.example.com:443
`;

interface WorldFile {
  readonly text?: string;
  readonly sizeBytes?: number;
  readonly mode?: number;
  readonly uid?: number;
  readonly gid?: number;
  readonly isFolder?: boolean;
}

type Outcome<Value> = Value | FactErrorCode;

export class HostWorld {
  readonly files = new Map<string, Outcome<WorldFile>>();
  /** By the whole command line. */
  readonly commands = new Map<string, Outcome<CommandResult>>();
  /** By method and URL. */
  readonly answers = new Map<string, Outcome<HttpAnswer>>();
  keyPolicy: Outcome<string> = "DENIED";
  freeBytes = 20_000 * MIB;
  nowMs = AT_MS;
  image: Outcome<{ readonly sizeBytes: number; readonly pcr0: string }> = { sizeBytes: 100 * MIB, pcr0: hex(0xaa) };
  paths: Paths = DEFAULT_PATHS;

  constructor() {
    this.text("/sys/devices/virtual/dmi/id/sys_vendor", "Amazon EC2\n");
    this.text("/sys/devices/virtual/dmi/id/product_name", "m6i.xlarge\n");
    this.text("/sys/devices/virtual/dmi/id/board_asset_tag", "i-0123456789abcdef0\n");
    this.files.set("/dev/nitro_enclaves", { mode: 0o660 });
    this.text(
      "/etc/passwd",
      "root:x:0:0::/root:/bin/sh\ncloister:x:990:990::/:/bin/false\ncloister-enclave:x:991:991::/:/bin/false\n",
    );
    this.text("/etc/group", "root:x:0:\nne:x:992:ec2-user,cloister-enclave\ncloister:x:990:\n");
    this.text("/proc/modules", "nitro_enclaves 61440 1 - Live 0x0000000000000000\nvsock 49152 2 - Live 0x0\n");
    this.text("/etc/nitro_enclaves/allocator.yaml", "---\nmemory_mib: 2048\ncpu_count: 2\n");
    this.text("/sys/module/nitro_enclaves/parameters/ne_cpus", "1,3\n");
    this.text("/sys/devices/system/cpu/cpu1/topology/thread_siblings_list", "1,3\n");
    this.text("/sys/devices/system/cpu/cpu3/topology/thread_siblings_list", "1,3\n");
    this.numaNode(0, "0-3", { total: 2048, free: 1024 });
    this.text("/etc/cloister/enclave.json", JSON.stringify(ENCLAVE_CONFIG));
    this.text("/etc/cloister/parent.json", JSON.stringify(PARENT_CONFIG));
    this.text("/etc/cloister/cloister.yaml", MANIFEST);
    this.text("/etc/cloister/measurements.json", JSON.stringify({ Measurements: DESCRIBED.Measurements }));
    this.files.set(EIF, { sizeBytes: 100 * MIB });
    this.files.set("/var/lib/cloister", { isFolder: true, mode: 0o700, uid: 990, gid: 990 });
    this.files.set(RECORDS, { sizeBytes: 3 * MIB, mode: 0o600, uid: 990, gid: 990 });
    this.command("nitro-cli --version", "Nitro CLI 1.5.0\n");
    this.enclaves([DESCRIBED]);
    this.command("ss --no-header --listening --numeric --vsock", "v_str LISTEN 0      0      *:5001  *:*\n");
    this.command("timedatectl show --property=NTPSynchronized --value", "yes\n");
    this.answer("GET http://127.0.0.1:8080/readyz", 200, '{"enclave":"ready","reason":null}');
    this.answer("GET https://kms.us-east-1.amazonaws.com/", 404, "", { date: "Thu, 26 Nov 2026 12:00:00 GMT" });
    this.imds("/latest/meta-data/", 401, "", "GET");
    this.imds("/latest/api/token", 200, "token", "PUT");
    this.imds("/latest/meta-data/iam/security-credentials/", 200, "cloister-parent");
    this.credentials({ Code: "Success", Expiration: "2026-11-26T17:00:00Z" });
    const identity = { accountId: "111122223333", region: "us-east-1", instanceType: "m6i.xlarge" };
    this.imds("/latest/dynamic/instance-identity/document", 200, JSON.stringify(identity));
    this.keyPolicy = formatKeyPolicy(generateKeyPolicy(ONE_IMAGE));
  }

  text(path: string, text: string): void {
    this.files.set(path, { text });
  }

  /** Changes a JSON file that is there. */
  edit(path: string, change: object): void {
    const file = this.files.get(path);
    if (file === undefined || typeof file === "string") throw new Error(`no ${path}`);
    this.text(path, JSON.stringify({ ...JSON.parse(file.text ?? ""), ...change }));
  }

  command(line: string, stdout: string, status = 0, stderr = ""): void {
    this.commands.set(line, { status, stdout, stderr });
  }

  enclaves(described: readonly object[]): void {
    this.command("nitro-cli describe-enclaves", `${JSON.stringify(described, null, 2)}\n`);
  }

  answer(request: string, status: number, body: string, headers: Readonly<Record<string, string>> = {}): void {
    this.answers.set(request, { status, body, headers: new Map(Object.entries(headers)) });
  }

  imds(path: string, status: number, body: string, method = "GET"): void {
    this.answer(`${method} http://169.254.169.254${path}`, status, body);
  }

  imdsIs(trouble: FactErrorCode): void {
    for (const request of this.answers.keys()) if (request.includes("169.254")) this.answers.set(request, trouble);
  }

  credentials(answer: object): void {
    this.imds("/latest/meta-data/iam/security-credentials/cloister-parent", 200, JSON.stringify(answer));
  }

  numaNode(index: number, cpus: string, mib: { readonly total: number; readonly free: number }): void {
    const node = `/sys/devices/system/node/node${index}`;
    this.text(`${node}/cpulist`, `${cpus}\n`);
    this.text(`${node}/hugepages/hugepages-2048kB/nr_hugepages`, `${(mib.total % 1024) / 2}\n`);
    this.text(`${node}/hugepages/hugepages-2048kB/free_hugepages`, `${(mib.free % 1024) / 2}\n`);
    this.text(`${node}/hugepages/hugepages-1048576kB/nr_hugepages`, `${Math.floor(mib.total / 1024)}\n`);
    this.text(`${node}/hugepages/hugepages-1048576kB/free_hugepages`, `${Math.floor(mib.free / 1024)}\n`);
  }

  facts(): Facts {
    const take = async <Value>(what: string, value: Outcome<Value> | undefined): Promise<Value> => {
      if (typeof value === "string" && /^[A-Z_]+$/.test(value)) throw new FactError(value as FactErrorCode, what);
      if (value === undefined) throw new FactError("ABSENT", what);
      return value as Value;
    };
    return {
      readFile: async (path) => Buffer.from((await take(path, this.files.get(path))).text ?? ""),
      stat: async (path) => {
        const {
          isFolder = false,
          text = "",
          sizeBytes = text.length,
          mode = 0o644,
          uid = 0,
          gid = 0,
        } = await take(path, this.files.get(path));
        return { isFolder, sizeBytes, mode, uid, gid };
      },
      list: async (path) => {
        const inside = [...this.files.keys()].filter((one) => one.startsWith(`${path}/`));
        if (inside.length === 0) throw new FactError("ABSENT", path);
        return [...new Set(inside.map((one) => one.slice(path.length + 1).split("/")[0] ?? ""))];
      },
      freeBytes: async () => this.freeBytes,
      run: async (command, args) => take(command, this.commands.get([command, ...args].join(" "))),
      fetch: async (method, url) => take(url, this.answers.get(`${method} ${url}`)),
      keyPolicy: async () => take("kms:GetKeyPolicy", this.keyPolicy),
      nowMs: () => this.nowMs,
      user: () => ({ uid: 1000, name: "ec2-user" }),
    };
  }

  async context(): Promise<Context> {
    return new Context(this.facts(), await this.#tools(), this.paths);
  }

  /** What one check finds. */
  async examine(check: CheckId): Promise<Finding[]> {
    return (await runChecks(await this.context())).filter((finding) => finding.check === check);
  }

  async #tools(): Promise<Tools> {
    return {
      ...(await doctorTools()),
      measureImage: async () => {
        if (typeof this.image === "string") throw new HostError("IMAGE_UNREADABLE", "no such image");
        const { sizeBytes, pcr0 } = this.image;
        return { sizeBytes, measurements: { PCR0: pcr0, PCR1: hex(0x11), PCR2: hex(0x22) } };
      },
    };
  }
}
