/** The package's types describe its main entry; the native binding has the same functions. */
declare module "secp256k1/bindings.js" {
  import type * as secp256k1 from "secp256k1";

  const binding: typeof secp256k1;
  export default binding;
}
