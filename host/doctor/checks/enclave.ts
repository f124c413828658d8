/** The enclave that runs, and what on the parent stands in its way. */
import { HostError } from "../../errors.ts";
import { differingPcrs } from "../../nitro-cli/measurements.ts";
import { type Check, failure, ok, type Result, skipped, unless, warning } from "../check.ts";
import { FactError } from "../facts.ts";

const HEARTBEAT_PORT = 9000;
const START = "systemctl start cloister-enclave; journalctl -u cloister-enclave";

export const checkEnclave: Check = async (context) => {
  const { name } = await context.needed(context.enclaveConfig, "enclave.json");
  let enclaves: Awaited<ReturnType<typeof context.enclaves>>;
  try {
    enclaves = await context.enclaves();
  } catch (error) {
    if (error instanceof FactError && error.code === "ABSENT") return skipped("nitro-cli is not there; see nitro-cli");
    if (!(error instanceof HostError)) throw error;
    return failure(`nitro-cli describe-enclaves: ${error.message}`, "run it as root and see what it says");
  }
  const found = enclaves.find((one) => one.name === name);
  if (found === undefined) {
    const others = enclaves.map((one) => one.name ?? one.id).join(", ");
    return failure(`${name} is not running${others === "" ? "" : `; running: ${others}`}`, START);
  }
  const problems: Result[] = [];
  if (found.state !== "RUNNING") problems.push(failure(`${found.id} is ${found.state}`, START));
  if (found.isDebug) {
    problems.push(
      failure(
        `${found.id} runs in debug mode: its PCRs are zeros, and this machine reads its console`,
        "end it (nitro-cli terminate-enclave), and start it by systemctl start cloister-enclave",
      ),
    );
  }
  const expected = await context.measurements().catch(() => null);
  const differing = expected === null || found.measurements === null ? [] : differingPcrs(found.measurements, expected);
  if (differing.length > 0) {
    problems.push(
      failure(
        `${found.id} is not the image expected: ${differing.join(", ")} differ`,
        "systemctl restart cloister-enclave",
      ),
    );
  }
  return unless(problems, `${found.id} is RUNNING, CPUs ${found.cpuIds.join(",")}, ${found.memoryMib} MiB`);
};

export const checkCid: Check = async (context) => {
  const { enclaveCid, name } = await context.needed(context.enclaveConfig, "enclave.json");
  const { vsock } = await context.needed(context.parentConfig, "parent.json");
  const problems: Result[] = [];
  if (vsock.kind !== "af-vsock") {
    problems.push(
      failure(
        `the parent speaks ${vsock.kind}, which no enclave on EC2 hears`,
        '"vsock": {"kind": "af-vsock", "enclaveCid": …}',
      ),
    );
  } else if (vsock.enclaveCid !== enclaveCid) {
    problems.push(
      failure(`the parent calls CID ${vsock.enclaveCid}, enclave.json says ${enclaveCid}`, "write the same into both"),
    );
  }
  const running = (await context.enclaves().catch(() => [])).find((one) => one.name === name);
  if (running !== undefined && running.cid !== enclaveCid) {
    problems.push(
      failure(
        `${running.id} has CID ${running.cid}, enclave.json says ${enclaveCid}`,
        "systemctl restart cloister-enclave",
      ),
    );
  }
  return unless(problems, `CID ${enclaveCid} on both sides`);
};

/** Each launch listens there for its enclave's heartbeat (nitro.md 5.1), and on no other occasion does anybody. */
export const checkHeartbeatPort: Check = async ({ facts }) => {
  const { status, stdout, stderr } = await facts.run("ss", ["--no-header", "--listening", "--numeric", "--vsock"]);
  if (status !== 0) return skipped(`ss cannot list vsock: ${stderr.trim()}`, "modprobe vsock_diag");
  const listeners = stdout.split("\n").filter((line) => line.trim() !== "");
  // Netid, state, two queues, then the local address as cid:port.
  const taken = listeners.filter((line) => line.trim().split(/\s+/)[4]?.endsWith(`:${HEARTBEAT_PORT}`));
  if (taken.length === 0) return ok(`nobody listens on vsock port ${HEARTBEAT_PORT}`);
  return warning(
    `somebody listens on vsock port ${HEARTBEAT_PORT}: a launch under way, or one that makes every launch fail`,
    "ss --listening --vsock --processes, as root; look again in two minutes",
  );
};

export const checkVhostVsock: Check = async (context) => {
  const modules = (await context.text("/proc/modules")) ?? "";
  if (!/^vhost_vsock /m.test(modules)) return ok("vhost_vsock is not loaded");
  const parent = await context.parentConfig().catch(() => null);
  if (parent?.vsock.toHost === true) return ok('vhost_vsock is loaded, and the parent says "toHost"');
  return warning(
    "vhost_vsock is loaded: the kernel may take the enclave's CID for that of a virtual machine of this host",
    'rmmod vhost_vsock, and keep it out by a file in /etc/modprobe.d; if it must stay, "toHost": true in parent.json',
  );
};
