/** Logins, stamped requests by each scheme, and what sealing costs, with few and many users stored. */
import { randomUUID } from "node:crypto";
import { decodeUnverified } from "../../../attestation/index.ts";
import { loginNonce, type StampKey } from "../../../client/index.ts";
import {
  type AttestedKeys,
  decodeAttestedKeys,
  encodeRequest,
  type StampScheme,
  sealRequest,
} from "../../../protocol/index.ts";
import { generateKeyOf } from "../../../test/support/app-requests.ts";
import { benchPasskey, type WebauthnStamper } from "../../bench-passkeys.ts";
import { type Deployment, type Prepared, postAll, signingWith, startDeployment } from "../deployment.ts";
import type { Section } from "../figures.ts";
import type { PartContext } from "../part.ts";

const IN_FLIGHT = 32;
const P256 = "SIGNATURE_SCHEME_TK_API_P256";
const SCHEMES: readonly StampScheme[] = [P256, "SIGNATURE_SCHEME_TK_API_SECP256K1", "SIGNATURE_SCHEME_TK_API_ED25519"];

interface Signer {
  readonly key: StampKey;
  readonly walletId: string;
}

export async function logins({ isQuick, sizes, say }: PartContext): Promise<readonly Section[]> {
  const [rounds, requests, count] = isQuick ? [1, 300, 100] : [3, 1_000, 300];
  await using deployment = await startDeployment();
  const { simulator } = deployment;
  const load = new Logins(deployment, await attestedKeysOf(simulator.url));
  const signers = new Map<StampScheme, Signer>();
  let passkey: WebauthnStamper | undefined;
  for (const scheme of SCHEMES) {
    const { session, key } = await deployment.logIn("signer", scheme);
    const { walletId } = await session.createWallet({ kind: "single-key" });
    signers.set(scheme, { key, walletId });
    const user = { appId: deployment.appId, userId: session.userId, key };
    passkey ??= await benchPasskey(deployment.client, user);
  }
  const signerOf = (scheme: StampScheme): Signer => {
    const signer = signers.get(scheme);
    if (signer === undefined) throw new Error(`no signer for ${scheme}`);
    return signer;
  };
  const best = async (make: () => Promise<Prepared[]>): Promise<number> => {
    const rates: number[] = [];
    for (let round = 0; round < rounds; round += 1) {
      rates.push((await postAll(simulator.url, await make(), IN_FLIGHT)).perSecond);
    }
    return Math.max(...rates);
  };
  const rows: Section["rows"] = [];
  for (const users of sizes ?? (isQuick ? [1] : [1, 1_000])) {
    while (load.stored < users) {
      say(`${load.stored} of ${users} users`);
      await postAll(simulator.url, await load.logins(Math.min(500, users - load.stored), false), IN_FLIGHT);
    }
    const rates: number[] = [];
    for (const scheme of SCHEMES) rates.push(await best(() => load.signatures(signerOf(scheme), requests, false)));
    const { walletId } = signerOf(P256);
    const byPasskey = await best(async () => load.byPasskey(walletId, requests, passkey));
    const sealed = await best(() => load.signatures(signerOf(P256), requests, true));
    // Last, since each round of logins adds its users.
    const inTheOpen = await best(() => load.logins(count, false));
    const sealedLogins = await best(() => load.logins(count, true));
    const ratio = sealed / (rates[0] ?? Number.NaN);
    rows.push({ name: String(users), cells: [inTheOpen, sealedLogins, ...rates, byPasskey, sealed, ratio] });
  }
  const labels = ["login", "login, sealed", "sign: P-256", "secp256k1", "Ed25519", "passkey", "P-256, sealed"];
  return [
    {
      ...{ name: "logins", title: "Logins, stamps and seals, by users stored" },
      method:
        `A second over HTTP, ${IN_FLIGHT} in flight, the best of ${rounds} rounds of ${count} logins or ${requests} signed ` +
        "transactions. Tokens, stamps and seals are made beforehand.",
      columns: [...labels.map((label) => ({ label, digits: 0 })), { label: "sealed by open", digits: 2 }],
      rows,
    },
  ];
}

class Logins {
  readonly #deployment: Deployment;
  readonly #sealingKeys: AttestedKeys;
  stored = 1;

  constructor(deployment: Deployment, sealingKeys: AttestedKeys) {
    this.#deployment = deployment;
    this.#sealingKeys = sealingKeys;
  }

  /** Each of a new user, with a key of its own: one key for all would be one session. */
  async logins(count: number, isSealed: boolean): Promise<Prepared[]> {
    const { issuer } = this.#deployment.simulator;
    const made = await Promise.all(
      Array.from({ length: count }, async () => {
        const key = generateKeyOf(P256);
        const nonce = await loginNonce(key);
        return { key, jwt: await issuer.mint({ subject: randomUUID(), audience: "bench", nonce, algorithm: "ES256" }) };
      }),
    );
    this.stored += count;
    // Dated last: a request is good for a minute.
    return Promise.all(
      made.map(async ({ key, jwt }) => {
        const prepared = await this.#deployment.prepare("register_session", { jwt }, key);
        return isSealed ? this.#seal(prepared) : prepared;
      }),
    );
  }

  signatures({ key, walletId }: Signer, count: number, isSealed: boolean): Promise<Prepared[]> {
    return Promise.all(
      Array.from({ length: count }, async () => {
        const prepared = await this.#deployment.prepare("sign_transaction", signingWith(walletId), key);
        return isSealed ? this.#seal(prepared) : prepared;
      }),
    );
  }

  byPasskey(walletId: string, count: number, stamp: WebauthnStamper | undefined): Prepared[] {
    if (stamp === undefined) throw new Error("no passkey");
    const { simulator, audience } = this.#deployment;
    return Array.from({ length: count }, () => {
      const dated = { requestId: randomUUID(), issuedAtMs: simulator.nowMs() - 100 };
      const body = encodeRequest({ operation: "sign_transaction", audience, ...dated, params: signingWith(walletId) });
      return { path: "/v1/sign_transaction", body, stamp: stamp(body), openStatus: null };
    });
  }

  async #seal({ body, stamp }: Prepared): Promise<Prepared> {
    const inside = { stamps: stamp === null ? [] : [stamp], body };
    const { bytes, openAnswer } = await sealRequest(this.#sealingKeys, this.#deployment.audience, inside);
    const openStatus = async (answer: Uint8Array) => (await openAnswer(answer)).status;
    return { path: "/v1/sealed", body: bytes, stamp: null, openStatus };
  }
}

async function attestedKeysOf(url: string): Promise<AttestedKeys> {
  const document = await fetch(`${url}/v1/attestation?nonce=${"00".repeat(16)}`);
  const { publicKey } = decodeUnverified(new Uint8Array(await document.arrayBuffer()));
  return decodeAttestedKeys(publicKey ?? new Uint8Array(0));
}
