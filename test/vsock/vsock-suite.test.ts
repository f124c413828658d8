/** The guest's suite of vsock streams, here over unix sockets: plain, and with the addon under sanitizers. */
import { spawn } from "node:child_process";
import { text } from "node:stream/consumers";
import { fileURLToPath } from "node:url";
import { expect, onTestFinished, test } from "vitest";
import { buildForTest, compiler, nativeFolder, sanitizerEnvironment } from "../support/native.ts";

const SUITE = fileURLToPath(new URL("../emulated/guest/vsock-suite.ts", import.meta.url));
/** Enough for fifty streams with both ends here, few enough to run out of. */
const MAX_FILES = 512;

interface Line {
  readonly case?: string;
  readonly ok?: boolean;
  readonly error?: string;
  readonly summary?: { readonly passed: number; readonly failed: number };
}

async function runSuite(addon: string, environment: Record<string, string>): Promise<Line[]> {
  const node = `exec "$0" --expose-gc --max-semi-space-size=1 "$@"`;
  const child = spawn(
    "sh",
    ["-c", `ulimit -n ${MAX_FILES}; ${node}`, process.execPath, SUITE, "--address", `unix:${nativeFolder()}`].concat(
      ...["--addon", addon],
    ),
    { stdio: ["ignore", "pipe", "pipe"], env: { ...process.env, ...environment } },
  );
  onTestFinished(() => void child.kill("SIGKILL"));
  const [out, err] = await Promise.all([text(child.stdout), text(child.stderr)]);
  expect(err).toBe("");
  return out
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line) as Line);
}

test.skipIf(compiler === undefined).each([
  ["plain", "test", () => ({})],
  ["under AddressSanitizer and UBSan", "test-sanitized", sanitizerEnvironment],
] as const)(
  "every case passes, %s",
  async (_name, variant, environment) => {
    const lines = await runSuite(buildForTest("vsock.node", variant), environment());
    expect(lines.filter(({ ok }) => ok === false)).toEqual([]);
    const { summary } = lines.at(-1) ?? {};
    expect(summary).toMatchObject({ failed: 0 });
    expect(summary?.passed).toBeGreaterThanOrEqual(27);
  },
  300_000,
);
