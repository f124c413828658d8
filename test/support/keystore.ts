import { Wallet } from "@ethereumjs/wallet";

/** Opens a keystore as EthereumJS does. @throws Error for a wrong password */
export async function decryptKeystore(json: string, password: string): Promise<Uint8Array> {
  // The library takes the password as it comes; ethers takes it in this form.
  return (await Wallet.fromV3(json, password.normalize("NFKC"))).getPrivateKey();
}
