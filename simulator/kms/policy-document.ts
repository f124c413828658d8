/** Key policies as JSON (IAM User Guide, "Grammar of the IAM JSON policy language"), parsed strictly. */
import { type JsonValue, parseStrictJson } from "../../protocol/index.ts";
import { KmsError } from "./errors.ts";
import { isPolicyPrincipal } from "./principal.ts";

/** KMS Developer Guide, "Resource quotas": key policy document size. */
const MAX_POLICY_BYTES = 32_768;

export interface Condition {
  /** As written, such as `ForAllValues:StringEqualsIfExists`; whether it is known shows when a request is decided. */
  readonly operator: string;
  readonly key: string;
  readonly values: readonly string[];
}

export interface Statement {
  readonly sid: string | null;
  readonly effect: "Allow" | "Deny";
  readonly principals: readonly string[];
  readonly actions: readonly string[];
  readonly resources: readonly string[];
  readonly conditions: readonly Condition[];
}

export interface KeyPolicy {
  readonly text: string;
  readonly statements: readonly Statement[];
}

/** The text of a policy, or the value that the text would parse to. */
export type KeyPolicyInput = string | Readonly<Record<string, unknown>>;

/**
 * Parses one policy. NotPrincipal, NotAction, NotResource and policy variables are refused: a simulator that ignored
 * them would allow what AWS denies.
 *
 * @throws {@link KmsError} `MalformedPolicyDocumentException`, saying where.
 */
export function parseKeyPolicy(input: KeyPolicyInput): KeyPolicy {
  const text = typeof input === "string" ? input : JSON.stringify(input);
  const bytes = Buffer.from(text, "utf8");
  if (bytes.length > MAX_POLICY_BYTES) malformed(`a policy of ${bytes.length} bytes, limit ${MAX_POLICY_BYTES}`);
  let json: JsonValue;
  try {
    json = parseStrictJson(bytes);
  } catch (cause) {
    throw new KmsError("MalformedPolicyDocumentException", "the policy is not one JSON object", { cause });
  }
  const policy = objectAt("the policy", json, ["Version", "Id", "Statement"]);
  const version = policy.get("Version");
  if (version !== "2012-10-17" && version !== "2008-10-17") malformed("Version: expected 2012-10-17 or 2008-10-17");
  if (policy.has("Id")) stringAt("Id", policy.get("Id"));
  const statements = listOf(policy.get("Statement")).map(parseStatement);
  if (statements.length === 0) malformed("Statement: expected at least one");
  return { text, statements };
}

function parseStatement(json: JsonValue, index: number): Statement {
  const at = `Statement[${index}]`;
  const fields = objectAt(at, json, ["Sid", "Effect", "Principal", "Action", "Resource", "Condition"]);
  const effect = fields.get("Effect");
  if (effect !== "Allow" && effect !== "Deny") return malformed(`${at}.Effect: expected Allow or Deny`);
  const actions = stringsAt(`${at}.Action`, fields.get("Action"));
  for (const action of actions) {
    if (!/^(\*|kms:[A-Za-z*?]+)$/i.test(action)) malformed(`${at}.Action: expected * or kms:<name>`);
  }
  const resources = stringsAt(`${at}.Resource`, fields.get("Resource"));
  for (const resource of resources) {
    if (resource !== "*" && !resource.startsWith("arn:")) malformed(`${at}.Resource: expected * or an ARN`);
    refuseVariables(`${at}.Resource`, resource);
  }
  const sid = fields.get("Sid");
  return {
    sid: sid === undefined ? null : stringAt(`${at}.Sid`, sid),
    effect,
    principals: parsePrincipals(`${at}.Principal`, fields.get("Principal")),
    actions,
    resources,
    conditions: fields.has("Condition") ? parseConditions(`${at}.Condition`, fields.get("Condition")) : [],
  };
}

function parsePrincipals(at: string, json: JsonValue | undefined): string[] {
  if (json === "*") return ["*"];
  // A service is never the caller here, so its names are checked for shape and then name nobody.
  const fields = objectAt(at, json, ["AWS", "Service"]);
  if (fields.size === 0) malformed(`${at}: expected * or a principal`);
  if (fields.has("Service")) stringsAt(`${at}.Service`, fields.get("Service"));
  const principals = fields.has("AWS") ? stringsAt(`${at}.AWS`, fields.get("AWS")) : [];
  for (const principal of principals) {
    if (!isPolicyPrincipal(principal)) malformed(`${at}.AWS: expected *, an account or an ARN without wildcards`);
  }
  return principals;
}

function parseConditions(at: string, json: JsonValue | undefined): Condition[] {
  return [...objectAt(at, json)].flatMap(([operator, keys]) =>
    [...objectAt(`${at}.${operator}`, keys)].map(([key, values]) => ({
      operator,
      key,
      values: listOf(values).map((value) => {
        if (typeof value !== "string" && typeof value !== "boolean" && typeof value !== "number") {
          return malformed(`${at}.${operator}.${key}: expected a string or a list of strings`);
        }
        refuseVariables(`${at}.${operator}.${key}`, String(value));
        return String(value);
      }),
    })),
  );
}

function refuseVariables(at: string, text: string): void {
  if (text.includes("${")) malformed(`${at}: policy variables such as \${aws:username} are not simulated`);
}

function objectAt(at: string, json: JsonValue | undefined, allowed?: readonly string[]): Map<string, JsonValue> {
  if (typeof json !== "object" || json === null || Array.isArray(json)) return malformed(`${at}: expected an object`);
  const fields = new Map(Object.entries(json));
  for (const name of fields.keys()) {
    if (allowed !== undefined && !allowed.includes(name)) {
      malformed(`${at}: ${JSON.stringify(name)} is not supported; expected ${allowed.join(", ")}`);
    }
  }
  return fields;
}

function listOf(json: JsonValue | undefined): JsonValue[] {
  if (json === undefined) return [];
  return Array.isArray(json) ? json : [json];
}

function stringsAt(at: string, json: JsonValue | undefined): string[] {
  const texts = listOf(json).map((item) => stringAt(at, item));
  return texts.length > 0 ? texts : malformed(`${at}: expected a string or a list of strings`);
}

function stringAt(at: string, json: JsonValue | undefined): string {
  return typeof json === "string" ? json : malformed(`${at}: expected a string`);
}

function malformed(why: string): never {
  throw new KmsError("MalformedPolicyDocumentException", why);
}
