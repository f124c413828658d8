/** The parent proxy: its configuration, whether it answers, and whom it lets the enclave reach. */
import { type Check, failure, ok, type Result, unless, warning } from "../check.ts";
import { FactError } from "../facts.ts";

const FIX = "systemctl status cloister-parent; journalctl -u cloister-parent";

export const checkParentConfig: Check = async ({ parentConfig, paths }) => {
  try {
    const { vsock, http, credentials } = await parentConfig();
    if (credentials.kind === "static") {
      return failure("its credentials are static: they are for a simulated KMS", '"credentials": {"kind": "aws"}');
    }
    return ok(`${vsock.kind}, HTTP on ${http.host}:${http.port}`);
  } catch (error) {
    if (error instanceof FactError && error.code === "ABSENT") {
      return failure(`${paths.parentConfig} is not there`, "run deploy/install.sh, then fill it in");
    }
    if (error instanceof FactError) throw error;
    return failure((error as Error).message, `correct ${paths.parentConfig}; docs/run-the-parent.md has its fields`);
  }
};

export const checkParent: Check = async (context) => {
  const { http } = await context.needed(context.parentConfig, "parent.json");
  const host = http.host === "0.0.0.0" || http.host === "::" ? "127.0.0.1" : http.host;
  const url = `http://${host.includes(":") ? `[${host}]` : host}:${http.port}/readyz`;
  let answer: Awaited<ReturnType<typeof context.facts.fetch>>;
  try {
    answer = await context.facts.fetch("GET", url);
  } catch (error) {
    if (!(error instanceof FactError)) throw error;
    return failure(`nothing answers at ${url}`, FIX);
  }
  const { enclave, reason, secp256k1 } = readinessOf(answer.body);
  if (answer.status === 200) return ok(`the enclave is ready${secp256k1 === null ? "" : `, with ${secp256k1}`}`);
  const found = `${url} answers ${answer.status}: ${enclave}${reason === null ? "" : `, ${reason}`}`;
  switch (enclave) {
    case "unreachable":
      return failure(found, "see enclave, cid and vhost-vsock");
    case "failed":
      return failure(found, "see image and key-policy; then systemctl restart cloister-enclave");
    case "booting":
    case "attested":
      return warning(found, "it waits; if for long, see credentials, egress and clock");
    case "draining":
      return warning(found, "the parent is being stopped");
    default:
      return failure(found, "something else listens there");
  }
};

/** The enclave's list decides; the parent's must not be shorter, and a longer one is a way into the network. */
export const checkEgress: Check = async (context) => {
  const { egress } = await context.needed(context.parentConfig, "parent.json");
  const manifest = await context.needed(context.manifest, "the manifest's copy on this host");
  const wanted = new Set([`${manifest.kmsHost}:443`, ...manifest.egress]);
  const allowed = new Set(egress.allow);
  const missing = [...wanted].filter((one) => !allowed.has(one));
  const unused = [...allowed].filter((one) => !wanted.has(one));
  const problems: Result[] = [];
  if (missing.length > 0) {
    problems.push(
      failure(
        `the manifest names ${missing.join(", ")}, which the parent does not allow`,
        "add to egress.allow in parent.json",
      ),
    );
  }
  if (unused.length > 0) {
    problems.push(
      warning(`the parent allows ${unused.join(", ")}, which the manifest does not name`, "take out of egress.allow"),
    );
  }
  return unless(problems, `${wanted.size} destinations, the same on both sides`);
};

interface FoundReadiness {
  readonly enclave: string;
  readonly reason: string | null;
  readonly secp256k1: string | null;
}

function readinessOf(body: string): FoundReadiness {
  try {
    const { enclave, reason, secp256k1 } = JSON.parse(body) as {
      enclave?: unknown;
      reason?: { code?: unknown } | null;
      secp256k1?: unknown;
    };
    return {
      enclave: String(enclave),
      reason: reason?.code === undefined ? null : String(reason.code),
      secp256k1: typeof secp256k1 === "string" ? secp256k1 : null,
    };
  } catch {
    return { enclave: "no answer of ours", reason: null, secp256k1: null };
  }
}
