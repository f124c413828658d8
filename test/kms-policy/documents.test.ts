/** What docs/kms-policy.md says of the code is so. */
import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { FINDINGS, generateKeyPolicy, rotateKeyPolicy } from "../../kms-policy/index.ts";
import { KEY_ID, ONE_IMAGE, pcrs } from "./policies.ts";

const page = readFileSync("docs/kms-policy.md", "utf8");

test("lists every finding, with its severity, attack and repair, and no other", () => {
  const listed = [...page.matchAll(/^\| `([A-Z_]+)` \| (error|warning) \| (.+) \| (.+) \|$/gm)].map(
    ([, code, severity, attack, repair]) => [code, { severity, attack, repair }],
  );
  expect(Object.fromEntries(listed)).toEqual(FINDINGS);
});

test("explains every statement of a generated policy", () => {
  for (const { Sid } of generateKeyPolicy(ONE_IMAGE).Statement)
    expect(page).toMatch(new RegExp(`^\\| \`${Sid}\``, "m"));
});

test("explains every step of an upgrade", () => {
  for (const { name } of rotateKeyPolicy(ONE_IMAGE, [pcrs({ 0: 0xbb })], KEY_ID).steps) {
    expect(page).toMatch(new RegExp(`^\\d\\. \\*\\*${name}\\*\\*`, "m"));
  }
});
