/** Credentials and the clock: what the enclave needs of AWS besides the key. */
import { type Check, failure, ok, type Result, skipped, unless, warning } from "../check.ts";
import type { Context } from "../context.ts";
import { FactError } from "../facts.ts";
import { answersWithoutToken, openSession } from "../imds.ts";

const HOP_LIMIT =
  "let the endpoint be on, with a hop limit of 1 for a parent on the host, 2 for one in a container: aws ec2 modify-instance-metadata-options";
/** AWS renews five minutes ahead; one that is closer to its end was not renewed. */
const LATE_MS = 5 * 60_000;
/** AWS refuses a signature of a clock that is off by five minutes. */
const MAX_SKEW_MS = 5 * 60_000;
const WORTH_SAYING_MS = 2_000;

export const checkImds: Check = async (context) => {
  try {
    const withoutToken = await answersWithoutToken(context);
    if ((await openSession(context)) === null) return failure("IMDSv2 gives no token", HOP_LIMIT);
    if (withoutToken) {
      return warning(
        "IMDSv1 answers too: whoever makes a process here fetch a URL has the role's credentials",
        "aws ec2 modify-instance-metadata-options --http-tokens required",
      );
    }
    return ok("IMDSv2 answers, IMDSv1 does not");
  } catch (error) {
    if (!(error instanceof FactError)) throw error;
    return failure(`the metadata service does not answer: ${error.message}`, HOP_LIMIT);
  }
};

export const checkCredentials: Check = async (context) => {
  let session: Awaited<ReturnType<typeof openSession>>;
  try {
    session = await openSession(context);
  } catch (error) {
    if (!(error instanceof FactError)) throw error;
    session = null;
  }
  if (session === null) return skipped("no metadata; see imds");
  const role = await session.roleName();
  if (role === null)
    return failure("the instance has no role", "attach the instance profile of the role in the key policy");
  const credentials = await session.credentials(role);
  if (credentials === null)
    return failure(`no credentials of ${role} are to be had`, "does the role let EC2 assume it?");
  if (credentials.code !== "Success") {
    return failure(`credentials of ${role}: ${credentials.code}`, "does the role exist still, and let EC2 assume it?");
  }
  const leftMs = credentials.expiresAtMs - context.facts.nowMs();
  if (Number.isNaN(leftMs)) return warning(`credentials of ${role} name no expiry`, "look at what the metadata say");
  if (leftMs <= 0) return failure(`credentials of ${role} have expired`, "is the clock right? see clock");
  const minutes = Math.floor(leftMs / 60_000);
  if (leftMs < LATE_MS) {
    return warning(
      `credentials of ${role} end in ${minutes} min and are not renewed yet`,
      "look again in a few minutes",
    );
  }
  return ok(`${role}, for ${minutes} min`);
};

/** The enclave has a clock of its own; this one dates the parent's log and its own calls to AWS. */
export const checkClock: Check = async (context) => {
  const problems: Result[] = [];
  const synchronised = await isSynchronised(context);
  if (synchronised === false) {
    problems.push(warning("this host's clock is not synchronised", "systemctl enable --now chronyd"));
  }
  const { kmsHost } = await context.needed(context.manifest, "the manifest's copy on this host");
  const beforeMs = context.facts.nowMs();
  let date: number;
  try {
    date = Date.parse((await context.facts.fetch("GET", `https://${kmsHost}/`)).headers.get("date") ?? "");
  } catch (error) {
    if (!(error instanceof FactError)) throw error;
    return [
      ...problems,
      failure(`${kmsHost} does not answer: ${error.message}`, "is there a way out, by NAT or a VPC endpoint?"),
    ];
  }
  if (Number.isNaN(date)) return [...problems, skipped(`${kmsHost} sent no date`)];
  // The header has whole seconds: it was true at some moment of the call, up to a second before it says.
  const aheadMs = beforeMs - (date + 1_000);
  const behindMs = date - context.facts.nowMs();
  const offMs = Math.max(aheadMs, behindMs, 0);
  const way = aheadMs > behindMs ? "ahead of" : "behind";
  if (offMs >= MAX_SKEW_MS) {
    problems.push(
      failure(
        `this host's clock is ${Math.round(offMs / 1000)} s ${way} KMS, which refuses such signatures`,
        "chronyc makestep",
      ),
    );
  } else if (offMs > WORTH_SAYING_MS) {
    problems.push(warning(`this host's clock is ${Math.round(offMs / 1000)} s ${way} KMS`, "chronyc makestep"));
  }
  return unless(problems, `within ${WORTH_SAYING_MS / 1000} s of KMS${synchronised === true ? ", synchronised" : ""}`);
};

/** Null: nobody knows. */
async function isSynchronised({ facts }: Context): Promise<boolean | null> {
  try {
    const { status, stdout } = await facts.run("timedatectl", ["show", "--property=NTPSynchronized", "--value"]);
    if (status !== 0) return null;
    return stdout.trim() === "yes";
  } catch {
    return null;
  }
}
