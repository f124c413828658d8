/** The client library in a page of Chromium: what crosses into the page, and what stands ready there. */
import type { BrowserContext, Page } from "playwright-core";
import type * as ClientLibrary from "../../client/index.ts";
import type { Simulator } from "../../simulator/index.ts";
import { AUDIENCE } from "./app.ts";

/** What a page must know to connect. Plain data. */
export interface World {
  readonly url: string;
  readonly deployment: string;
  readonly appId: string;
  readonly rootDer: number[];
  readonly pcrs: [number, number[]][];
}

/** What a page's functions find in it. */
export type PageGlobal = typeof globalThis & {
  CloisterClient: typeof ClientLibrary;
  mint: (nonce: string) => Promise<string>;
  connectTo: (world: World) => Promise<ClientLibrary.Client>;
};

export function worldOf({ url, deployment, expected: { roots, pcrs } }: Simulator, appId: string): World {
  return {
    ...{ url, deployment, appId },
    rootDer: [...(roots[0]?.der ?? [])],
    pcrs: [...(pcrs[0] ?? new Map<number, Uint8Array>())].map(([index, value]) => [index, [...value]]),
  };
}

/** @param subject - Whom the issuer names in the tokens that the page asks for. */
export async function newClientPage(
  context: BrowserContext,
  { issuer }: Pick<Simulator, "issuer">,
  subject: string,
): Promise<Page> {
  const page = await context.newPage();
  await page.exposeFunction("mint", (nonce: string) => issuer.mint({ subject, audience: AUDIENCE, nonce }));
  await page.addInitScript(() => {
    const global = globalThis as PageGlobal;
    global.connectTo = ({ url, deployment, rootDer, pcrs }) =>
      global.CloisterClient.connect({
        ...{ url, deployment },
        expected: {
          roots: [{ name: "simulator", der: Uint8Array.from(rootDer) }],
          pcrs: [new Map(pcrs.map(([index, value]) => [index, Uint8Array.from(value)]))],
          ...{ manifestDigest: "covered-by-pcrs", vaultId: "any" },
        },
      });
  });
  return page;
}
