import {
  decodeHex,
  encodeBase64url,
  encodeHex,
  ProtocolError,
  RequestError,
  sealExport,
} from "../../protocol/index.ts";
import { ownerOf } from "../auth/owner.ts";
import type { AppHandler } from "./handler.ts";

export const createWallet: AppHandler<"create_wallet"> = async ({ actor, envelope }, params, { wallets }) => {
  return await wallets.create(ownerOf(actor), envelope.requestId, params);
};

export const createAccounts: AppHandler<"create_accounts"> = async ({ actor }, params, { wallets }) => {
  return { accounts: [...(await wallets.addAccounts(ownerOf(actor), params.walletId, params.accounts))] };
};

export const listWallets: AppHandler<"list_wallets"> = async ({ actor }, { after }, services) => {
  const { wallets, more } = await services.wallets.list(ownerOf(actor), after);
  return { wallets: [...wallets], more };
};

/** The event is written before the secret leaves: an export that nobody can read of has not been answered. */
export const exportWallet: AppHandler<"export_wallet"> = async ({ actor, envelope }, params, services) => {
  const { wallets, policies, keystores } = services;
  const { walletId, form, password } = params;
  const asker = ownerOf(actor);
  const recipient = decodeHex(params.recipientPublicKey);
  using wallet = await wallets.open(asker, walletId);
  const account = form === "mnemonic" ? null : wallet.anyAccount(params.account, form === "keystore-v3");
  const authorised = await policies.authorise({
    ...{ actor, envelope, operation: "export_wallet", walletId, accounts: account === null ? [] : [account] },
    facts: { kind: "wallet-export", form, from: account?.address ?? null, recipient },
  });
  const plain = wallet.exportSecret(authorised, account);
  try {
    const secret =
      password === undefined || account === null
        ? plain
        : await keystores.make(actor.appId, plain, account.address, password);
    const context = { audience: envelope.audience, userId: asker.userId, walletId, requestId: envelope.requestId };
    const exported = { form, address: account?.address ?? null, secret };
    const { enc, ciphertext } = await sealTo(recipient, context, exported);
    const details = { form, address: account?.address ?? "", recipient: params.recipientPublicKey };
    await wallets.noteExport(asker, walletId, wallet.isWhole(form), details);
    return { enc: `0x${encodeHex(enc)}`, ciphertext: `0x${encodeHex(ciphertext)}` };
  } finally {
    plain.fill(0);
  }
};

export const beginImport: AppHandler<"begin_import"> = async ({ actor, envelope }, { nonce, ...asked }, services) => {
  const begun = await services.imports.begin(ownerOf(actor), envelope.audience, asked, decodeHex(nonce));
  const { importId, deadlineMs, document } = begun;
  return { importId, deadlineMs, attestation: encodeBase64url(document) };
};

export const importWallet: AppHandler<"import_wallet"> = async ({ actor, envelope }, params, { imports }) => {
  const { importId, enc, ciphertext } = params;
  const bundle = { enc: decodeHex(enc.slice(2)), ciphertext: decodeHex(ciphertext.slice(2)) };
  return await imports.complete(ownerOf(actor), envelope.audience, importId, bundle);
};

export const deleteWallet: AppHandler<"delete_wallet"> = async ({ actor }, params, { wallets, userPolicies }) => {
  const { walletId, withoutExport } = params;
  const asker = ownerOf(actor);
  await wallets.delete(asker, walletId, withoutExport === true, (user) => userPolicies.close(asker, user, walletId));
  return {};
};

async function sealTo(...sealed: Parameters<typeof sealExport>): ReturnType<typeof sealExport> {
  try {
    return await sealExport(...sealed);
  } catch (cause) {
    if (!(cause instanceof ProtocolError)) throw cause;
    throw new RequestError("EXPORT_RECIPIENT_INVALID", "recipientPublicKey: no key to seal to", { cause });
  }
}
