/** A stand-in for nitro-cli, as a program: it prints what the real one prints (nitro.md 6), and remembers in files. */
import { chmodSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { hex } from "../kms-policy/policies.ts";

/** Like the real one, `run-enclave` leaves a process behind that keeps its output open; here until the enclave ends. */
const SCRIPT = `#!/bin/bash
set -eu
state=STATE
measurements='"Measurements": {"HashAlgorithm": "Sha384 { ... }", "PCR0": "${hex(0xaa)}", "PCR1": "${hex(0x11)}", "PCR2": "${hex(0x22)}"}'
field() { sed -n "s/.*\\"$1\\": *\\"\\{0,1\\}\\([^,\\"}]*\\).*/\\1/p" "$2"; }
case "$1" in
  --version) echo "Nitro CLI 1.5.0" ;;
  describe-eif) echo "{\\"EifVersion\\": 4, $measurements, \\"IsSigned\\": false, \\"CheckCRC\\": true}" ;;
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

export class FakeNitroCli {
  readonly folder = mkdtempSync(join(tmpdir(), "cloister-test-"));
  readonly #state = join(this.folder, "state");

  constructor() {
    mkdirSync(join(this.#state, "enclaves"), { recursive: true });
    mkdirSync(join(this.folder, "bin"));
    const path = join(this.folder, "bin", "nitro-cli");
    writeFileSync(path, SCRIPT.replace("STATE", this.#state));
    chmodSync(path, 0o755);
    writeFileSync(join(this.folder, "cloister.eif"), new Uint8Array(1024 * 1024));
    this.writeMeasurements(0xaa);
  }

  /** For the child's environment: the stand-in goes before a real one. */
  get path(): string {
    return `${join(this.folder, "bin")}:${process.env["PATH"]}`;
  }

  writeMeasurements(pcr0: number): void {
    const Measurements = { PCR0: hex(pcr0), PCR1: hex(0x11), PCR2: hex(0x22) };
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
