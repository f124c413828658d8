/** Documents that AWS's own hypervisor signed, read from outside the project: see the folder's README. */
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { AWS_NITRO_ROOT_G1, type ExpectedAttestation } from "../../attestation/index.ts";

export const VECTORS = process.env["CLOISTER_VECTORS"] ?? "../shared/vectors";
export const VECTORS_ABSENT = !existsSync(join(VECTORS, "attestation"));
if (VECTORS_ABSENT) process.stderr.write(`skipped: no vectors in ${VECTORS}; name their folder in CLOISTER_VECTORS\n`);

export interface GenuineDocument {
  readonly name: string;
  readonly timestampMs: number;
  readonly debug: boolean;
  read(): Uint8Array;
}

export const GENUINE: readonly GenuineDocument[] = [
  genuine("2022-10-12-debug-mode", "2022-10-12T13:50:06.081Z", true),
  genuine("2022-10-13-pcr8-nonce", "2022-10-13T08:58:02.136Z", false),
  genuine("2025-04-29-pcr16-locked", "2025-04-29T10:32:39.691Z", false),
  genuine("indefinite-length-payload", "2025-09-16T21:25:49.422Z", false),
];

/** Accepts the document at its own time, and asks for nothing else. */
export function ownTime({ timestampMs, debug }: GenuineDocument): ExpectedAttestation {
  return {
    roots: [AWS_NITRO_ROOT_G1],
    atMs: timestampMs,
    nonce: "unchecked",
    pcrs: "unchecked",
    maxAgeMs: 0,
    allowDebug: debug,
  };
}

function genuine(name: string, time: string, debug: boolean): GenuineDocument {
  const read = () => new Uint8Array(readFileSync(join(VECTORS, "attestation", `${name}.cose`)));
  return { name, timestampMs: Date.parse(time), debug, read };
}
