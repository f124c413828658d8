/**
 * Enforces docs/architecture.md's table of trust zones: which folder may import which, which packages it may use, and
 * whether it may use Node. A new arrow or package here is a review question.
 */
import { existsSync, globSync, readFileSync } from "node:fs";
import { dirname, join, normalize, relative, sep } from "node:path";
import { parseSync } from "oxc-parser";

interface Zone {
  readonly folders: readonly string[];
  readonly packages: readonly string[];
  /** Node's own modules: none where the code must run in a browser. */
  readonly node: boolean;
}

const ANY = ["*"] as const;

const ZONES: Readonly<Record<string, Zone>> = {
  attestation: { folders: [], packages: [], node: false },
  protocol: { folders: [], packages: ["zod/mini", "cborg", "hpke", "shamir-secret-sharing"], node: false },
  "kms-policy": { folders: [], packages: [], node: false },
  vsock: { folders: ["protocol"], packages: [], node: true },
  enclave: {
    folders: ["attestation", "protocol", "vsock"],
    packages: [
      "@aws-crypto/decrypt-node",
      "@aws-crypto/encrypt-node",
      "@aws-crypto/kms-keyring-node",
      "@aws-crypto/material-management-node",
      "@aws-sdk/client-kms",
      "@ethereumjs/rlp",
      "@noble/hashes/sha3.js",
      "@scure/base",
      "@scure/bip39/wordlists/english.js",
      "@scure/btc-signer/psbt.js",
      "@scure/btc-signer/script.js",
      "@scure/btc-signer/transaction.js",
      "@smithy/node-http-handler",
      "cborg",
      "jose",
      // The native binding by its own path: the package's main entry falls back to JavaScript without a word.
      "secp256k1/bindings.js",
      "secp256k1/package.json",
      "yaml",
    ],
    node: true,
  },
  "parent-proxy": {
    folders: ["protocol", "vsock"],
    packages: ["@aws-sdk/credential-provider-node", "fastify", "pg", "pino", "prom-client"],
    node: true,
  },
  client: {
    folders: ["attestation", "protocol"],
    packages: ["@noble/hashes/scrypt.js", "@noble/hashes/sha2.js"],
    node: false,
  },
  eif: { folders: ["attestation"], packages: [], node: true },
  // Beside the parent on EC2. Judges from other zones are handed in by cli/, so that it needs few of them.
  host: { folders: ["protocol", "kms-policy"], packages: ["@aws-sdk/client-kms"], node: true },
  "client-node": { folders: ["protocol", "client"], packages: [], node: true },
  // Load on a running deployment. What it draws with is read as a file, into the page.
  bench: { folders: ["protocol", "client"], packages: ["@ethereumjs/rlp"], node: true },
  simulator: {
    folders: ["attestation", "protocol", "kms-policy", "vsock", "enclave", "parent-proxy", "client", "eif"],
    packages: ["cborg", "jose", "yaml"],
    node: true,
  },
  cli: {
    folders: [
      ...["attestation", "protocol", "kms-policy", "vsock", "enclave", "parent-proxy"],
      ...["client", "client-node", "eif", "simulator", "host", "bench"],
    ],
    // To sign images: `eif/` itself knows no AWS.
    packages: ["@aws-sdk/client-kms"],
    node: true,
  },
  test: { folders: ANY, packages: ANY, node: true },
  scripts: { folders: ANY, packages: ANY, node: true },
};

interface Import {
  readonly file: string;
  readonly line: number;
  readonly specifier: string;
}

const violations: string[] = [];
const files = globSync(Object.keys(ZONES).map((zone) => `${zone}/**/*.ts`));

for (const file of files) {
  for (const found of importsOf(file)) {
    const why = violationOf(found);
    if (why !== undefined) violations.push(`${found.file}:${found.line}: ${found.specifier}: ${why}`);
  }
}

for (const violation of violations) console.error(violation);
console.log(`imports: ${files.length} files, ${violations.length} violations`);
process.exit(violations.length === 0 ? 0 : 1);

/** Static, type-only, re-exported and dynamic imports, and `require` in any form that names its module. */
function importsOf(file: string): Import[] {
  const source = readFileSync(file, "utf8");
  const { module, errors } = parseSync(file, source);
  if (errors.length > 0) throw new Error(`${file}: ${errors[0]?.message}`);
  const at = (specifier: string, offset: number): Import => ({
    file,
    line: source.slice(0, offset).split("\n").length,
    specifier,
  });
  const imports = module.staticImports.map(({ moduleRequest }) => at(moduleRequest.value, moduleRequest.start));
  for (const { entries } of module.staticExports) {
    for (const { moduleRequest } of entries) {
      if (moduleRequest !== null) imports.push(at(moduleRequest.value, moduleRequest.start));
    }
  }
  for (const { moduleRequest } of module.dynamicImports) {
    const text = source.slice(moduleRequest.start, moduleRequest.end);
    imports.push(at(/^["'`][^$]*["'`]$/.test(text) ? text.slice(1, -1) : "(computed)", moduleRequest.start));
  }
  for (const match of source.matchAll(/\brequire(?:\.resolve)?\(\s*["']([^"']+)["']/g))
    imports.push(at(match[1] ?? "", match.index));
  return imports;
}

function violationOf({ file, specifier }: Import): string | undefined {
  const zoneName = file.split(sep)[0] ?? "";
  const zone = ZONES[zoneName];
  if (zone === undefined) return "no such zone";
  if (zone.folders === ANY) return undefined;
  if (specifier === "(computed)") return "a computed import cannot be checked";
  if (specifier.startsWith("node:")) return zone.node ? undefined : `${zoneName}/ must run without Node`;
  if (!specifier.startsWith(".")) {
    return zone.packages.includes(specifier) ? undefined : `${zoneName}/ may not use this package`;
  }
  const target = normalize(join(dirname(file), specifier));
  if (!existsSync(target)) return "no such file";
  const [targetZone = "", ...rest] = relative(".", target).split(sep);
  if (targetZone === zoneName) return undefined;
  if (!zone.folders.includes(targetZone)) return `${zoneName}/ may not import ${targetZone}/`;
  if (rest.join(sep) !== "index.ts") return `across folders import ${targetZone}/index.ts only`;
  return undefined;
}
