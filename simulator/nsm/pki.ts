/**
 * A chain of the shape of AWS's (nitro.md 3.2), under a root that is made anew in every run, lives in memory only, and
 * says in every name what it is: no document of it can be taken for a real one.
 */
import { generateKeyPairSync, type KeyObject, randomBytes } from "node:crypto";
import type { AttestationRoot } from "../../attestation/index.ts";
import {
  authorityKeyIdentifier,
  basicConstraints,
  crlDistributionPoints,
  type Extension,
  issueCertificate,
  keyIdentifierOf,
  keyUsage,
  type Name,
  subjectKeyIdentifier,
} from "../pki/index.ts";

const SECOND_MS = 1000;
const MINUTE_MS = 60 * SECOND_MS;
const HOUR_MS = 60 * MINUTE_MS;
const DAY_MS = 24 * HOUR_MS;

const LIFETIME_MS = {
  root: 30 * 365 * DAY_MS,
  regional: 20 * DAY_MS,
  zonal: 5.8 * DAY_MS,
  instance: DAY_MS,
  leaf: 3 * HOUR_MS + 3 * SECOND_MS,
} as const;
/** The leaf begins this long before the first document that it signs. */
const LEAF_BACKDATE_MS = 3 * SECOND_MS;
const AUTHORITY_BACKDATE_MS = MINUTE_MS;
/** A document made just before is still good for as long as callers usually accept one. */
const RENEWAL_MARGIN_MS = 5 * MINUTE_MS;

const DOMAIN = "simulator.nitro-enclaves.invalid";
const ORGANISATION: Name = [
  ["C", "ZZ"],
  ["O", "SIMULATOR - NOT AWS"],
  ["OU", "NOT FOR PRODUCTION"],
];

export interface LeafChain {
  readonly certificate: Uint8Array;
  /** Root first. */
  readonly cabundle: readonly Uint8Array[];
  readonly leafKey: KeyObject;
}

export interface NsmPki {
  /** Give it to verifiers by hand: nothing trusts it by itself. */
  readonly root: AttestationRoot;
  /** The chain for one module now. Leaves are kept and used again until shortly before they end, as the real ones are. */
  leafFor(moduleId: string): LeafChain;
}

interface Issued {
  readonly der: Uint8Array;
  readonly name: Name;
  readonly issuer: Issued | null;
  readonly publicKey: KeyObject;
  readonly privateKey: KeyObject;
  readonly notBeforeMs: number;
  readonly notAfterMs: number;
}

/**
 * @param options.nowMs - The clock of the simulated hypervisor.
 * @param options.region - Stands in the names; `sim-1` unless given.
 */
