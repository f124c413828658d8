/** How throughput and latency grow with callers that wait for their answers. */
import { type Measured, postAll, signingWith, startDeployment } from "../deployment.ts";
import type { Section } from "../figures.ts";
import type { PartContext } from "../part.ts";

const CONNECTIONS = [1, 4, 16, 64, 256];

export async function connections({ isQuick, sizes }: PartContext): Promise<readonly Section[]> {
  const [rounds, seconds] = isQuick ? [1, 0.5] : [3, 3];
  await using deployment = await startDeployment();
  const { session, key } = await deployment.logIn("bench");
  const { walletId } = await session.createWallet({ kind: "single-key" });
  const counts = sizes ?? CONNECTIONS;
  const best = new Map<number, Measured>();
  for (let round = 0; round <= rounds; round += 1) {
    for (const inFlight of counts) {
      // The first round, which counts for nothing, tells how many fill the time.
      const count = Math.max(2 * inFlight, Math.ceil((best.get(inFlight)?.perSecond ?? 300) * seconds));
      const prepared = await Promise.all(
        Array.from({ length: count }, () => deployment.prepare("sign_transaction", signingWith(walletId), key)),
      );
      const measured = await postAll(deployment.simulator.url, prepared, inFlight);
      if (round <= 1 || measured.perSecond > (best.get(inFlight)?.perSecond ?? 0)) best.set(inFlight, measured);
    }
  }
  return [
    {
      ...{ name: "connections", title: "By connections" },
      method:
        "Signed transactions through parent and enclave over HTTP, one request at a time on each connection, one user and wallet; " +
        `the best of ${rounds} rounds of about ${seconds} s in turns after one of warm-up, and that round's latencies.`,
      columns: [
        { label: "a second", digits: 0 },
        { label: "p50 ms", digits: 1 },
        { label: "p99 ms", digits: 1 },
      ],
      rows: [...best].map(([inFlight, { perSecond, p50Ms, p99Ms }]) => ({
        name: String(inFlight),
        cells: [perSecond, p50Ms, p99Ms],
      })),
    },
  ];
}
