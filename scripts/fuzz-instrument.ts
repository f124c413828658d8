/** Puts a counter at every place where a program's path may fork, so that a fuzzer sees which input took a new one. */
import { parseSync } from "oxc-parser";

interface SyntaxNode {
  readonly type: string;
  readonly start: number;
  readonly end: number;
  readonly [field: string]: unknown;
}

/** Shared by the instrumented code and the fuzzer. */
export const COUNTERS_GLOBAL = "__fuzzCounters";

/**
 * @param source - One JavaScript module; TypeScript is bundled first.
 * @returns The same program, with `globalThis.__fuzzCounters[n]++` in each function, branch, case, loop body, arm of a
 * conditional and right side of `&&`, `||` and `??`.
 */
export function instrument(source: string): { readonly code: string; readonly counters: number } {
  const { program, errors } = parseSync("fuzz-target.js", source);
  if (errors[0] !== undefined) throw new Error(errors[0].message);
  const insertions: { readonly at: number; readonly text: string; readonly order: number }[] = [];
  let counters = 0;
  const insert = (at: number, text: string): void => {
    insertions.push({ at, text, order: insertions.length });
  };
  const count = (): string => {
    counters += 1;
    return `${COUNTERS_GLOBAL}[${counters - 1}]++`;
  };
  const countStatement = (statement: unknown): void => {
    if (!isNode(statement)) return;
    if (statement.type === "BlockStatement") insert(statement.start + 1, `${count()};`);
    else {
      insert(statement.start, `{${count()};`);
      insert(statement.end, "}");
    }
  };
  const countExpression = (expression: unknown): void => {
    if (!isNode(expression)) return;
    insert(expression.start, `(${count()},`);
    insert(expression.end, ")");
  };

  visit(program as unknown as SyntaxNode, (node) => {
    switch (node.type) {
      case "FunctionDeclaration":
      case "FunctionExpression":
        countStatement(node["body"]);
        break;
      case "ArrowFunctionExpression":
        if (isNode(node["body"]) && node["body"].type === "BlockStatement") countStatement(node["body"]);
        else countExpression(node["body"]);
        break;
      case "IfStatement":
        countStatement(node["consequent"]);
        countStatement(node["alternate"]);
        break;
      case "ForStatement":
      case "ForOfStatement":
      case "ForInStatement":
      case "WhileStatement":
        countStatement(node["body"]);
        break;
      case "CatchClause":
        countStatement(node["body"]);
        break;
      case "SwitchCase":
        if (Array.isArray(node["consequent"]) && isNode(node["consequent"][0])) {
          insert(node["consequent"][0].start, `${count()};`);
        }
        break;
      case "ConditionalExpression":
        countExpression(node["consequent"]);
        countExpression(node["alternate"]);
        break;
      case "LogicalExpression":
        countExpression(node["right"]);
        break;
    }
  });

  // What was inserted first at one place belongs outermost: in front of it comes first, behind it comes last.
  insertions.sort((a, b) => a.at - b.at || sideOf(a.text) - sideOf(b.text) || sideOrder(a, b));
  let code = "";
  let from = 0;
  for (const { at, text } of insertions) {
    code += source.slice(from, at) + text;
    from = at;
  }
  return { code: `const ${COUNTERS_GLOBAL} = globalThis.${COUNTERS_GLOBAL};\n${code}${source.slice(from)}`, counters };
}

/** What closes something at a place comes before what opens something there. */
function sideOf(text: string): number {
  return text === ")" || text === "}" ? 0 : 1;
}

function sideOrder(a: { text: string; order: number }, b: { text: string; order: number }): number {
  return sideOf(a.text) === 0 ? b.order - a.order : a.order - b.order;
}

function visit(node: SyntaxNode, enter: (node: SyntaxNode) => void): void {
  enter(node);
  for (const value of Object.values(node)) {
    if (Array.isArray(value)) {
      for (const item of value) if (isNode(item)) visit(item, enter);
    } else if (isNode(value)) visit(value, enter);
  }
}

function isNode(value: unknown): value is SyntaxNode {
  return typeof value === "object" && value !== null && typeof (value as { type?: unknown }).type === "string";
}
