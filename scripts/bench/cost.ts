/** What very many wallets would take: arithmetic over inputs and measured figures, every step of it shown. */
import { readFileSync, writeFileSync } from "node:fs";
import { z } from "../../protocol/index.ts";
import { type Figures, figureOf, type Section } from "./figures.ts";
import { between, tableOf } from "./page.ts";

const INPUTS_FILE = "docs/cost-inputs.json";
const COST_FILE = "docs/cost.md";

const positive = z.number().check(z.positive());
const inputsSchema = z.strictObject({
  ...{ wallets: positive, walletsPerUser: positive, sessionsPerUser: z.number().check(z.nonnegative()) },
  signaturesASecond: z.array(positive).check(z.minLength(1)),
  /** Null: as docs/performance.json has it, over HTTP with 32 in flight. */
  signaturesASecondOfOneEnclave: z.nullable(positive),
  shareOfCapacityUsed: positive.check(z.maximum(1)),
  ...{ tableBytesPerRecord: positive, indexBytesPerRecord: positive },
  /** Null: as docs/performance.json has them, over PostgreSQL. */
  ...{ recordsSealedAnewASecond: z.nullable(positive), recordsLookedOverASecond: z.nullable(positive) },
  ...{ databaseRowReadsASecond: positive, databaseReadsPerColdSignature: positive },
  ...{ enclaveHostUsdAnHour: positive, databaseUsdAnHour: positive, storageUsdAGbMonth: positive },
  ...{ backupUsdAGbMonth: positive, kmsUsdPer10000Requests: positive, kmsKeyUsdAMonth: positive },
  ...{ enclaveBootsADay: positive, rotationsAYear: positive },
});

export type Inputs = z.infer<typeof inputsSchema>;

/** What each input is, in the order of the page. */
const MEANINGS: Readonly<Record<keyof Inputs, string>> = {
  wallets: "wallets",
  walletsPerUser: "wallets of each user",
  sessionsPerUser: "sessions of each user that have not ended",
  signaturesASecond: "signatures a second to plan for",
  signaturesASecondOfOneEnclave: "signatures a second of one enclave; null: performance.md, over HTTP, 32 in flight",
  shareOfCapacityUsed: "how much of that an enclave is planned for",
  tableBytesPerRecord: "bytes in the table for a record of 400 bytes: scale-out.md at 10⁶",
  indexBytesPerRecord: "the same in the index",
  recordsSealedAnewASecond: "records that one enclave seals anew a second; null: performance.md, over PostgreSQL",
  recordsLookedOverASecond: "records that it looks over and finds sealed anew; null: the same",
  databaseRowReadsASecond: "single reads a second of one PostgreSQL; ours of a shared core, not of the priced machine",
  databaseReadsPerColdSignature: "reads of a signature whose wallet and user are not at hand: one each",
  enclaveHostUsdAnHour: "EC2 on demand, 4 vCPUs, of which 2 are the enclave's, USD an hour: check it, prices change",
  databaseUsdAnHour: "PostgreSQL with a synchronous standby, 4 vCPUs, 32 GiB, both machines, USD an hour: check it",
  storageUsdAGbMonth: "its storage, on both, USD a GB and month: check it",
  backupUsdAGbMonth: "its backups, USD a GB and month, once the size of the database: check it",
  kmsUsdPer10000Requests: "KMS, USD for 10,000 requests: check it",
  kmsKeyUsdAMonth: "a KMS key, USD a month: check it",
  enclaveBootsADay: "boots of each enclave a day",
  rotationsAYear: "rotations of the vault's secret a year",
};

const HOURS_A_MONTH = 730;
const DAYS_A_MONTH = HOURS_A_MONTH / 24;
const SECONDS_A_MONTH = HOURS_A_MONTH * 3600;
const GB = 1e9;
/** Records of a user: the user, and the link from the identity. */
const RECORDS_PER_USER = 2;
/** enclave/vault/records.ts: what it remembers of records, at most. */
const REMEMBERED = { records: 1_000_000, bytes: 360 };
/** openVault asks KMS for each generation that counts: two while it is rotated, one otherwise. */
const KMS_PER_BOOT = 2;
/** The enclave that rotates encrypts and opens again; every other opens. */
const KMS_PER_ROTATION = 2;

export function parseInputs(text: string): Inputs {
  const parsed = inputsSchema.safeParse(JSON.parse(text));
  if (!parsed.success) throw new Error(`inputs: ${z.prettifyError(parsed.error)}`);
  return parsed.data;
}

export function costText(inputs: Inputs, figures: Figures): string {
  return costSections(inputs, figures).map(tableOf).join("\n\n");
}

/** Whatever changes the figures changes this page. */
export function writeCost(figures: Figures): void {
  const text = costText(parseInputs(readFileSync(INPUTS_FILE, "utf8")), figures);
  writeFileSync(COST_FILE, between(readFileSync(COST_FILE, "utf8"), "make cost", text));
}

export function costSections(inputs: Inputs, figures: Figures): readonly Section[] {
  return [inputsTable(inputs, figures), sizeTable(inputs, figures), rateTable(inputs, figures)];
}

function perEnclave({ signaturesASecondOfOneEnclave }: Inputs, { standard }: Figures): number {
  return (
    signaturesASecondOfOneEnclave ??
    figureOf(standard?.sections ?? [], "http", "sign_transaction, 32 in flight", "a second")
  );
}

