/** `cloister simulate`: keeps a simulator running until Ctrl-C. */
import { writeFile } from "node:fs/promises";
import { join, relative } from "node:path";
import { parseArgs } from "node:util";
import { encodeHex } from "../protocol/index.ts";
import { type Simulator, SimulatorError, startSimulator } from "../simulator/index.ts";

const HELP = `Usage: cloister simulate [--port N] [--state FOLDER] [--verbose]

Runs an enclave and its parent as processes on this machine, with a KMS, an NSM and a login issuer that refuse what the
real ones refuse. Its keys and its attestation root are its own: nothing that it signs or attests is worth anything
elsewhere.

  --port N         HTTP port on 127.0.0.1 (default 8080; 0 takes a free one)
  --state FOLDER   where wallets, KMS keys and the manifest are kept (default .cloister)
  --verbose        show what the enclave, the parent and KMS log
  --help           show this

Ctrl-C stops every process. Started again on the same folder, the same wallets sign again.
Exit status: 0 stopped, 1 failed, 2 wrong usage.
`;

/** @returns The exit status. */
export async function run(args: readonly string[]): Promise<number> {
  const options = readOptions(args);
  if (typeof options === "number") return options;
  const { port, state, verbose } = options;
  const stopped = stopSignal();
  let simulator: Simulator;
  try {
    simulator = await startSimulator({
      httpPort: port,
      stateFolder: state,
      ...(verbose ? { log: (line: string) => console.error(line) } : {}),
    });
  } catch (error) {
    if (!(error instanceof SimulatorError)) throw error;
    console.error(`cloister simulate: ${error.code}: ${error.message}`);
    return 1;
  }
  try {
    await introduce(simulator, state);
    await stopped;
    console.log("stopping");
  } finally {
    await simulator.stop();
  }
  return 0;
}

function readOptions(args: readonly string[]): { port: number; state: string; verbose: boolean } | number {
  try {
    const { values } = parseArgs({
      args: [...args],
      options: {
        port: { type: "string", default: "8080" },
        state: { type: "string", default: ".cloister" },
        verbose: { type: "boolean", default: false },
        help: { type: "boolean", default: false },
      },
    });
    if (values.help) {
      console.log(HELP);
      return 0;
    }
    if (!/^[0-9]{1,5}$/.test(values.port) || Number(values.port) > 65_535)
      throw new Error("--port: expected 0 to 65535");
    return { port: Number(values.port), state: values.state, verbose: values.verbose };
  } catch (error) {
    console.error(`cloister simulate: ${(error as Error).message}; "cloister simulate --help" tells more`);
    return 2;
  }
}

/** What a program needs to talk to this simulator, in one file: names as `connect` has them, bytes in hex. */
function connection({ url, deployment, expected, issuer }: Simulator): object {
  const [root] = expected.roots;
  return {
    url,
    deployment,
    rootDerHex: encodeHex(root?.der ?? new Uint8Array(0)),
    pcr0Hex: pcr0Of(expected),
    issuer: issuer.issuer,
    jwksUri: issuer.jwksUri,
    tokenUrl: `http://127.0.0.1:${issuer.tokenPort}/token`,
  };
}

function pcr0Of({ pcrs }: Simulator["expected"]): string {
  return encodeHex(pcrs[0]?.get(0) ?? new Uint8Array(0));
}

async function introduce(simulator: Simulator, state: string): Promise<void> {
  const { url, deployment, attestationRootPem, expected, issuer, startedInMs } = simulator;
  const rootFile = join(state, "attestation-root.pem");
  await writeFile(rootFile, attestationRootPem);
  await writeFile(join(state, "connection.json"), `${JSON.stringify(connection(simulator), null, 2)}\n`);
  const nonce = "00112233445566778899aabbccddeeff";
  const tokenUrl = `http://127.0.0.1:${issuer.tokenPort}/token`;
  console.log(`ready in ${startedInMs} ms: ${url}   (deployment "${deployment}", state in ${relative(".", state) || "."})

Attestation root, new at each start, in ${rootFile}:
${attestationRootPem}
PCR0 of the simulated image:
${pcr0Of(expected)}

Try:
  curl ${url}/readyz
  curl -s "${url}/v1/attestation?nonce=${nonce}" |
    npx cloister attestation verify - --root ${rootFile} --nonce ${nonce} --pcr 0=${pcr0Of(expected)}
  curl -s -X POST ${tokenUrl} -H 'content-type: application/json' \\
    -d '{"subject":"alice","audience":"my-app","nonce":"<hex SHA-256 of the session key's hex>"}'

Login issuer ${issuer.issuer}, keys at ${issuer.jwksUri} (only the enclave can reach it).
All of this is in ${join(state, "connection.json")}, the administrator's key in ${join(state, "administrator-key.jwk.json")};
docs/quickstart.md shows how a program uses them.
Ctrl-C stops everything.`);
}

/** Resolves at the first signal; a second one ends the process where it stands. */
function stopSignal(): Promise<void> {
  return new Promise((resolve) => {
    for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => resolve());
  });
}
