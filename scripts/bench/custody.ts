/** Signing with a split wallet beside signing with a whole one: the same record store, the same policy, the same digest. */
import { randomBytes } from "node:crypto";
import { Custody } from "../../enclave/custody/custody.ts";
import type { Authorised } from "../../enclave/policy/authorised.ts";
import { secp256k1 } from "../../enclave/wallets/open-wallet.ts";
import { Wallets } from "../../enclave/wallets/wallets.ts";
import {
  encodeBase64url,
  generateShareKey,
  openSealedShare,
  sharePublicKeyOf,
  type Wallet,
} from "../../protocol/index.ts";
import { bootParts, putUser } from "../../test/support/enclave-parts.ts";
import { MemoryParent } from "../../test/support/memory-parent.ts";
import type { SigningRow } from "./signing-row.ts";

const OWNER = { appId: "app_1", userId: "usr_1", by: "ses_1" } as const;
const AUDIENCE = "bench/app_1";
const DIGEST = randomBytes(32);

/** From the record in the parent's store, over its port, to the signature: what splitting costs is the difference. */
export async function custodyRows(): Promise<readonly SigningRow[]> {
  const { wallets, custody } = await boot();
  const rows: SigningRow[] = [];
  for (const kind of ["single-key", "hd"] as const) {
    const whole = await wallets.create(OWNER, `whole-${kind}`, { kind });
    const pair = await generateShareKey(false);
    const split = await custody.create(
      {
        ...{ ...OWNER, audience: AUDIENCE, requestId: `split-${kind}`, share: undefined },
        login: { loginId: "idn_1", atMs: 0 },
      },
      { wallet: { kind }, devicePublicKey: await sharePublicKeyOf(pair), recovery: { kind: "held" } },
    );
    const { walletId } = split.wallet;
    const address = { audience: AUDIENCE, walletId, role: "device" } as const;
    const share = encodeBase64url(await openSealedShare(pair, address, split.deviceShare));
    rows.push({
      name: `split custody, ${kind}`,
      peer: "our whole key",
      ours: () => sign(wallets.bringing(share), split.wallet),
      theirs: () => sign(wallets, whole),
    });
  }
  return rows;
}

async function sign(wallets: Wallets, { walletId, accounts: [account] }: Wallet): Promise<Uint8Array> {
  using wallet = await wallets.open(OWNER, walletId);
  // As policies give it: what they cost is the same on both sides, and is measured elsewhere.
  const authorised = {
    ...{ walletId, publicKeys: [account.publicKey] },
    facts: { kind: "evm-message", from: account.address, message: DIGEST },
  } as unknown as Authorised;
  return wallet.sign(authorised, account, (signer) => secp256k1(signer).signDigest(DIGEST).rs);
}

async function boot(): Promise<{ readonly wallets: Wallets; readonly custody: Custody }> {
  const parent = new MemoryParent();
  const parts = await bootParts(parent, () => 0);
  await putUser(parent, parts, OWNER);
  return { wallets: new Wallets(parts), custody: new Custody(parts) };
}
