/** What `simulate` and `emulate` have in common: one deployment, told to whoever wants to use it, until Ctrl-C. */
import { rename, rm, writeFile } from "node:fs/promises";
import { join, relative, resolve } from "node:path";
import { encodeHex } from "../protocol/index.ts";
import type { Member, Simulator } from "../simulator/index.ts";

type Introduced = Pick<
  Simulator,
  "url" | "deployment" | "expected" | "attestationRootPem" | "issuer" | "startedInMs"
> & {
  /** Where several stand behind one balancer. */
  readonly members?: readonly Pick<Member, "url" | "enclavePid" | "parentPid">[];
};

/** @throws Error for what is no port. */
export function parsePort(text: string): number {
  if (!/^[0-9]{1,5}$/.test(text) || Number(text) > 65_535) throw new Error("--port: expected 0 to 65535");
  return Number(text);
}

/** What a program needs to talk to this simulator, in one file: names as `connect` has them, bytes in hex. */
function connection({ url, deployment, expected, issuer, members }: Introduced): object {
  const [root] = expected.roots;
  return {
    url,
    ...(members === undefined ? {} : { parents: members.map((member) => member.url) }),
    deployment,
    rootDerHex: encodeHex(root?.der ?? new Uint8Array(0)),
    pcr0Hex: pcr0Of(expected),
    issuer: issuer.issuer,
    jwksUri: issuer.jwksUri,
    tokenUrl: `http://127.0.0.1:${issuer.tokenPort}/token`,
  };
}

function pcr0Of({ pcrs }: Introduced["expected"]): string {
  return encodeHex(pcrs[0]?.get(0) ?? new Uint8Array(0));
}

/** Below where the command runs as from there, elsewhere whole. */
function shortest(folder: string): string {
  const fromHere = relative(".", folder) || ".";
  return fromHere.startsWith("..") ? resolve(folder) : fromHere;
}

/** Each parent has metrics of its own, and one may want to kill an enclave and see what callers see of it. */
function listMembers(members: Introduced["members"]): string {
  if (members === undefined) return "";
  const lines = members.map(
    ({ url, enclavePid, parentPid }) => `  ${url}   (enclave: process ${enclavePid}, parent: process ${parentPid})`,
  );
  return `\nBehind it, any request to any of them, each with /readyz and /metrics of its own:\n${lines.join("\n")}\n`;
}

/** Says how to use it, and writes the same into the state folder for programs. */
export async function introduce(simulator: Introduced, state: string): Promise<void> {
  const { url, deployment, attestationRootPem, expected, issuer, startedInMs, members } = simulator;
  const rootFile = join(state, "attestation-root.pem");
  await writeFile(rootFile, attestationRootPem);
  // Last, and whole: whoever waits for it may begin.
  const file = join(state, "connection.json");
  await writeFile(`${file}.part`, `${JSON.stringify(connection(simulator), null, 2)}\n`);
  await rename(`${file}.part`, file);
  const nonce = "00112233445566778899aabbccddeeff";
  const tokenUrl = `http://127.0.0.1:${issuer.tokenPort}/token`;
  console.log(`ready in ${startedInMs} ms: ${url}   (deployment "${deployment}", state in ${shortest(state)})
${listMembers(members)}
Attestation root, new at each start, in ${rootFile}:
${attestationRootPem}
PCR0 of the image:
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

/** Nobody is to connect to what has stopped: root and ports are others at the next start. */
export async function withdraw(state: string): Promise<void> {
  await rm(join(state, "connection.json"), { force: true });
}

/** Resolves at the first signal; a second one ends the process where it stands. */
export function stopSignal(): Promise<void> {
  return new Promise((resolve) => {
    for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => resolve());
  });
}
