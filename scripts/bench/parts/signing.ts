/** Signing of each kind without stamps, sessions and answers, beside the libraries that people would use. */
import { bitcoinRows } from "../bitcoin.ts";
import { custodyRows } from "../custody.ts";
import { digestRows } from "../digest.ts";
import { evmRows } from "../evm.ts";
import type { Section } from "../figures.ts";
import type { PartContext } from "../part.ts";
import { policyRows } from "../policy.ts";
import { type Contestant, inTurns, repeating } from "../rounds.ts";
import type { SigningRow } from "../signing-row.ts";
import { solanaRows } from "../solana.ts";

const METHOD =
  "Ours begins with the bytes that a caller sends and ends with those that come back: parsed, judged by a policy, signed, " +
  "encoded. A peer is given what it signs parsed already, and judges nothing. Each makes the same bytes.";

export async function signing({ isQuick }: PartContext): Promise<readonly Section[]> {
  const [rounds, forMs] = isQuick ? [1, 60] : [3, 200];
  const measure = async (rows: readonly SigningRow[]) => {
    const measured = [];
    for (const row of rows) {
      const contestants: Record<string, Contestant> = {
        ours: repeating(row.ours, forMs),
        theirs: repeating(row.theirs, forMs),
      };
      if (row.ethers !== undefined) contestants["ethers"] = repeating(row.ethers, forMs);
      measured.push({ row, rates: await inTurns(contestants, rounds) });
    }
    return measured;
  };
  const how = `${METHOD} A second of CPU time, the best of ${rounds} rounds of ${forMs} ms in turns after one of warm-up.`;
  const evm = await measure(await evmRows());
  const others = await measure([
    ...(await solanaRows()),
    ...(await bitcoinRows()),
    ...digestRows(),
    ...(await custodyRows()),
    ...policyRows(),
  ]);
  const [whole, tenth] = [0, 1];
  return [
    {
      ...{ name: "evm", title: "Signing for Ethereum, beside viem and ethers", method: how },
      columns: [
        { label: "Cloister", digits: whole },
        { label: "slowest round", digits: 2 },
        { label: "viem", digits: whole },
        { label: "times viem", digits: tenth },
        { label: "ethers", digits: whole },
        { label: "times ethers", digits: tenth },
      ],
      rows: evm.map(({ row: { name }, rates: { ours, theirs, ethers } }) => ({
        name,
        cells: [
          ...[ours?.best ?? null, ours?.slowest ?? null, theirs?.best ?? null, ratio(ours?.best, theirs?.best)],
          ...[ethers?.best ?? null, ratio(ours?.best, ethers?.best)],
        ],
      })),
    },
    {
      ...{
        name: "others",
        title: "Solana, Bitcoin, digests, split wallets and policies",
        method:
          "As for Ethereum, beside one library each. Where Ed25519 signs, ours begins with the seed, of which OpenSSL makes the " +
          "public key first: half of the time; Kit's key was imported before. A policy is asked about one transaction, and none " +
          "of its rules is left out: there is no peer for that, so beside it stands what parsing the transaction takes.",
      },
      columns: [
        { label: "Cloister", digits: whole },
        { label: "slowest round", digits: 2 },
        { label: "peer", digits: whole },
        { label: "times peer", digits: tenth },
        { label: "which", digits: 0 },
      ],
      rows: others.map(({ row: { name, peer }, rates: { ours, theirs } }) => ({
        name,
        cells: [
          ...[ours?.best ?? null, ours?.slowest ?? null, theirs?.best ?? null, ratio(ours?.best, theirs?.best), peer],
        ],
      })),
    },
  ];
}

function ratio(ours: number | undefined, theirs: number | undefined): number | null {
  return ours === undefined || theirs === undefined ? null : ours / theirs;
}
