/** Every part, in the order in which a set runs them. */
import type { SetName } from "./figures.ts";
import type { Part } from "./part.ts";
import { connections } from "./parts/connections.ts";
import { enclaves } from "./parts/enclaves.ts";
import { http } from "./parts/http.ts";
import { inProcess } from "./parts/in-process.ts";
import { limits } from "./parts/limits.ts";
import { logins } from "./parts/logins.ts";
import { rotation } from "./parts/rotation.ts";
import { signing } from "./parts/signing.ts";
import { wallets } from "./parts/wallets.ts";

const MINUTE_MS = 60_000;

export const SETS: Readonly<Record<SetName, readonly Part[]>> = {
  standard: [
    { name: "limits", limitMs: 5 * MINUTE_MS, run: limits },
    { name: "in-process", limitMs: 10 * MINUTE_MS, run: inProcess },
    { name: "signing", limitMs: 10 * MINUTE_MS, run: signing },
    { name: "http", limitMs: 10 * MINUTE_MS, run: http },
    { name: "logins", limitMs: 60 * MINUTE_MS, run: logins },
  ],
  growth: [
    { name: "connections", limitMs: 10 * MINUTE_MS, run: connections },
    { name: "enclaves", limitMs: 10 * MINUTE_MS, run: enclaves },
    { name: "rotation", limitMs: 10 * MINUTE_MS, run: rotation },
    { name: "wallets", limitMs: 120 * MINUTE_MS, run: wallets },
  ],
};

const PARTS: readonly Part[] = [...SETS.standard, ...SETS.growth];

/** @throws Error for a name that is none. */
export function partNamed(name: string): Part {
  const part = PARTS.find((each) => each.name === name);
  if (part === undefined) throw new Error(`no part ${name}: expected ${PARTS.map((each) => each.name).join(", ")}`);
  return part;
}
