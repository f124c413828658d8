/** Where an issuer's keys are to be had: at one address, or where the issuer's OpenID configuration says. */
import { type IssuerConfig, z } from "../../protocol/index.ts";

export type KeySource =
  | { readonly kind: "jwks"; readonly uri: string }
  | {
      readonly kind: "discovery";
      readonly issuer: string;
      /** `host:port`, sorted; the issuer's own is among them. */
      readonly keyHosts: readonly string[];
    };

const configuration = z.object({ issuer: z.string(), jwks_uri: z.string() });

export function keySourceOf({ issuer, jwksUri, discovery }: IssuerConfig): KeySource {
  if (jwksUri !== undefined) return { kind: "jwks", uri: jwksUri };
  const hosts = new Set([hostAndPortOf(new URL(issuer)), ...(discovery?.keyHosts ?? [])]);
  return { kind: "discovery", issuer, keyHosts: [...hosts].sort() };
}

/** Everything that the enclave may be made to connect to for this issuer. */
export function hostsOf(source: KeySource): readonly string[] {
  return source.kind === "jwks" ? [hostAndPortOf(new URL(source.uri))] : source.keyHosts;
}

/** Sources that are fetched alike share one cache. */
export function nameOf(source: KeySource): string {
  return source.kind === "jwks" ? source.uri : `discovery ${[source.issuer, ...source.keyHosts].join(" ")}`;
}

/**
 * Fetches an issuer's key set, as it is published.
 *
 * @throws Error if discovery names another issuer, or keys in a place that the app does not; and what `fetchJson` throws.
 */
export async function fetchKeys(source: KeySource, fetchJson: (url: URL) => Promise<unknown>): Promise<unknown> {
  if (source.kind === "jwks") return fetchJson(new URL(source.uri));
  const { issuer, keyHosts } = source;
  // Discovery 1.0, section 4: a final slash goes before the well-known path comes.
  const found = configuration.parse(
    await fetchJson(new URL(`${issuer.replace(/\/$/, "")}/.well-known/openid-configuration`)),
  );
  // Section 4.3: or else one issuer could speak for another.
  if (found.issuer !== issuer) throw new Error("the configuration is another issuer's");
  const uri = URL.parse(found.jwks_uri);
  if (uri === null || uri.protocol !== "https:" || uri.username !== "" || uri.password !== "") {
    throw new Error("jwks_uri: expected an https URL without credentials");
  }
  if (!keyHosts.includes(hostAndPortOf(uri))) throw new Error("jwks_uri: on a host that the app does not name");
  return fetchJson(uri);
}

function hostAndPortOf({ hostname, port }: URL): string {
  return `${hostname}:${port === "" ? 443 : port}`;
}
