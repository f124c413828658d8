/** KMS gives the vault to one image, and the enclave takes it from one KMS. */
import { afterEach, describe, expect, test } from "vitest";
import { EGRESS_PORT } from "../../protocol/index.ts";
import { keyPolicyFor, type Simulator, type SimulatorOptions, startSimulator } from "../../simulator/index.ts";

let simulator: Simulator | undefined;
afterEach(async () => {
  await simulator?.stop();
  simulator = undefined;
});

async function start(options: SimulatorOptions): Promise<Simulator> {
  simulator = await startSimulator({ ...options, waitForReady: false });
  return simulator;
}

async function failureOf(options: SimulatorOptions): Promise<unknown> {
  const { event, code } = await (await start(options)).enclaveOutcome();
  expect(event).toBe("failed");
  return code;
}

async function readiness({ url }: Simulator): Promise<{ status: number; body: unknown }> {
  const response = await fetch(`${url}/readyz`);
  return { status: response.status, body: await response.json() };
}

test("a key policy for another image leaves this one without the vault, and it says so", async () => {
  const other = new Uint8Array(48).fill(1);
  expect(await failureOf({ keyPolicy: (_pcr0, role) => keyPolicyFor(other, role) })).toBe("KMS_ACCESS_DENIED");
  if (simulator === undefined) throw new Error("not started");
  expect(await readiness(simulator)).toMatchObject({
    status: 503,
    body: { enclave: "failed", reason: { code: "KMS_ACCESS_DENIED" } },
  });
  const client = await simulator.connect();
  await expect(
    client.createApp([simulator.administratorKey], {
      name: "x",
      issuers: [{ issuer: "x", audiences: ["x"], jwksUri: simulator.issuer.jwksUri, algorithms: ["RS256"] }],
      sessionLifetimeS: 900,
      signingPolicy: { evmChainIds: [], messages: "deny" },
    }),
  ).rejects.toMatchObject({ code: "NOT_READY", isFromEnclave: true });
});

describe("a reply of KMS that is refused", () => {
  test("for another key", async () => {
    const keyId = "arn:aws:kms:us-east-1:111122223333:key/00000000-0000-0000-0000-000000000000";
    const code = await failureOf({
      kmsFaults: { rewriteAnswer: (_operation, answer) => ({ ...answer, KeyId: keyId }) },
    });
    expect(code).toBe("KMS_REPLY_INVALID");
  });

  test("with Plaintext, although Recipient was sent", async () => {
    const plaintext = Buffer.alloc(32, 7).toString("base64");
    const code = await failureOf({
      kmsFaults: { rewriteAnswer: (_operation, answer) => ({ ...answer, Plaintext: plaintext }) },
    });
    expect(code).toBe("KMS_REPLY_INVALID");
  });

  test("without CiphertextForRecipient", async () => {
    const code = await failureOf({
      kmsFaults: {
        rewriteAnswer: (_operation, { CiphertextForRecipient: _left, ...answer }) => answer,
      },
    });
    expect(code).toBe("KMS_REPLY_INVALID");
  });

  test("with an envelope that does not open", async () => {
    const code = await failureOf({
      kmsFaults: {
        rewriteAnswer: (_operation, answer) => ({
          ...answer,
          CiphertextForRecipient: Buffer.from("3080", "hex").toString("base64"),
        }),
      },
    });
    expect(code).toBe("KMS_REPLY_INVALID");
  });

  test("with a ciphertext that KMS never made", async () => {
    const forged = Buffer.alloc(200, 1).toString("base64");
    const code = await failureOf({
      kmsFaults: {
        rewriteAnswer: (operation, answer) =>
          operation === "GenerateDataKey" ? { ...answer, CiphertextBlob: forged } : answer,
      },
    });
    // The new vault is opened before it is used: KMS does not know the data key that wraps it.
    expect(code).toBe("KMS_REFUSED");
  });
});

test("a parent that leads KMS's traffic elsewhere gets no request: the certificate has another name", async () => {
  const running = await start({
    hostileParent: {
      message: (port, direction, message) =>
        port === EGRESS_PORT && direction === "to-parent" && "host" in message
          ? { ...message, host: "login.cloister.test" }
          : message,
    },
  });
  await expect
    .poll(async () => (await readiness(running)).body, { timeout: 10_000 })
    .toMatchObject({ enclave: "attested", reason: { code: "EGRESS_REFUSED" } });
});

test("what the parent sees of KMS's traffic is TLS: changed by a bit it is cut off, and the enclave tries again", async () => {
  let flips = 0;
  const running = await start({
    hostileParent: {
      bytes: (direction, bytes) => {
        if (direction !== "to-enclave" || flips >= 2 || bytes.length < 200) return bytes;
        flips += 1;
        const changed = Uint8Array.from(bytes);
        const at = changed.length - 20;
        changed[at] = (changed[at] ?? 0) ^ 1;
        return changed;
      },
    },
  });
  expect(await running.enclaveOutcome()).toMatchObject({ event: "ready" });
  expect(flips).toBe(2);
});

test("an answer of KMS that the parent swallows is given up at its deadline, and asked for again", {
  timeout: 60_000,
}, async () => {
  let passed = 0;
  let swallowed = 0;
  const running = await start({
    hostileParent: {
      bytes: (direction, bytes) => {
        if (direction !== "to-enclave") return bytes;
        passed += bytes.length;
        // More than a handshake: what follows is the answer to a request.
        if (passed < 2_500 || swallowed > 0) return bytes;
        swallowed = bytes.length;
        return "drop";
      },
    },
  });
  expect(await running.enclaveOutcome()).toMatchObject({ event: "ready" });
  expect(swallowed).toBeGreaterThan(0);
});

test("while KMS is away the enclave waits and says for what; when it is back the enclave becomes ready", async () => {
  let isAway = true;
  const running = await start({ kmsFaults: { fail: () => (isAway ? "CONNECTION_RESET" : undefined) } });
  await expect
    .poll(async () => (await readiness(running)).body, { timeout: 10_000 })
    .toMatchObject({ enclave: "attested", reason: { code: "KMS_UNAVAILABLE" } });
  isAway = false;
  expect(await running.enclaveOutcome()).toMatchObject({ event: "ready" });
});

test("a start that fails is an error with the enclave's reason, and leaves nothing running", async () => {
  const other = new Uint8Array(48).fill(1);
  await expect(startSimulator({ keyPolicy: (_pcr0, role) => keyPolicyFor(other, role) })).rejects.toMatchObject({
    code: "ENCLAVE_FAILED",
    message: expect.stringContaining("KMS_ACCESS_DENIED"),
  });
});
