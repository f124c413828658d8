/** The questions to hardware, asked of the simulated NSM: its answers are what docs/run-on-ec2.md tells readers to compare. */
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { beforeAll, expect, test } from "vitest";
import { verifyAttestation } from "../../attestation/index.ts";
import { type Answer, askNsm } from "../../simulator/hardware-probe/questions.ts";
import { createNsmPki, createSimulatedNsm } from "../../simulator/nsm/index.ts";

const AT_MS = Date.parse("2026-11-26T12:00:00Z");
const pki = createNsmPki({ nowMs: () => AT_MS });
let answers: Answer[];

async function all(stream: AsyncIterable<Answer>): Promise<Answer[]> {
  const answers: Answer[] = [];
  for await (const answer of stream) answers.push(answer);
  return answers;
}

beforeAll(async () => {
  const pcrs = new Map([[0, new Uint8Array(48).fill(1)]]);
  const nsm = createSimulatedNsm({
    pki,
    pcrs,
    moduleId: "i-0123456789abcdef0-enc0123456789abcdef",
    nowMs: () => AT_MS,
  });
  answers = await all(askNsm({ process: (request) => nsm.handle(request) }));
});

test("docs/run-on-ec2.md shows the simulator's answers, line by line", () => {
  const lines = answers.map(({ question, answer }) => `${question}: ${answer}`);
  const page = readFileSync("docs/run-on-ec2.md", "utf8");
  expect(page).toContain(`\`\`\`text\n${lines.join("\n")}\n\`\`\``);
});

test("documents for RSA keys are genuine, and their private keys are given", async () => {
  const documents = answers.filter(({ attached }) => attached !== undefined);
  expect(documents).toHaveLength(3);
  for (const { attached } of documents) {
    const document = new Uint8Array(Buffer.from(attached?.["document"] ?? "", "base64"));
    const verified = await verifyAttestation(document, {
      roots: [pki.root],
      atMs: AT_MS,
      maxAgeMs: 60_000,
      pcrs: "unchecked",
      nonce: "unchecked",
    });
    expect(verified.pcrs.get(0)).toEqual(new Uint8Array(48).fill(1));
  }
});

test("a device that fails gives an answer too", async () => {
  const broken = await all(askNsm({ process: () => Promise.reject(new Error("EIO")) }));
  expect(broken).toHaveLength(answers.length);
  expect(new Set(broken.map(({ answer }) => answer))).toEqual(new Set(["EIO"]));
});

test("its bundle asks for the device and for nothing else of the enclave", () => {
  const folder = mkdtempSync(join(tmpdir(), "cloister-test-"));
  try {
    const made = spawnSync(process.execPath, ["scripts/bundle-probe.ts", "--out", join(folder, "main.mjs")]);
    expect(made.status).toBe(0);
    const flags = ["--disable-proto=delete", "--disallow-code-generation-from-strings"];
    const { status, stderr } = spawnSync(process.execPath, [...flags, join(folder, "main.mjs"), "--parent-cid", "3"], {
      encoding: "utf8",
    });
    // Outside the image its native part is not beside it: so far it came.
    expect({ status, stderr }).toEqual({ status: 1, stderr: expect.stringContaining("nsm.node is not built") });
  } finally {
    rmSync(folder, { recursive: true });
  }
});
