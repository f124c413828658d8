/** An image as nitro-cli's describe-eif shows it: keys and their order are that tool's (nitro.md section 6). */
import { type DescribedCertificate, describeCertificate } from "./describe-certificate.ts";
import { EifError } from "./errors.ts";
import type { Measurements } from "./measure.ts";
import type { EifMetadata, JsonValue } from "./metadata.ts";
import type { InspectedEif } from "./read-eif.ts";
import { firstCertificate } from "./sign-pcr0.ts";
import { verifyEifSignature } from "./verify-signature.ts";

export interface DescribedEif {
  readonly EifVersion: number;
  /** Null where the image is too broken to be measured; AWS's tool shows nothing then. */
  readonly Measurements: Measurements | null;
  readonly IsSigned: boolean;
  readonly SigningCertificate?: DescribedCertificate;
  readonly CheckCRC: boolean;
  /** Whether the certificate's key signed this PCR0. Says nothing of dates. */
  readonly SignatureCheck?: boolean;
  readonly ImageName?: string;
  readonly ImageVersion?: string;
  readonly Metadata?: Readonly<Record<string, JsonValue>>;
}

export function describeEif(eif: InspectedEif): DescribedEif {
  const { header, metadata, signature } = eif;
  return {
    EifVersion: header.version,
    Measurements: eif.measurements,
    IsSigned: eif.sections.some(({ type }) => type === "signature"),
    ...(signature === null ? {} : certificateOf(signature.certificatePem)),
    CheckCRC: header.crc32 === eif.crc32,
    ...(signature === null ? {} : { SignatureCheck: refusalOfSignature(eif) === null }),
    ...(metadata === null
      ? {}
      : { ImageName: metadata.imageName, ImageVersion: metadata.imageVersion, Metadata: flattened(metadata) }),
  };
}

/** Why the signature is not one over this image by its certificate, whatever the dates; null if it is. */
export function refusalOfSignature(eif: InspectedEif): EifError | null {
  try {
    verifyEifSignature(eif, "whenever");
    return null;
  } catch (error) {
    if (error instanceof EifError) return error;
    throw error;
  }
}

function certificateOf(pem: string): Pick<DescribedEif, "SigningCertificate"> {
  try {
    return { SigningCertificate: describeCertificate(firstCertificate(pem)) };
  } catch (error) {
    if (error instanceof EifError) return {};
    throw error;
  }
}

/**
 * AWS's tool lays the keys of the custom metadata beside the built-in ones, where they can take their places: a
 * `BuildTool` of the user's would be shown as the builder's. Here the built-in one stays, and what it would have hidden
 * stands under `CustomMetadata`.
 */
function flattened({ build, dockerInfo, customMetadata }: EifMetadata): Record<string, JsonValue> {
  const builtIn: [string, JsonValue][] = [
    ["BuildTime", build.time],
    ["BuildTool", build.tool],
    ["BuildToolVersion", build.toolVersion],
    ["OperatingSystem", build.operatingSystem],
    ["KernelVersion", build.kernelVersion],
    ["DockerInfo", dockerInfo],
  ];
  if (customMetadata === null) return Object.fromEntries(builtIn);
  if (!isObject(customMetadata)) return Object.fromEntries([...builtIn, ["CustomMetadata", customMetadata]]);
  const taken = new Set([...builtIn.map(([key]) => key), "CustomMetadata"]);
  const shadowing = Object.entries(customMetadata).filter(([key]) => taken.has(key));
  return Object.fromEntries([
    ...builtIn,
    ...Object.entries(customMetadata).filter(([key]) => !taken.has(key)),
    ...(shadowing.length === 0 ? [] : [["CustomMetadata", Object.fromEntries(shadowing)] as [string, JsonValue]]),
  ]);
}

/** The keys of the custom metadata that AWS's tool would show in the place of its own. */
export function shadowingKeys({ customMetadata }: EifMetadata): string[] {
  const builtIn = ["BuildTime", "BuildTool", "BuildToolVersion", "OperatingSystem", "KernelVersion", "DockerInfo"];
  return isObject(customMetadata) ? Object.keys(customMetadata).filter((key) => builtIn.includes(key)) : [];
}

function isObject(value: JsonValue): value is { readonly [key: string]: JsonValue } {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
