/** The module that signing workers begin with, where the enclave is run from its files: as sources, or compiled. */
export const WORKER_ENTRY = new URL(`./worker${import.meta.url.endsWith(".ts") ? ".ts" : ".js"}`, import.meta.url);
