/** One boot of the image, signed and with the simulated deployment's configuration, and all that can be asked of it. */
import { createHash, randomBytes } from "node:crypto";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { parseTransaction, recoverTransactionAddress, type TransactionSerializedEIP1559 } from "viem";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { decodeUnverified } from "../../attestation/index.ts";
import type { Client } from "../../client/index.ts";
import { type ByteSource, readEif } from "../../eif/index.ts";
import {
  type EnclaveAnswer,
  type EnclaveCall,
  enclaveAnswer,
  encodeHex,
  MAX_BODY_BYTES,
  RECORDS_PORT,
  REQUEST_PORT,
  type Wallet,
} from "../../protocol/index.ts";
import { demonstrate } from "../../scripts/demo.ts";
import { type Emulation, startEmulation } from "../../simulator/index.ts";
import { CallClient, hostVsock, type Vsock } from "../../vsock/index.ts";
import { createApp, type LoggedIn, logIn } from "../support/app.ts";
import { post, requestBody, stampOf } from "../support/raw-request.ts";
import { transactionWithData, usdcTransfer } from "../support/transactions.ts";
import { cannotEmulate, EIF, eventually, HALF_A_FRAME, imageSigner } from "./fixture.ts";

const KIB = 1024;
const CALL = { timeoutMs: 60_000 } as const;

