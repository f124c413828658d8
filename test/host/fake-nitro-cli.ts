/** A stand-in for nitro-cli, as a program: it prints what the real one prints (nitro.md 6), and remembers in files. */
import { createHash } from "node:crypto";
import { chmodSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { CMDLINE, image, KERNEL, METADATA_PIECE, type Piece, piece, RAMDISK_0, RAMDISK_1 } from "../eif/images.ts";

/** Like the real one, `run-enclave` leaves a process behind that keeps its output open; here until the enclave ends. */
const SCRIPT = `#!/bin/bash
set -eu
state=STATE
measurements='"Measurements": MEASUREMENTS'
field() { sed -n "s/.*\\"$1\\": *\\"\\{0,1\\}\\([^,\\"}]*\\).*/\\1/p" "$2"; }
case "$1" in
  --version) echo "Nitro CLI 1.5.0" ;;
  run-enclave)
    name=$(field enclave_name "$3")
    cid=$(field enclave_cid "$3")
    echo "begin $name" >> "$state/log"
    sleep 0.3
    if [ -e "$state/refuse" ]; then
      echo "end $name" >> "$state/log"
      echo "[ E27 ] Insufficient memory available" >&2
      exit 27
    fi
    flags=NONE; [ -e "$state/debug" ] && flags=DEBUG_MODE
    echo "{\\"EnclaveName\\": \\"$name\\", \\"EnclaveID\\": \\"i-0-enc$cid\\", \\"ProcessID\\": 1, \\"EnclaveCID\\": $cid, \\"NumberOfCPUs\\": 2, \\"CPUIDs\\": [1, 3], \\"MemoryMiB\\": 512, \\"State\\": \\"RUNNING\\", \\"Flags\\": \\"$flags\\", $measurements}" > "$state/enclaves/$name"
    (for _ in $(seq 300); do [ -e "$state/enclaves/$name" ] || exit 0; sleep 0.1; done) &
    echo "end $name" >> "$state/log"
    cat "$state/enclaves/$name" ;;
  describe-enclaves)
    printf '['
    separator=
    for file in "$state"/enclaves/*; do [ -e "$file" ] || continue; printf '%s' "$separator"; cat "$file"; separator=,; done
    echo ']' ;;
  terminate-enclave)
    echo "terminate $3" >> "$state/log"
    rm "$state/enclaves/$3" ;;
esac
`;

/** nitro.md 1.6: a zero register, extended by the digest of what it covers. */
function pcr(...pieces: readonly Piece[]): string {
  const digest = createHash("sha384")
    .update(Buffer.concat(pieces.map(({ data }) => data)))
    .digest();
  return createHash("sha384").update(new Uint8Array(48)).update(digest).digest("hex");
}

const MEASUREMENTS = {
  HashAlgorithm: "Sha384 { ... }",
  PCR0: pcr(KERNEL, CMDLINE, RAMDISK_0, RAMDISK_1),
  PCR1: pcr(KERNEL, CMDLINE, RAMDISK_0),
  PCR2: pcr(RAMDISK_1),
};

export class FakeNitroCli {
  readonly folder = mkdtempSync(join(tmpdir(), "cloister-test-"));
  readonly #state = join(this.folder, "state");

  constructor() {
    mkdirSync(join(this.#state, "enclaves"), { recursive: true });
    mkdirSync(join(this.folder, "bin"));
    const path = join(this.folder, "bin", "nitro-cli");
    writeFileSync(path, SCRIPT.replace("STATE", this.#state).replace("MEASUREMENTS", JSON.stringify(MEASUREMENTS)));
    chmodSync(path, 0o755);
    writeFileSync(join(this.folder, "cloister.eif"), image());
    this.writeMeasurements();
  }

  /** For the child's environment: the stand-in goes before a real one. */
  get path(): string {
    return `${join(this.folder, "bin")}:${process.env["PATH"]}`;
  }

  writeMeasurements(change: object = {}): void {
    const Measurements = { ...MEASUREMENTS, ...change };
    writeFileSync(join(this.folder, "measurements.json"), JSON.stringify({ Measurements }));
  }

  /** @returns Options of `cloister enclave` for an enclave of this name. */
  options(name: string, cid: number, change: object = {}): string[] {
    const file = join(this.folder, `${name}.json`);
    const eif_path = join(this.folder, "cloister.eif");
    const config = { enclave_name: name, cpu_count: 2, memory_mib: 512, eif_path, enclave_cid: cid, ...change };
    writeFileSync(file, JSON.stringify(config).replaceAll(",", ",\n").replaceAll(":", ": "));
    const measurements = join(this.folder, "measurements.json");
    return ["--config", file, "--measurements", measurements, "--lock", join(this.folder, "lock")];
  }

  /** An image that needs more than the driver's least, 64 MiB. */
  writeLargeImage(): void {
    const pieces = [KERNEL, CMDLINE, METADATA_PIECE, RAMDISK_0, piece("ramdisk", new Uint8Array(17 * 1024 * 1024))];
    writeFileSync(join(this.folder, "cloister.eif"), image(pieces));
    this.writeMeasurements({
      PCR0: pcr(...pieces.filter((one) => one !== METADATA_PIECE)),
      PCR2: pcr(...pieces.slice(4)),
    });
  }

  writeNoImage(): void {
    writeFileSync(join(this.folder, "cloister.eif"), image().subarray(0, 600));
  }

  set(what: "refuse" | "debug"): void {
    writeFileSync(join(this.#state, what), "");
  }

  unset(what: "refuse" | "debug"): void {
    rmSync(join(this.#state, what));
  }

  running(): string[] {
    return readdirSync(join(this.#state, "enclaves"));
  }

  /** As if it had ended by itself. */
  end(name: string): void {
    rmSync(join(this.#state, "enclaves", name));
  }

  log(): string[] {
    try {
      return readFileSync(join(this.#state, "log"), "utf8").trim().split("\n");
    } catch {
      return [];
    }
  }

  remove(): void {
    rmSync(this.folder, { recursive: true, force: true });
  }
}
