/** What the `cloister policy` commands have in common: files of policies and how they say what is wrong with one. */
import { type JsonValue, type Policy, policy, RequestError } from "../protocol/index.ts";
import { type CommandIo, UsageError } from "./command-io.ts";
import { readJson } from "./json-input.ts";

/** A policy, or an app's configuration that has one. @throws {@link UsageError} */
export async function readPolicy(path: string, io: CommandIo): Promise<Policy> {
  const json = await readJson(path, io);
  const isApp = typeof json === "object" && json !== null && !Array.isArray(json) && Object.hasOwn(json, "policy");
  const parsed = policy.safeParse(isApp ? (json as { policy: JsonValue }).policy : json);
  if (parsed.success) return parsed.data;
  throw new UsageError(`${path} is no policy: ${describe(parsed.error.issues)}`, { cause: parsed.error });
}

interface Issue {
  readonly path: readonly PropertyKey[];
  readonly message: string;
  readonly errors?: readonly (readonly Issue[])[];
}

/** Of a condition that is none of the forms, what keeps it from the one that it comes nearest to. */
function describe(issues: readonly Issue[], at: readonly PropertyKey[] = []): string {
  const [first] = issues;
  if (first === undefined) return "malformed";
  const path = [...at, ...first.path];
  const nearest = [...(first.errors ?? [])].sort((one, other) => scoreOf(one) - scoreOf(other))[0];
  if (nearest !== undefined) return describe(nearest, path);
  return `${path.map(String).join(".") || "document"}: ${first.message}`;
}

/** Forms whose own member is missing are far; what is wrong deep inside is near. */
function scoreOf(issues: readonly Issue[]): number {
  const depth = Math.max(0, ...issues.map(({ path }) => path.length));
  return issues.length * 4 - depth;
}

/** Runs a command and turns wrong use into exit status 2. */
export async function reporting(name: string, io: CommandIo, work: () => Promise<number>): Promise<number> {
  try {
    return await work();
  } catch (error) {
    if (error instanceof RequestError) io.err(`cloister policy ${name}: ${error.code}: ${error.message}\n`);
    else if (error instanceof UsageError) io.err(`cloister policy ${name}: ${error.message}\n`);
    else throw error;
    return 2;
  }
}
