/** The operator may be gone: two shares of the user's own give the secret without anybody. */
import { decodeBase64url, decodeShare, openShares, type SecretKind } from "../protocol/index.ts";

export interface RebuiltSecret {
  readonly walletId: string;
  readonly kind: SecretKind;
  /** Of `hd` the entropy and then the 64 bytes of BIP-39's seed; else the key. The caller wipes it. */
  readonly bytes: Uint8Array;
}

/**
 * Puts a wallet's secret together from its device share and its recovery share. Whoever runs this has the key: the wallet
 * is split no longer.
 *
 * @param one - Base64url, as {@link Custody.shareOf} and {@link openRecoveryFile} give them.
 * @throws ProtocolError `MALFORMED_SHARE`, `MALFORMED_BASE64URL`, `SHARES_OF_TWO_WALLETS`, `SHARES_OF_TWO_SETS`,
 *   `SHARE_TWICE`, `SHARES_DO_NOT_FIT`
 */
export async function rebuildSecret(one: string, other: string): Promise<RebuiltSecret> {
  const shares = [decodeShare(decodeBase64url(one)), decodeShare(decodeBase64url(other))] as const;
  try {
    const [first, second] = shares;
    const bytes = await openShares(first, second, (length) => crypto.getRandomValues(new Uint8Array(length)));
    return { walletId: first.walletId, kind: first.secret, bytes };
  } finally {
    for (const { point } of shares) point.fill(0);
  }
}
