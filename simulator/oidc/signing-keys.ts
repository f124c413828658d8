/** The issuer's keys: one for each algorithm, all replaced together. */
import { calculateJwkThumbprint, exportJWK, exportSPKI, generateKeyPair, type JWK, SignJWT } from "jose";

export const ISSUER_ALGORITHMS = ["RS256", "PS256", "ES256", "EdDSA"] as const;
export type IssuerAlgorithm = (typeof ISSUER_ALGORITHMS)[number];

interface SigningKey {
  readonly privateKey: CryptoKey;
  readonly publicKey: CryptoKey;
  readonly publicJwk: JWK & { readonly kid: string };
}

type Generation = Readonly<Record<IssuerAlgorithm, Promise<SigningKey>>>;

export class SigningKeys {
  // Nobody waits for RSA here: it takes a tenth of a second and more, and is ready when first asked for.
  #current: Generation = freshGeneration();
  #previous: Generation | null = null;

  /** The set as published: today's keys, then yesterday's, as issuers do so that tokens outlive a rotation. */
  async jwks(): Promise<{ readonly keys: readonly JWK[] }> {
    const generations = this.#previous === null ? [this.#current] : [this.#current, this.#previous];
    const keys = await Promise.all(generations.flatMap((generation) => Object.values(generation)));
    return { keys: keys.map(({ publicJwk }) => publicJwk) };
  }

  rotate(): void {
    this.#previous = this.#current;
    this.#current = freshGeneration();
  }

  async sign(algorithm: IssuerAlgorithm, claims: Readonly<Record<string, unknown>>): Promise<string> {
    const { privateKey, publicJwk } = await this.#current[algorithm];
    return new SignJWT(claims).setProtectedHeader({ alg: algorithm, kid: publicJwk.kid, typ: "JWT" }).sign(privateKey);
  }

  async publicPem(algorithm: IssuerAlgorithm): Promise<string> {
    return exportSPKI((await this.#current[algorithm]).publicKey);
  }
}

function freshGeneration(): Generation {
  const entries = ISSUER_ALGORITHMS.map((algorithm) => [algorithm, freshKey(algorithm)] as const);
  return Object.fromEntries(entries) as Record<IssuerAlgorithm, Promise<SigningKey>>;
}

async function freshKey(algorithm: IssuerAlgorithm): Promise<SigningKey> {
  const { privateKey, publicKey } = await generateKeyPair(algorithm, { modulusLength: 2048 });
  const jwk = await exportJWK(publicKey);
  const kid = await calculateJwkThumbprint(jwk);
  return { privateKey, publicKey, publicJwk: { ...jwk, kid, use: "sig", alg: algorithm } };
}
