/** `cloister eif diff`: what made a PCR move. */
import { type Difference, diffEifs, type FileDifference, type RamdiskFile, readEif } from "../eif/index.ts";
import { type CommandIo, printable, printableJson } from "./command-io.ts";
import { bytesText, reading, runEifCommand } from "./eif-options.ts";

const HELP = `Usage: cloister eif diff A B [--json]

Says what differs between two images: kernel, command line, files of each ramdisk (content, mode, owner, time), metadata,
signature; and which PCRs each difference moves. Ramdisks are read raw, gzip or zstd.

  --json  the same as data

Exit status: 0 no difference, 1 different or refused, 2 wrong usage.
`;

/** @returns The exit status. */
export async function diffEifsCommand(args: readonly string[], io: CommandIo): Promise<number> {
  const options = { json: { type: "boolean", default: false } } as const;
  return runEifCommand({ name: "diff", help: HELP, options, files: ["A", "B"] }, args, io, async ({ json }, files) => {
    const [pathA = "", pathB = ""] = files;
    const a = await readEif(pathA, reading(io, "diff", pathA, "reading A"));
    const b = await readEif(pathB, reading(io, "diff", pathB, "reading B"));
    const difference = await diffEifs(a, b);
    const { differences, moved, isSameFile } = difference;
    if (json) io.out(`${printableJson(difference)}\n`);
    else if (isSameFile) io.out("the same image, byte for byte\n");
    else {
      const pcrs = moved.map((pcr) => [
        `  ${pcr}  A ${a.measurements?.[pcr] ?? "zeros"}`,
        `        B ${b.measurements?.[pcr] ?? "zeros"}`,
      ]);
      io.out(`${[...differences.flatMap(draw), "", ...summary(moved), ...pcrs.flat()].join("\n")}\n`);
    }
    return isSameFile ? 0 : 1;
  });
}

function summary(moved: readonly string[]): string[] {
  return moved.length === 0 ? ["no PCR moves"] : [`PCRs that move: ${moved.join(", ")}`];
}

function draw(difference: Difference): string[] {
  const moves = difference.moves.length === 0 ? "moves no PCR" : `moves ${difference.moves.join(" and ")}`;
  switch (difference.kind) {
    case "header":
      return [
        `header: ${difference.field} ${printable(difference.a)} in A, ${printable(difference.b)} in B (${moves})`,
      ];
    case "kernel":
      return [`kernel (${moves})`, `  A sha256 ${difference.aSha256}`, `  B sha256 ${difference.bSha256}`];
    case "cmdline":
      return [`command line (${moves})`, `  A ${printable(difference.a)}`, `  B ${printable(difference.b)}`];
    case "metadata":
      return [
        `metadata (${moves})`,
        ...(difference.changes.length === 0 ? ["  the same values, written otherwise"] : []),
        ...difference.changes.map(
          ({ path, a, b }) => `  ${printable(path)}: ${short(a ?? "absent")} in A, ${short(b ?? "absent")} in B`,
        ),
      ];
    case "signature":
      return [`signature: ${difference.why} (${moves})`];
    case "order":
      return [`order: ${difference.why} (${moves})`];
    case "ramdisk":
      return [
        `ramdisk ${difference.index}${difference.why === "" ? "" : `: ${printable(difference.why)}`} (${moves})`,
        ...difference.files.map(drawFile),
      ];
  }
}

function drawFile(file: FileDifference): string {
  switch (file.kind) {
    case "added":
      return `  + ${printable(file.name)} (${describe(file.file)})`;
    case "removed":
      return `  - ${printable(file.name)} (${describe(file.file)})`;
    case "changed":
      return `  ~ ${printable(file.name)}: ${file.changes.map(({ what, a, b }) => drawChange(what, a, b)).join(", ")}`;
  }
}

function describe({ kind, permissions, uid, gid, sizeBytes }: RamdiskFile): string {
  return `${kind}, mode ${permissions.toString(8)}, owner ${uid}:${gid}, ${bytesText(sizeBytes)} bytes`;
}

function drawChange(what: keyof RamdiskFile, a: string | number, b: string | number): string {
  switch (what) {
    case "contentSha256":
      return `content ${String(a).slice(0, 12)}… → ${String(b).slice(0, 12)}…`;
    case "permissions":
      return `mode ${Number(a).toString(8)} → ${Number(b).toString(8)}`;
    case "mtimeSeconds":
      return `mtime ${time(Number(a))} → ${time(Number(b))}`;
    case "sizeBytes":
      return `size ${bytesText(Number(a))} → ${bytesText(Number(b))}`;
    case "kind":
    case "uid":
    case "gid":
    case "device":
      return `${what} ${a} → ${b}`;
  }
}

function time(seconds: number): string {
  return new Date(seconds * 1000).toISOString().replace(".000", "");
}

const MAX_SHOWN = 200;

function short(text: string): string {
  return printable(text.length > MAX_SHOWN ? `${text.slice(0, MAX_SHOWN)}…` : text);
}
