/** A policy as the linter sees it: every part with its place, and nothing refused that can still be read. */
import type { Report } from "./findings.ts";
import type { JsonNode } from "./json-tree.ts";

export interface Located {
  readonly at: number;
  readonly value: string;
}

export interface PrincipalPart extends Located {
  /** `AWS`, `Service`, `Federated` or `CanonicalUser`; a bare `"*"` counts as `AWS`. */
  readonly type: string;
}

export interface ConditionPart {
  readonly operator: Located;
  readonly key: Located;
  readonly values: readonly Located[];
}

/** A list, and whether the statement means those in it or all others. */
export interface Part<Item extends Located> {
  readonly at: number;
  readonly isNegated: boolean;
  readonly items: readonly Item[];
}

export interface StatementTree {
  readonly at: number;
  /** Its Sid, or `#1`, `#2`. */
  readonly label: string;
  readonly effect: "Allow" | "Deny";
  readonly principals: Part<PrincipalPart>;
  readonly actions: Part<Located>;
  readonly resources: Part<Located>;
  readonly conditions: readonly ConditionPart[];
}

export interface PolicyTree {
  readonly at: number;
  readonly statements: readonly StatementTree[];
}

const POLICY_ELEMENTS = ["Version", "Id", "Statement"];
const STATEMENT_ELEMENTS = [
  ...["Sid", "Effect", "Principal", "NotPrincipal", "Action", "NotAction"],
  ...["Resource", "NotResource", "Condition"],
];

export function readPolicyTree(root: JsonNode, report: Report): PolicyTree {
  if (root.kind !== "object") {
    report("MALFORMED_POLICY", root.at, "expected an object");
    return { at: root.at, statements: [] };
  }
  const reader = new TreeReader(report, null);
  const fields = reader.fields(root, POLICY_ELEMENTS);
  const version = fields.get("Version");
  if (version?.kind !== "string" || version.value !== "2012-10-17") {
    report("OLD_VERSION", version?.at ?? root.at, version === undefined ? "no Version" : "another Version");
  }
  const statement = fields.get("Statement");
  const nodes = statement === undefined ? [] : listOf(statement);
  if (nodes.length === 0) report("MALFORMED_POLICY", statement?.at ?? root.at, "expected at least one statement");
  const statements = nodes.flatMap((node, at) => readStatement(node, at, report));
  for (const [at, { label, at: place }] of statements.entries()) {
    if (statements.findIndex((other) => other.label === label) < at) {
      report("DUPLICATE_SID", place, `another statement has the Sid ${JSON.stringify(label)}`, label);
    }
  }
  return { at: statement?.at ?? root.at, statements };
}

function readStatement(node: JsonNode, index: number, report: Report): StatementTree[] {
  const number = `#${index + 1}`;
  if (node.kind !== "object") {
    report("MALFORMED_POLICY", node.at, "expected a statement as an object", number);
    return [];
  }
  const sid = node.entries.find(({ key }) => key === "Sid")?.value;
  const label = sid?.kind === "string" && sid.value !== "" ? sid.value : number;
  const reader = new TreeReader(report, label);
  const fields = reader.fields(node, STATEMENT_ELEMENTS);
  if (sid !== undefined) reader.strings(sid, "Sid");
  const effect = fields.get("Effect");
  if (effect?.kind !== "string" || (effect.value !== "Allow" && effect.value !== "Deny")) {
    reader.malformed(effect?.at ?? node.at, "Effect: expected Allow or Deny");
    return [];
  }
  const part = <Item extends Located>(name: string, read: (found: JsonNode, name: string) => Item[]): Part<Item> => {
    const positive = fields.get(name);
    const negative = fields.get(`Not${name}`);
    const found = positive ?? negative;
    if (found === undefined) reader.malformed(node.at, `expected ${name}`);
    if (positive !== undefined && negative !== undefined) reader.malformed(negative.at, `${name} and Not${name}`);
    return {
      at: found?.at ?? node.at,
      isNegated: positive === undefined && negative !== undefined,
      items: found === undefined ? [] : read(found, name),
    };
  };
  const condition = fields.get("Condition");
  return [
    {
      at: node.at,
      label,
      effect: effect.value,
      principals: part("Principal", (found) => reader.principals(found)),
      actions: part("Action", (found, name) => reader.strings(found, name)),
      resources: part("Resource", (found, name) => reader.strings(found, name)),
      conditions: condition === undefined ? [] : reader.conditions(condition),
    },
  ];
}

class TreeReader {
  readonly #report: Report;
  readonly #label: string | null;

  constructor(report: Report, label: string | null) {
    this.#report = report;
    this.#label = label;
  }

  malformed(at: number, message: string): void {
    this.#report("MALFORMED_POLICY", at, message, this.#label);
  }

  /** The last of two values wins, as in most parsers. */
  fields(node: JsonNode, allowed: readonly string[] | null): Map<string, JsonNode> {
    const fields = new Map<string, JsonNode>();
    if (node.kind !== "object") {
      this.malformed(node.at, "expected an object");
      return fields;
    }
    for (const { key, keyAt, value } of node.entries) {
      if (fields.has(key)) this.#report("DUPLICATE_KEY", keyAt, `a second ${JSON.stringify(key)}`, this.#label);
      if (allowed !== null && !allowed.includes(key)) {
        this.malformed(keyAt, `${JSON.stringify(key)}: expected one of ${allowed.join(", ")}`);
      }
      fields.set(key, value);
    }
    return fields;
  }

  strings(node: JsonNode, name: string): Located[] {
    const items = listOf(node);
    if (items.length === 0) this.malformed(node.at, `${name}: expected at least one`);
    return items.flatMap((item) => {
      if (item.kind === "string") return [{ at: item.at, value: item.value }];
      this.malformed(item.at, `${name}: expected a string`);
      return [];
    });
  }

  principals(node: JsonNode): PrincipalPart[] {
    if (node.kind === "string") {
      if (node.value !== "*") this.malformed(node.at, 'Principal: expected "*" or an object such as {"AWS": …}');
      return [{ at: node.at, value: node.value, type: "AWS" }];
    }
    const types = this.fields(node, ["AWS", "Service", "Federated", "CanonicalUser"]);
    if (types.size === 0) this.malformed(node.at, "Principal: expected somebody");
    return [...types].flatMap(([type, found]) => this.strings(found, type).map((item) => ({ ...item, type })));
  }

  conditions(node: JsonNode): ConditionPart[] {
    this.fields(node, null);
    if (node.kind !== "object") return [];
    return node.entries.flatMap(({ key: operator, keyAt: operatorAt, value: keys }) => {
      this.fields(keys, null);
      if (keys.kind !== "object") return [];
      return keys.entries.map(({ key, keyAt, value }) => ({
        operator: { at: operatorAt, value: operator },
        key: { at: keyAt, value: key },
        values: this.#conditionValues(value, key),
      }));
    });
  }

  #conditionValues(node: JsonNode, key: string): Located[] {
    return listOf(node).flatMap((item) => {
      if (item.kind === "string") return [{ at: item.at, value: item.value }];
      if (item.kind === "other" && item.value !== null) return [{ at: item.at, value: String(item.value) }];
      this.malformed(item.at, `${key}: expected a string or a list of strings`);
      return [];
    });
  }
}

function listOf(node: JsonNode): readonly JsonNode[] {
  return node.kind === "array" ? node.items : [node];
}
