/** An ECDSA signature as Bitcoin's scripts want it (BIP-66): strict DER. @param rs - r ‖ s, 64 bytes. */
export function derOf(rs: Uint8Array): Uint8Array {
  const body = Buffer.concat([integer(rs.subarray(0, 32)), integer(rs.subarray(32))]);
  return Buffer.concat([Uint8Array.of(0x30, body.length), body]);
}

function integer(bytes: Uint8Array): Uint8Array {
  const first = bytes.findIndex((byte) => byte !== 0);
  const stripped = bytes.subarray(first < 0 ? bytes.length - 1 : first);
  const sign = (stripped[0] ?? 0) >= 0x80 ? Uint8Array.of(0) : new Uint8Array(0);
  return Buffer.concat([Uint8Array.of(0x02, sign.length + stripped.length), sign, stripped]);
}
