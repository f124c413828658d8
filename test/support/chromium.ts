/** Headless Chromium, where there is one. */
import { existsSync } from "node:fs";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { build } from "esbuild";
import { type Browser, chromium } from "playwright-core";

/** Where Debian puts it. */
const CHROMIUM = process.env["CLOISTER_CHROMIUM"] ?? "/usr/bin/chromium";
export const CHROMIUM_ABSENT = !existsSync(CHROMIUM);
if (CHROMIUM_ABSENT)
  process.stderr.write(
    `skipped: no ${CHROMIUM}; "apt-get install chromium" brings it, or name one in CLOISTER_CHROMIUM\n`,
  );

const ARGUMENTS = [
  "--headless",
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];

export function launchChromium(): Promise<Browser> {
  return chromium.launch({ executablePath: CHROMIUM, args: ARGUMENTS });
}

/** `client/` as one script that sets `globalThis.CloisterClient`. Anything of Node's in it fails the build. */
export async function bundleClient(): Promise<string> {
  const { outputFiles } = await build({
    entryPoints: ["client/index.ts"],
    ...{ bundle: true, write: false, platform: "browser", format: "iife", globalName: "CloisterClient" },
    target: ["chrome137", "firefox130", "safari17"],
    logLevel: "warning",
  });
  const [output] = outputFiles;
  if (output === undefined) throw new Error("esbuild gave no output");
  return output.text;
}

export interface Served {
  readonly server: Server;
  readonly origin: string;
}

/** Serves a page that loads one script. */
export function serveScript(script: string): Promise<Served> {
  const page = '<!doctype html><title>test</title><script src="/client.js"></script>';
  return serve((path) => (path === "/client.js" ? script : path === "/" ? page : null));
}

/** Serves scripts and pages by their paths, at an origin of `localhost`: a secure context without TLS. */
export async function serve(contentOf: (path: string) => string | null): Promise<Served> {
  const server = createServer((request, response) => {
    const path = request.url ?? "/";
    const content = contentOf(path);
    const type = path.endsWith(".js") ? "text/javascript" : "text/html";
    response.writeHead(content === null ? 404 : 200, { "content-type": type });
    response.end(content ?? "");
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return { server, origin: `http://localhost:${(server.address() as AddressInfo).port}` };
}