/** By the pass that seals records anew, and by the one after it, which finds none that is left. */
function passesASecond(
  inputs: Inputs,
  { growth }: Figures,
): { readonly sealedAnew: number; readonly lookedOver: number } {
  const figure = (column: string) => figureOf(growth?.sections ?? [], "rotation", "PostgreSQL", column);
  return {
    sealedAnew: inputs.recordsSealedAnewASecond ?? figure("sealed anew, a second"),
    lookedOver: inputs.recordsLookedOverASecond ?? figure("looked over, a second"),
  };
}

function inputsTable(inputs: Inputs, figures: Figures): Section {
  const columns = [
    { label: "value", digits: 0 },
    { label: "what it is", digits: 0 },
  ];
  const { sealedAnew, lookedOver } = passesASecond(inputs, figures);
  const measured: Partial<Record<keyof Inputs, number>> = {
    signaturesASecondOfOneEnclave: Math.round(perEnclave(inputs, figures)),
    recordsSealedAnewASecond: Math.round(sealedAnew),
    recordsLookedOverASecond: Math.round(lookedOver),
  };
  const rows = (Object.keys(MEANINGS) as (keyof Inputs)[]).map((name) => {
    const value = measured[name] ?? inputs[name];
    return { name: `\`${name}\``, cells: [Array.isArray(value) ? value.join(", ") : String(value), MEANINGS[name]] };
  });
  return { name: "inputs", title: "Inputs", method: "From docs/cost-inputs.json; none is a claim.", columns, rows };
}

function sizeTable(inputs: Inputs, figures: Figures): Section {
  const { wallets, walletsPerUser, sessionsPerUser } = inputs;
  const sizes = [1e6, 1e8, wallets].filter((size, at, all) => size <= wallets && all.indexOf(size) === at);
  const records = (size: number) => size + (size / walletsPerUser) * (RECORDS_PER_USER + sessionsPerUser);
  const table = (size: number) => (records(size) * inputs.tableBytesPerRecord) / GB;
  const index = (size: number) => (records(size) * inputs.indexBytesPerRecord) / GB;
  const { sealedAnew, lookedOver } = passesASecond(inputs, figures);
  const rotation = (size: number) => (records(size) / sealedAnew + records(size) / lookedOver) / 86_400;
  const storage = (size: number) =>
    (table(size) + index(size)) * (inputs.storageUsdAGbMonth + inputs.backupUsdAGbMonth);
  const row = (name: string, of: (size: number) => number, round = whole) => ({
    name,
    cells: sizes.map((size) => round(of(size))),
  });
  return {
    ...{ name: "size", title: "By wallets" },
    method: "A wallet is one record; a user two, and one for each session. Nothing of a wallet is in KMS.",
    columns: sizes.map((size) => ({ label: `${size.toLocaleString("en")} wallets`, digits: 0 })),
    rows: [
      row("records", records),
      row("table, GB", table, few),
      row("index, GB", index, few),
      row("storage and backup, USD a month", storage, few),
      row("rotation: a pass that seals all anew, and one that finds none left, days", rotation, few),
      row(
        "enclave's memory for what it remembers of records, MB",
        (size) => (Math.min(records(size), REMEMBERED.records) * REMEMBERED.bytes) / 1e6,
      ),
      row("KMS calls to make them", () => 0),
    ],
  };
}

function rateTable(inputs: Inputs, figures: Figures): Section {
  const rows = inputs.signaturesASecond.map((rate) => {
    const enclaves = Math.max(2, Math.ceil(rate / (perEnclave(inputs, figures) * inputs.shareOfCapacityUsed)));
    const hosts = enclaves * inputs.enclaveHostUsdAnHour * HOURS_A_MONTH;
    const reads = rate * inputs.databaseReadsPerColdSignature;
    const databases = Math.max(1, Math.ceil(reads / (inputs.databaseRowReadsASecond * inputs.shareOfCapacityUsed)));
    const database = databases * inputs.databaseUsdAnHour * HOURS_A_MONTH;
    const kmsCalls =
      enclaves *
      (KMS_PER_BOOT * inputs.enclaveBootsADay * DAYS_A_MONTH + (KMS_PER_ROTATION * inputs.rotationsAYear) / 12);
    const kms = (kmsCalls / 10_000) * inputs.kmsUsdPer10000Requests + inputs.kmsKeyUsdAMonth;
    const month = hosts + database + kms;
    const perMillion = month / ((rate * SECONDS_A_MONTH) / 1e6);
    return {
      name: rate.toLocaleString("en"),
      cells: [enclaves, databases, kmsCalls, hosts, database, kms, month, perMillion].map((value, at) =>
        at === 7 ? few(value) : at === 5 ? value.toFixed(2) : whole(value),
      ),
    };
  });
  const labels = ["enclaves", "primaries", "KMS calls a month", "hosts, USD a month", "databases", "KMS"];
  return {
    ...{ name: "rate", title: "By signatures a second" },
    method:
      "Around the clock at that rate; storage of the table above comes on top. At least two enclaves, so that one may fail. " +
      "Every signature is taken to be cold: its wallet and user are read from the database.",
    columns: [...labels, "together, USD a month", "USD a million signatures"].map((label) => ({ label, digits: 0 })),
    rows,
  };
}

function whole(value: number): string {
  return Math.ceil(value).toLocaleString("en");
}

/** Two figures: more would claim what nobody knows. */
function few(value: number): string {
  return Number(value.toPrecision(2)).toLocaleString("en", { maximumFractionDigits: 4 });
}
