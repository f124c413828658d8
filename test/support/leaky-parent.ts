/**
 * Preloaded into a parent (`--import`) that is not to pass a soak: keeps each request's response and, now and then, a file open and
 * a timer.
 */
import { subscribe } from "node:diagnostics_channel";
import { openSync } from "node:fs";

const EVERY = 200;

if (process.argv[1]?.includes("parent-proxy") === true) {
  const kept: unknown[] = [];
  subscribe("http.server.request.start", (message) => {
    kept.push((message as { readonly response: unknown }).response);
    if (kept.length % EVERY !== 0) return;
    openSync("/dev/null", "r");
    setInterval(() => kept.length, 3_600_000).unref();
  });
}
