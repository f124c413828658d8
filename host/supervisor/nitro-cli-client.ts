/** nitro-cli, as the supervisor calls it: one launch at a time on this host. */
import { CommandError, type CommandResult, type RunCommand } from "../command.ts";
import { HostError } from "../errors.ts";
import { parseDescribeEnclaves, parseRunEnclave, type RunningEnclave } from "../nitro-cli/describe-enclaves.ts";
import { explainNitroCli } from "../nitro-cli/explain.ts";

const SHORT_MS = 30_000;
/** Others' launches may go before. */
const LOCK_WAIT_S = 600;

export class NitroCli {
  readonly #run: RunCommand;
  readonly #lockFile: string;

  constructor(run: RunCommand, lockFile: string) {
    this.#run = run;
    this.#lockFile = lockFile;
  }

  /** @throws {@link HostError} `NITRO_CLI_FAILED` */
  async describe(): Promise<RunningEnclave[]> {
    return parseDescribeEnclaves((await this.#call("nitro-cli", ["describe-enclaves"], SHORT_MS)).stdout);
  }

  /**
   * Under a lock: every launch listens on vsock port 9000 for its enclave's heartbeat, so two at once take each other's
   * (nitro.md 5.1). `--close`, or the process that nitro-cli leaves behind would hold the lock for ever.
   *
   * @throws {@link HostError} `NITRO_CLI_FAILED`
   */
  async launch(configFile: string, timeoutMs: number): Promise<{ readonly id: string; readonly cid: number }> {
    const lock = ["--close", "--timeout", String(LOCK_WAIT_S), this.#lockFile];
    const args = [...lock, "nitro-cli", "run-enclave", "--config", configFile];
    return parseRunEnclave((await this.#call("flock", args, LOCK_WAIT_S * 1000 + timeoutMs)).stdout);
  }

  /** @throws {@link HostError} `NITRO_CLI_FAILED`, also where there is none of that name. */
  async terminate(name: string): Promise<void> {
    await this.#call("nitro-cli", ["terminate-enclave", "--enclave-name", name], SHORT_MS);
  }

  async #call(command: string, args: readonly string[], timeoutMs: number): Promise<CommandResult> {
    let result: CommandResult;
    try {
      result = await this.#run(command, args, { timeoutMs });
    } catch (cause) {
      if (!(cause instanceof CommandError)) throw cause;
      throw new HostError("NITRO_CLI_FAILED", cause.message, { cause });
    }
    if (result.status === 0) return result;
    const said = result.stderr.trim().split("\n").slice(-4).join(" | ");
    throw new HostError("NITRO_CLI_FAILED", `${explainNitroCli(result.status)}${said === "" ? "" : ` (${said})`}`);
  }
}
