/** Key policies and identity policies (IAM User Guide, "Grammar of the IAM JSON policy language"), parsed strictly. */
import { type JsonValue, parseStrictJson } from "../../protocol/index.ts";
import { KmsError } from "./errors.ts";
import { variablesAreWellFormed } from "./policy-variables.ts";
import { isPolicyPrincipal } from "./principal.ts";

/** KMS Developer Guide, "Resource quotas": key policy document size. */
const MAX_POLICY_BYTES = 32_768;

export interface Condition {
  /** As written, such as `ForAllValues:StringEqualsIfExists`; whether it is known shows when a request is decided. */
  readonly operator: string;
  readonly key: string;
  readonly values: readonly string[];
}

/** `Action` or, negated, `NotAction`; likewise of principals and resources. */
export interface Matcher {
  readonly patterns: readonly string[];
  readonly negated: boolean;
}

export interface Statement {
  readonly sid: string | null;
  readonly effect: "Allow" | "Deny";
  /** Null in an identity policy, which is about whom it is attached to. */
  readonly principals: Matcher | null;
  readonly actions: Matcher;
  readonly resources: Matcher;
  readonly conditions: readonly Condition[];
}

export interface KeyPolicy {
  readonly text: string;
  readonly statements: readonly Statement[];
  /** Whether `${…}` is a variable: not in policies of 2008. */
  readonly variables: boolean;
}

/** The text of a policy, or the value that the text would parse to. */
export type KeyPolicyInput = string | Readonly<Record<string, unknown>>;

type PolicyKind = "key-policy" | "identity-policy";

/** @throws {@link KmsError} `MalformedPolicyDocumentException`, saying where. */
export function parseKeyPolicy(input: KeyPolicyInput): KeyPolicy {
  return parsePolicy(input, "key-policy");
}

/**
 * A policy of the principal's own: it names no principal, and may speak of other services.
 *
 * @throws {@link KmsError} `MalformedPolicyDocumentException`, saying where.
 */
export function parseIdentityPolicy(input: KeyPolicyInput): KeyPolicy {
  return parsePolicy(input, "identity-policy");
}

function parsePolicy(input: KeyPolicyInput, kind: PolicyKind): KeyPolicy {
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
  const variables = version === "2012-10-17";
  const statements = listOf(policy.get("Statement")).map((statement, index) => {
    return parseStatement(statement, `Statement[${index}]`, kind, variables);
  });
  if (statements.length === 0) malformed("Statement: expected at least one");
  return { text, statements, variables };
}

function parseStatement(json: JsonValue, at: string, kind: PolicyKind, variables: boolean): Statement {
  const who = kind === "key-policy" ? ["Principal", "NotPrincipal"] : [];
  const what = ["Action", "NotAction", "Resource", "NotResource", "Condition"];
  const fields = objectAt(at, json, ["Sid", "Effect", ...who, ...what]);
  const effect = fields.get("Effect");
  if (effect !== "Allow" && effect !== "Deny") return malformed(`${at}.Effect: expected Allow or Deny`);
  const sid = fields.get("Sid");
  return {
    sid: sid === undefined ? null : stringAt(`${at}.Sid`, sid),
    effect,
    principals: kind === "key-policy" ? eitherOf(at, "Principal", fields, parsePrincipals) : null,
    actions: eitherOf(at, "Action", fields, (where, value) => parseActions(where, value, kind)),
    resources: eitherOf(at, "Resource", fields, (where, value) => parseResources(where, value, variables)),
    conditions: fields.has("Condition") ? parseConditions(`${at}.Condition`, fields.get("Condition"), variables) : [],
  };
}

/** `Action` or `NotAction`, and so on: one of them, never both. */
function eitherOf(
  at: string,
  name: string,
  fields: ReadonlyMap<string, JsonValue>,
  parse: (at: string, json: JsonValue | undefined) => string[],
): Matcher {
  if (fields.has(name) === fields.has(`Not${name}`)) malformed(`${at}: expected either ${name} or Not${name}`);
  const negated = !fields.has(name);
  const field = negated ? `Not${name}` : name;
  return { patterns: parse(`${at}.${field}`, fields.get(field)), negated };
}

function parseActions(at: string, json: JsonValue | undefined, kind: PolicyKind): string[] {
  const actions = stringsAt(at, json);
  const form = kind === "key-policy" ? /^(\*|kms:[A-Za-z*?]+)$/i : /^(\*|[a-z0-9-]+:[A-Za-z0-9*?]+)$/i;
  for (const action of actions) {
    if (!form.test(action)) malformed(`${at}: expected * or ${kind === "key-policy" ? "kms" : "<service>"}:<name>`);
  }
  return actions;
}

function parseResources(at: string, json: JsonValue | undefined, variables: boolean): string[] {
  const resources = stringsAt(at, json);
  for (const resource of resources) {
    if (resource !== "*" && !resource.startsWith("arn:")) malformed(`${at}: expected * or an ARN`);
    checkVariables(at, resource, variables);
  }
  return resources;
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

function parseConditions(at: string, json: JsonValue | undefined, variables: boolean): Condition[] {
  return [...objectAt(at, json)].flatMap(([operator, keys]) =>
    [...objectAt(`${at}.${operator}`, keys)].map(([key, values]) => ({
      operator,
      key,
      values: listOf(values).map((value) => {
        if (typeof value !== "string" && typeof value !== "boolean" && typeof value !== "number") {
          return malformed(`${at}.${operator}.${key}: expected a string or a list of strings`);
        }
        checkVariables(`${at}.${operator}.${key}`, String(value), variables);
        return String(value);
      }),
    })),
  );
}

function checkVariables(at: string, text: string, variables: boolean): void {
  if (!variables || variablesAreWellFormed(text)) return;
  malformed(`${at}: expected a policy variable such as \${aws:PrincipalArn} or \${aws:username, 'nobody'}`);
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
