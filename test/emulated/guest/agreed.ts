/** What the probe in the guest and the test on the host both know. */

/** Sends back what it gets. */
export const ECHO_PORT = 7001;
/** Ended by the host when the guest may end. */
export const GO_PORT = 7002;
export const ECHO_HOST = "echo.cloister.test";
export const EGRESS_BYTES = 1024 * 1024;
export const ROOTS_FILE = "/etc/cloister/probe-roots.pem";

const KIB = 1024;
/** Around the kernel's fault above 32 KiB (nitro.md 5.9), and the sizes of larger frames. */
export const SIZES: readonly number[] = [
  ...[31, 31.5, 32, 32.5, 33].map((kib) => kib * KIB),
  ...[-1, 1].map((off) => 32 * KIB + off),
  ...[64 * KIB - 1, 64 * KIB, 64 * KIB + 1, 256 * KIB - 1, 256 * KIB, 256 * KIB + 1],
];
