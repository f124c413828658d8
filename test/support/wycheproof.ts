/** C2SP/wycheproof, read from outside the project: see the folder's README. */
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";

export interface WycheproofCase {
  readonly tcId: number;
  readonly comment: string;
  readonly flags: readonly string[];
  readonly result: "valid" | "invalid";
  /** Hex. */
  readonly msg: string;
}

export interface WycheproofFile<Group, Case extends WycheproofCase = WycheproofCase> {
  readonly numberOfTests: number;
  readonly testGroups: readonly (Group & { readonly tests: readonly Case[] })[];
}

export interface SignatureCase extends WycheproofCase {
  /** Hex. */
  readonly sig: string;
}

function pathOf(name: string): string {
  return join(process.env["CLOISTER_VECTORS"] ?? "../shared/vectors", "wycheproof", `${name}.json`);
}

/** True where the file is absent, having said so: for `test.skipIf`. */
export function isAbsent(name: string): boolean {
  const absent = !existsSync(pathOf(name));
  if (absent) process.stderr.write(`skipped: no ${pathOf(name)}; name the vectors' folder in CLOISTER_VECTORS\n`);
  return absent;
}

export function readVectors<Group, Case extends WycheproofCase = WycheproofCase>(
  name: string,
): WycheproofFile<Group, Case> {
  return JSON.parse(readFileSync(pathOf(name), "utf8")) as WycheproofFile<Group, Case>;
}

export function fromHex(hex: string): Uint8Array<ArrayBuffer> {
  return Uint8Array.from(Buffer.from(hex, "hex"));
}