describe.skipIf(cannotEmulate !== null)("the image, booted", () => {
  let folder: string;
  let emulation: Emulation;
  let client: Client;
  let appId: string;
  let user: LoggedIn;
  let wallet: Wallet;
  /** The host's side of the very sockets that the parent uses. */
  let direct: Vsock;
  let whileKmsWasAway: unknown;

  async function readiness(): Promise<{ readonly enclave: string; readonly reason: { readonly code: string } | null }> {
    return (await (await fetch(`${emulation.url}/readyz`)).json()) as Awaited<ReturnType<typeof readiness>>;
  }

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "cloister-test-"));
    let isKmsAway = true;
    emulation = await startEmulation({
      eif: EIF,
      signer: imageSigner(),
      stateFolder: folder,
      waitForReady: false,
      kmsFaults: { fail: () => (isKmsAway ? "CONNECTION_RESET" : undefined) },
    });
    whileKmsWasAway = await eventually(readiness, ({ reason }) => reason?.code === "KMS_UNAVAILABLE", 120_000);
    isKmsAway = false;
    expect(await emulation.enclaveOutcome()).toEqual({ event: "ready" });
    direct = hostVsock(emulation.vsockPath);
    client = await emulation.connect();
    appId = await createApp(emulation, client);
    user = await logIn(emulation, client, appId, "alice");
    wallet = await user.session.createWallet({ kind: "hd" });
  });
  afterAll(async () => {
    await direct?.close();
    await emulation?.stop();
    await rm(folder, { recursive: true, force: true });
  });

  function openCalls(): CallClient<EnclaveCall, EnclaveAnswer> {
    return new CallClient({ open: () => direct.connect(REQUEST_PORT, CALL), answer: enclaveAnswer });
  }

  async function overVsock(body: Uint8Array<ArrayBuffer>, stamps: readonly string[]): Promise<EnclaveAnswer> {
    const calls = openCalls();
    try {
      return await calls.call({ kind: "operation", body, stamps: [...stamps] }, CALL);
    } finally {
      calls.close();
    }
  }

  async function stamped(fields: Parameters<typeof requestBody>[1]): Promise<[Uint8Array<ArrayBuffer>, string[]]> {
    const body = requestBody(emulation, { appId, ...fields });
    return [body, [await stampOf(user.key, body)]];
  }

  function signing(unsignedTransaction: string): Parameters<typeof requestBody>[1] {
    return { operation: "sign_transaction", params: { walletId: wallet.walletId, chainId: "1", unsignedTransaction } };
  }

  test("is the built image's kernel, command line and ramdisks to the byte, and one ramdisk more", async () => {
    const [built, booted] = [await readEif(EIF), await readEif(emulation.image.path)];
    const digests = async (eif: typeof built, type: string): Promise<string[]> => {
      const sections = eif.sections.filter((section) => section.type === type);
      return Promise.all(sections.map((section) => digestOf(eif.source(section))));
    };
    expect(await digests(booted, "kernel")).toEqual(await digests(built, "kernel"));
    expect(booted.cmdline).toBe(built.cmdline);
    const [before, after] = [await digests(built, "ramdisk"), await digests(booted, "ramdisk")];
    expect(after.slice(0, before.length)).toEqual(before);
    expect(after).toHaveLength(before.length + 1);
  });

  test("attests the PCRs 0, 1, 2 and 8 that were computed from the file, under KMS's policy for that PCR0", async () => {
    const nonce = randomBytes(32);
    const response = await fetch(`${emulation.url}/v1/attestation?nonce=${nonce.toString("hex")}`);
    const { pcrs } = decodeUnverified(new Uint8Array(await response.arrayBuffer()));
    const { PCR0, PCR1, PCR2, PCR8 } = emulation.image.measurements;
    expect(PCR8).toMatch(/^[0-9a-f]{96}$/);
    const attested = [0, 1, 2, 8].map((index) => encodeHex(pcrs.get(index) ?? new Uint8Array(0)));
    expect(attested).toEqual([PCR0, PCR1, PCR2, PCR8]);
    // The document is genuine: this verifies it, as every client does.
    await emulation.connect();
  });

  test("has the kernel, command line and init that dist/measurements.json promises in PCR1", async () => {
    const response = await fetch(`${emulation.url}/v1/attestation?nonce=${randomBytes(32).toString("hex")}`);
    const { pcrs } = decodeUnverified(new Uint8Array(await response.arrayBuffer()));
    const { Measurements } = JSON.parse(await readFile(join(dirname(EIF), "measurements.json"), "utf8"));
    expect(encodeHex(pcrs.get(1) ?? new Uint8Array(0))).toBe(Measurements.PCR1);
  });

  test("waits for a KMS that is away when it boots, says so, and becomes ready when it is back", () => {
    expect(whileKmsWasAway).toMatchObject({ enclave: "attested", reason: { code: "KMS_UNAVAILABLE" } });
  });

  test("does all of make demo: login, wallet, EIP-1559 signature, sender recovered by viem", async () => {
    const details: string[] = [];
    const address = await demonstrate(emulation, {
      step: (_what, work) => work(),
      detail: (name, value) => details.push(`${name}: ${value}`),
    });
    expect(details).toContain(`sender: ${address}  = the wallet's address`);
  });

  test("gives the same answers over vsock and over HTTP, to what it signs and to what it refuses", async () => {
    const overHttp = await post(emulation, ...(await stamped(signing(usdcTransfer()))));
    expect(overHttp.status).toBe(200);
    const answer = await overVsock(...(await stamped(signing(usdcTransfer()))));
    expect(answer.status).toBe(200);
    expect(JSON.parse(Buffer.from(answer.body).toString())).toMatchObject({ result: overHttp.result });

    const elsewhere = {
      operation: "sign_transaction",
      params: { walletId: wallet.walletId, chainId: "5", unsignedTransaction: usdcTransfer({ chainId: 5 }) },
    } as const;
    const refused = await post(emulation, ...(await stamped(elsewhere)));
    const refusal = await overVsock(...(await stamped(elsewhere)));
    expect(refused).toMatchObject({ status: refusal.status, code: "POLICY_DENIED" });
    expect(JSON.parse(Buffer.from(refusal.body).toString())).toMatchObject({ error: { code: refused.code } });
  });

  test("answers 64 vsock connections at once, and 64 HTTP connections at once, each for itself", async () => {
    const overVsockAll = await Promise.all(
      Array.from({ length: 64 }, async (_, nonce) => overVsock(...(await stamped(signing(usdcTransfer({ nonce })))))),
    );
    const signed = overVsockAll.map(({ body }) => JSON.parse(Buffer.from(body).toString()).result.signedTransaction);
    const overHttpAll = await Promise.all(
      Array.from({ length: 64 }, async (_, nonce) =>
        post(emulation, ...(await stamped(signing(usdcTransfer({ nonce }))))),
      ),
    );
    expect(overHttpAll.map(({ result }) => (result as { signedTransaction: string }).signedTransaction)).toEqual(
      signed,
    );
    expect(new Set(signed).size).toBe(64);
  });

  const sizes = [31, 31.5, 32, 33, 64, 128, 256].flatMap((kib) =>
    kib === 32 ? [kib * KIB - 2, kib * KIB, kib * KIB + 2] : [kib * KIB],
  );
  test.each(sizes)("a request of %i bytes and its answer of as many arrive intact", async (size) => {
    const { session } = user;
    const data = randomBytes(dataBytesFor(size));
    const unsignedTransaction = transactionWithData(data);
    const [body] = await stamped(signing(unsignedTransaction));
    expect(size - body.length).toBeGreaterThanOrEqual(0);
    expect(size - body.length).toBeLessThan(4);
    const { signedTransaction } = await session.signTransaction({
      walletId: wallet.walletId,
      chainId: "1",
      unsignedTransaction,
    });
    const signed = signedTransaction as TransactionSerializedEIP1559;
    expect(parseTransaction(signed).data).toBe(`0x${data.toString("hex")}`);
    expect(await recoverTransactionAddress({ serializedTransaction: signed })).toBe(wallet.accounts[0].address);
  });

  /** Data of a transaction whose request has this size, or up to three bytes less: hex makes two of each. */
  function dataBytesFor(size: number): number {
    const without = (bytes: number): number =>
      requestBody(emulation, { appId, ...signing(transactionWithData(new Uint8Array(bytes).fill(1))) }).length;
    let bytes = Math.floor((size - without(0)) / 2);
    while (without(bytes) > size) bytes -= 1;
    return bytes;
  }

  test("a request of one byte more than the limit is refused before it reaches the enclave", async () => {
    const response = await fetch(`${emulation.url}/v1/sign_transaction`, {
      method: "POST",
      body: new Uint8Array(MAX_BODY_BYTES + 1).fill(0x20),
    });
    expect(response.status).toBe(413);
  });

  test("a connection that is cut in the middle of a frame costs itself alone", async () => {
    const cut = await Promise.all(Array.from({ length: 16 }, () => direct.connect(REQUEST_PORT, CALL)));
    for (const stream of cut) stream.write(HALF_A_FRAME);
    for (const stream of cut) stream.destroy();
    expect((await user.session.listWallets()).wallets).toEqual([wallet]);
  });

  test("without its parent, and with one that cuts its answers, it says so; with the parent back it goes on", async () => {
    await emulation.killParent();
    let calls = 0;
    await direct.listen(RECORDS_PORT, (stream) => {
      calls += 1;
      stream.once("data", () => {
        stream.write(HALF_A_FRAME);
        stream.destroy();
      });
    });
    const refused = await overVsock(...(await stamped({ operation: "list_wallets", params: { after: null } })));
    expect(JSON.parse(Buffer.from(refused.body).toString())).toMatchObject({ error: { code: "RECORDS_UNAVAILABLE" } });
    expect(calls).toBeGreaterThan(0);
    await direct.close();
    await emulation.startParent();
    direct = hostVsock(emulation.vsockPath);
    await expect.poll(readiness, { timeout: 30_000 }).toMatchObject({ enclave: "ready" });
    expect((await user.session.listWallets()).wallets).toEqual([wallet]);
  });

  test("stopped and booted again, the same wallet signs again", async () => {
    await emulation.killEnclave();
    await emulation.startEnclave();
    const again = await logIn(emulation, await emulation.connect(), appId, "alice");
    expect((await again.session.listWallets()).wallets).toEqual([wallet]);
    const { signedTransaction } = await again.session.signTransaction({
      walletId: wallet.walletId,
      chainId: "1",
      unsignedTransaction: usdcTransfer(),
    });
    const signed = signedTransaction as TransactionSerializedEIP1559;
    expect(await recoverTransactionAddress({ serializedTransaction: signed })).toBe(wallet.accounts[0].address);
  });
});

async function digestOf(source: ByteSource): Promise<string> {
  const hash = createHash("sha384");
  for await (const chunk of source.chunks()) hash.update(chunk);
  return hash.digest("hex");
}