export function createNsmPki(options: { readonly nowMs: () => number; readonly region?: string }): NsmPki {
  const { nowMs, region = "sim-1" } = options;
  const domain = `${region}.${DOMAIN}`;
  const instances = new Map<string, () => Issued>();
  const leaves = new Map<string, () => Issued>();

  const root = issue({
    commonName: DOMAIN,
    issuer: null,
    notBeforeMs: nowMs() - DAY_MS,
    lifetimeMs: LIFETIME_MS.root,
    extensions: (own) => [
      basicConstraints({ ca: true, critical: true }),
      subjectKeyIdentifier(keyIdentifierOf(own)),
      CA_KEY_USAGE,
    ],
  });

  function issueRelay(issuer: Issued, commonName: string, pathLength: number, lifetimeMs: number): Issued {
    return issue({
      commonName,
      issuer,
      notBeforeMs: nowMs() - AUTHORITY_BACKDATE_MS,
      lifetimeMs,
      extensions: (own) => [
        basicConstraints({ ca: true, pathLength, critical: true }),
        authorityKeyIdentifier(keyIdentifierOf(issuer.publicKey)),
        subjectKeyIdentifier(keyIdentifierOf(own)),
        CA_KEY_USAGE,
        crlDistributionPoints([`http://crl.${domain}/none.crl`]),
      ],
    });
  }

  function issueInstance(instanceId: string): Issued {
    return issue({
      commonName: `${instanceId}.${domain}`,
      issuer: zonal(),
      notBeforeMs: nowMs() - AUTHORITY_BACKDATE_MS,
      lifetimeMs: LIFETIME_MS.instance,
      extensions: () => [
        basicConstraints({ ca: true, pathLength: 0, critical: true }),
        keyUsage({ usages: ["keyCertSign"], critical: true }),
      ],
    });
  }

  function issueLeaf(moduleId: string): Issued {
    const instanceId = moduleId.replace(/-enc.*$/, "");
    return issue({
      commonName: `${moduleId}.${domain}`,
      issuer: keptIn(instances, instanceId, () => kept(nowMs, LIFETIME_MS.leaf, () => issueInstance(instanceId))),
      notBeforeMs: nowMs() - LEAF_BACKDATE_MS,
      lifetimeMs: LIFETIME_MS.leaf,
      extensions: () => [
        basicConstraints({ ca: false, critical: true }),
        keyUsage({ usages: ["digitalSignature", "nonRepudiation"], critical: false }),
      ],
    });
  }

  // Each authority is renewed before it would end within the life of what it issues next.
  const regional = kept(nowMs, LIFETIME_MS.zonal, () =>
    issueRelay(root, `${hexId()}.${domain}`, 2, LIFETIME_MS.regional),
  );
  const zonal = kept(nowMs, LIFETIME_MS.instance, () =>
    issueRelay(regional(), `${hexId()}.zonal.${domain}`, 1, LIFETIME_MS.zonal),
  );

  return {
    root: { name: "SIMULATOR - NOT AWS", der: root.der },
    leafFor(moduleId) {
      const issued = keptIn(leaves, moduleId, () => kept(nowMs, RENEWAL_MARGIN_MS, () => issueLeaf(moduleId)));
      const cabundle: Uint8Array[] = [];
      for (let above = issued.issuer; above !== null; above = above.issuer) cabundle.unshift(above.der);
      return { certificate: issued.der, cabundle, leafKey: issued.privateKey };
    },
  };
}

const CA_KEY_USAGE = keyUsage({ usages: ["digitalSignature", "keyCertSign", "cRLSign"], critical: true });

/** Makes one anew when the clock has left its life, or will within the margin. */
function kept(nowMs: () => number, marginMs: number, make: () => Issued): () => Issued {
  let held: Issued | undefined;
  return () => {
    const now = nowMs();
    if (held === undefined || now < held.notBeforeMs || now + marginMs > held.notAfterMs) held = make();
    return held;
  };
}

function keptIn(known: Map<string, () => Issued>, id: string, make: () => () => Issued): Issued {
  const get = known.get(id) ?? make();
  known.set(id, get);
  return get();
}

function issue(options: {
  readonly commonName: string;
  readonly issuer: Issued | null;
  readonly notBeforeMs: number;
  readonly lifetimeMs: number;
  readonly extensions: (own: KeyObject) => readonly Extension[];
}): Issued {
  const { issuer } = options;
  // Certificates hold whole seconds.
  const notBeforeMs = Math.floor(options.notBeforeMs / SECOND_MS) * SECOND_MS;
  const { publicKey, privateKey } = generateKeyPairSync("ec", { namedCurve: "P-384" });
  const name: Name = [...ORGANISATION, ["CN", options.commonName]];
  const notAfterMs = notBeforeMs + options.lifetimeMs;
  const der = issueCertificate({
    subject: name,
    issuer: issuer?.name ?? name,
    serial: BigInt(`0x4${randomBytes(15).toString("hex")}`),
    notBeforeMs,
    notAfterMs,
    subjectPublicKey: publicKey,
    issuerPrivateKey: issuer?.privateKey ?? privateKey,
    algorithm: "ecdsa-p384-sha384",
    extensions: options.extensions(publicKey),
  });
  return { der, name, issuer, publicKey, privateKey, notBeforeMs, notAfterMs };
}

function hexId(): string {
  return randomBytes(8).toString("hex");
}
