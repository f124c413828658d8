/** `cloister recover`: a split wallet's secret from the user's own two shares, without the operator. */
import {
  CustodyError,
  openRecoveryFile,
  parseRecoveryFile,
  type RecoveryOpener,
  rebuildSecret,
} from "../client/index.ts";
import { KeyFileError, openDeviceShare, shareKeyFromJwk } from "../client-node/index.ts";
import { describeSecret } from "../enclave/index.ts";
import { ProtocolError } from "../protocol/index.ts";
import { type CommandIo, printable, processIo, UsageError } from "./command-io.ts";
import { parseOptionsAlone } from "./command-options.ts";
import { PASSPHRASE_HELP, PASSPHRASE_OPTIONS, readPassphrase } from "./passphrase.ts";

const HELP = `Usage: cloister recover --device FILE --recovery FILE

Puts the secret of a split wallet together from its device share and its recovery share, with no enclave and no operator.
Prints the wallet's words, or its key in hex, on standard output, and its addresses on standard error. From then on the
wallet is split no longer: whoever sees the output has it. Run it on a machine that you trust, off the network.

  --device FILE           the device's share, as the client library for Node keeps it
  --recovery FILE         the recovery file
  --recovery-key FILE     the X25519 key that it is sealed to, as JWK; a passphrase is asked for otherwise
  --device-passphrase-file FILE, --device-passphrase-env NAME
                          of an encrypted device share; it is asked for otherwise
${PASSPHRASE_HELP}
  --help                  show this

Exit status: 0 done, 1 the shares do not give a secret, 2 wrong usage.
`;

const OPTIONS = {
  ...PASSPHRASE_OPTIONS,
  device: { type: "string" },
  recovery: { type: "string" },
  "recovery-key": { type: "string" },
  "device-passphrase-file": { type: "string" },
  "device-passphrase-env": { type: "string" },
  help: { type: "boolean", default: false },
} as const;

type Values = ReturnType<typeof parseOptionsAlone<typeof OPTIONS>>;

export async function run(args: readonly string[], io: CommandIo = processIo): Promise<number> {
  try {
    const options = parseOptionsAlone(args, OPTIONS);
    if (options.help) {
      io.out(HELP);
      return 0;
    }
    await recover(options, io);
    return 0;
  } catch (error) {
    if (error instanceof ProtocolError || error instanceof CustodyError || error instanceof KeyFileError) {
      io.err(`cloister recover: ${error.code}: ${error.message}\n`);
      return 1;
    }
    if (!(error instanceof UsageError)) throw error;
    io.err(`cloister recover: ${error.message}; "cloister recover --help" tells more\n`);
    return 2;
  }
}

async function recover(options: Values, io: CommandIo): Promise<void> {
  const { device, recovery } = options;
  if (device === undefined || recovery === undefined) throw new UsageError("--device and --recovery are needed");
  const file = await readJson(recovery, io);
  const { walletId } = parseRecoveryFile(file);
  const deviceShare = await openDeviceShare(device, () =>
    readPassphrase(
      device,
      {
        "passphrase-file": options["device-passphrase-file"],
        "passphrase-env": options["device-passphrase-env"],
      },
      io,
      "open",
    ),
  );
  const recoveryShare = await openRecoveryFile(file, await openerOf(recovery, file, options, io));
  const { kind, bytes } = await rebuildSecret(deviceShare, recoveryShare);
  try {
    const { text, accounts } = await describeSecret(kind, bytes);
    io.err(`${printable(walletId)}\n`);
    for (const { format, path, address } of accounts) io.err(`  ${format}  ${path ?? "single key"}  ${address}\n`);
    io.out(`${text}\n`);
  } finally {
    bytes.fill(0);
  }
}

async function openerOf(label: string, file: unknown, options: Values, io: CommandIo): Promise<RecoveryOpener> {
  const keyFile = options["recovery-key"];
  if (keyFile !== undefined) return { kind: "key", pair: await readKey(keyFile, io) };
  if (parseRecoveryFile(file).recipient.kind === "public-key") {
    throw new UsageError("this recovery file is sealed to a key: give --recovery-key");
  }
  return { kind: "passphrase", passphrase: await readPassphrase(label, options, io, "open") };
}

async function readKey(file: string, io: CommandIo): Promise<CryptoKeyPair> {
  const json = await readJson(file, io);
  try {
    return await shareKeyFromJwk(json);
  } catch (cause) {
    throw new UsageError(`${file} is no X25519 key as JWK`, { cause });
  }
}

async function readJson(file: string, io: CommandIo): Promise<unknown> {
  try {
    return JSON.parse(Buffer.from(await io.read(file)).toString("utf8"));
  } catch (cause) {
    throw new UsageError(`${file} cannot be read, or is no JSON`, { cause });
  }
}
