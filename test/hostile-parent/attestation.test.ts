/** A client does not talk to an enclave that it cannot verify, whatever the parent shows it. */
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { AWS_NITRO_ROOT_G1, createPcrSet } from "../../attestation/index.ts";
import { connect, type ExpectedEnclave } from "../../client/index.ts";
import { encodeAttestedUserData, REQUEST_PORT } from "../../protocol/index.ts";
import { type HostileParent, type Simulator, startSimulator } from "../../simulator/index.ts";
import { createNsmPki, createSimulatedNsm } from "../../simulator/nsm/index.ts";
import { startHostileSimulator } from "../support/hostile-world.ts";

let simulator: Simulator;
let hostile: HostileParent;

beforeAll(async () => {
  ({ simulator, hostile } = await startHostileSimulator());
});
afterAll(() => simulator.stop());
afterEach(() => {
  delete hostile.hooks.message;
});

function connectExpecting(changes: Partial<ExpectedEnclave>, nowMs = () => simulator.nowMs()) {
  const { url, deployment, expected } = simulator;
  return connect({ url, deployment, expected: { ...expected, ...changes }, nowMs });
}

/** Puts these bytes in the place of the enclave's next document. */
function showInstead(document: (genuine: Uint8Array) => Uint8Array): void {
  hostile.hooks.message = (port, direction, message) =>
    port === REQUEST_PORT && direction === "to-parent" && "body" in message
      ? { ...message, body: document(message.body) }
      : message;
}

test("the genuine document is accepted", async () => {
  await expect(connectExpecting({})).resolves.toBeDefined();
});

test("a document with another caller's nonce is refused", async () => {
  let recorded: Uint8Array | undefined;
  showInstead((genuine) => {
    recorded ??= genuine;
    return recorded;
  });
  await connectExpecting({});
  await expect(connectExpecting({})).rejects.toMatchObject({ code: "NONCE_MISMATCH" });
});

test("another image is refused", async () => {
  const pcrs = [createPcrSet([[0, new Uint8Array(48).fill(7)]])];
  await expect(connectExpecting({ pcrs })).rejects.toMatchObject({ code: "PCR_MISMATCH" });
});

test("an image that an all-zero PCR0 would pin cannot even be expected", () => {
  expect(() => createPcrSet([[0, new Uint8Array(48)]])).toThrow(
    expect.objectContaining({ code: "INVALID_EXPECTATION" }),
  );
});

test("an enclave in debug mode is refused, although its root is trusted", async () => {
  const nowMs = () => simulator.nowMs();
  const pki = createNsmPki({ nowMs });
  const nsm = createSimulatedNsm({ pki, pcrs: new Map(), moduleId: "i-0123456789abcdef0-enc0123456789abcdef", nowMs });
  const document = await attest(nsm, new Uint8Array(32));
  showInstead(() => document);
  await expect(connectExpecting({ roots: [pki.root] })).rejects.toMatchObject({ code: "NONCE_MISMATCH" });
  // With the very nonce that the client chose it is the debug mode that is refused.
  hostile.hooks.message = async (port, direction, message) => {
    if (port !== REQUEST_PORT || direction !== "to-enclave" || !("nonce" in message)) return message;
    const debug = await attest(nsm, message.nonce);
    showInstead(() => debug);
    return message;
  };
  await expect(connectExpecting({ roots: [pki.root] })).rejects.toMatchObject({ code: "DEBUG_MODE" });
});

test("a foreign root is refused", async () => {
  await expect(connectExpecting({ roots: [AWS_NITRO_ROOT_G1] })).rejects.toMatchObject({ code: "ROOT_NOT_TRUSTED" });
});

test("an expired chain is refused", async () => {
  const fourHours = 4 * 60 * 60_000;
  await expect(connectExpecting({}, () => simulator.nowMs() + fourHours)).rejects.toMatchObject({
    code: "CERTIFICATE_EXPIRED",
  });
});

test("another manifest is refused", async () => {
  await expect(connectExpecting({ manifestDigest: new Uint8Array(32) })).rejects.toMatchObject({
    code: "MANIFEST_MISMATCH",
  });
});

test("a vault that the parent had made anew is not the expected one", async () => {
  const { vaultId } = await connectExpecting({});
  if (vaultId === null) throw new Error("not ready");
  await expect(connectExpecting({ vaultId })).resolves.toBeDefined();
  await expect(connectExpecting({ vaultId: new Uint8Array(16) })).rejects.toMatchObject({ code: "VAULT_MISMATCH" });

  await using elsewhere = await startSimulator();
  expect((await elsewhere.connect()).vaultId).not.toEqual(vaultId);
});

test("a document that the same image made for another purpose is refused", async () => {
  const nowMs = () => simulator.nowMs();
  const pki = createNsmPki({ nowMs });
  const pcr0 = new Uint8Array(48).fill(7);
  const nsm = createSimulatedNsm({
    pki,
    pcrs: new Map([[0, pcr0]]),
    moduleId: "i-0123456789abcdef0-enc0123456789abcdef",
    nowMs,
  });
  const userData = encodeAttestedUserData({
    v: 1,
    purpose: "cloister/kms-recipient/v1",
    manifest: new Uint8Array(32),
    vault: null,
  });
  for (const data of [userData, null]) {
    hostile.hooks.message = async (port, direction, message) => {
      if (port !== REQUEST_PORT || direction !== "to-enclave" || !("nonce" in message)) return message;
      const document = await attest(nsm, message.nonce, data, new Uint8Array(64));
      showInstead(() => document);
      return message;
    };
    const expected = { roots: [pki.root], pcrs: [createPcrSet([[0, pcr0]])] };
    await expect(connectExpecting(expected)).rejects.toMatchObject({ code: "ATTESTATION_NOT_FOR_CALLERS" });
  }
});

test("no document at all is said to be none", async () => {
  hostile.hooks.message = (port, direction, message) =>
    port === REQUEST_PORT && direction === "to-parent" && "status" in message ? { ...message, status: 503 } : message;
  await expect(connectExpecting({})).rejects.toMatchObject({ code: "ATTESTATION_UNAVAILABLE" });
  const elsewhere = connect({ url: "http://127.0.0.1:9", deployment: "simulator", expected: simulator.expected });
  await expect(elsewhere).rejects.toMatchObject({ code: "UNREACHABLE" });
});

test("a nonce that is too short to keep recordings out is refused by the enclave", async () => {
  hostile.hooks.message = (port, direction, message) =>
    port === REQUEST_PORT && direction === "to-enclave" && "nonce" in message
      ? { ...message, nonce: new Uint8Array(15) }
      : message;
  const response = await fetch(`${simulator.url}/v1/attestation?nonce=${"00".repeat(16)}`);
  expect(response.status).toBe(400);
  expect(await response.json()).toMatchObject({ error: { code: "INVALID_PARAMS" } });
});

async function attest(
  nsm: ReturnType<typeof createSimulatedNsm>,
  nonce: Uint8Array,
  userData: Uint8Array | null = null,
  publicKey: Uint8Array | null = null,
): Promise<Uint8Array> {
  const { Nsm } = await import("../../enclave/nsm/nsm.ts");
  const { TrustedClock } = await import("../../enclave/trusted-clock.ts");
  const device = { process: (request: Uint8Array) => nsm.handle(request) };
  return new Nsm(device, new TrustedClock(() => performance.now())).attest({ userData, nonce, publicKey });
}
