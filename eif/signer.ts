/** Who signs an image: a key in a file, in KMS, or anywhere else. */
export type EifSignatureAlgorithm = "ES256" | "ES384" | "ES512";

export interface EifSigner {
  readonly algorithm: EifSignatureAlgorithm;
  /** PEM text, which goes into the image as it is; the first certificate in it is the one that PCR8 measures. */
  readonly certificatePem: string;
  /**
   * ECDSA over the algorithm's own digest of these bytes.
   *
   * @returns r ‖ s, each as long as the curve's order.
   */
  sign(toBeSigned: Uint8Array): Promise<Uint8Array>;
}
