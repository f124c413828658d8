/**
 * Measures signing of each kind in this process: ours (parse, policy, sign, encode) beside the library that people would
 * use, on the same key and the same thing to sign, in turns.
 */
import { availableParallelism, cpus } from "node:os";
import { secp256k1Binding } from "../enclave/signing/secp256k1.ts";
import { custodyRows } from "./bench/custody.ts";
import { evmRows } from "./bench/evm.ts";
import { policyRows } from "./bench/policy.ts";
import { measureRow } from "./bench/row.ts";

/** Part by part, each with rows of its own. */
const PARTS = [evmRows, policyRows, custodyRows];

console.log(
  `${cpus()[0]?.model ?? "unknown CPU"}, ${availableParallelism()} cores, Node ${process.version}, ` +
    `secp256k1: ${secp256k1Binding}\n`,
);
console.log(line("signatures a second", "ours", "peer", "ratio", ""));
for (const rowsOf of PARTS) {
  for (const row of await rowsOf()) {
    const { name, peer, oursPerSecond, theirsPerSecond } = await measureRow(row);
    const ratio = (oursPerSecond / theirsPerSecond).toFixed(1);
    console.log(line(name, oursPerSecond.toFixed(0), theirsPerSecond.toFixed(0), ratio, peer));
  }
}

function line(name: string, ...[ours, theirs, ratio, peer]: readonly [string, string, string, string]): string {
  return `${name.padEnd(36)}${ours.padStart(10)}${theirs.padStart(10)}${ratio.padStart(8)}  ${peer}`.trimEnd();
}
