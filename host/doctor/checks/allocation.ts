/** CPUs and huge pages that the allocator has set aside, against what the enclave wants (nitro.md 5.8). */
import { parseAllocator, parseCpuList } from "../../nitro-cli/allocator.ts";
import { type Check, failure, ok, type Result, skipped, unless, warning } from "../check.ts";
import type { Context } from "../context.ts";

const RESTART = "stop the enclave, then systemctl restart nitro-enclaves-allocator";
const POOL = "/sys/module/nitro_enclaves/parameters/ne_cpus";
const NODES = "/sys/devices/system/node";
const KIB_PER_MIB = 1024;

export const checkAllocator: Check = async (context) => {
  const text = await context.text(context.paths.allocator);
  if (text === null) return failure(`${context.paths.allocator} is not there`, "run deploy/install.sh");
  const { memoryMib, cpuCount, cpuPool, problems } = parseAllocator(text);
  if (problems.length > 0) {
    return problems.map((problem) => failure(problem, `correct ${context.paths.allocator}; ${RESTART}`));
  }
  const { cpuCount: wantedCpus, memoryMib: wantedMib } = await context.needed(context.enclaveConfig, "enclave.json");
  const cpus = cpuCount ?? cpuPool?.length ?? 0;
  const short: Result[] = [];
  if (cpus < wantedCpus) {
    short.push(failure(`it sets ${cpus} CPUs aside, the enclave wants ${wantedCpus}`, `raise cpu_count; ${RESTART}`));
  }
  if ((memoryMib ?? 0) < wantedMib) {
    short.push(
      failure(`it sets ${memoryMib} MiB aside, the enclave wants ${wantedMib}`, `raise memory_mib; ${RESTART}`),
    );
  }
  return unless(short, `${cpus} CPUs and ${memoryMib} MiB are set aside`);
};

export const checkCpus: Check = async (context) => {
  const text = await context.text(POOL);
  if (text === null) return failure(`${POOL} is not there: the driver is not loaded`, "modprobe nitro_enclaves");
  const pool = parseCpuList(text);
  if (pool === null) return failure(`${POOL} cannot be read as a list: ${text.trim()}`, RESTART);
  if (pool.length === 0) {
    return failure("no CPU is in the pool", "systemctl enable --now nitro-enclaves-allocator; journalctl -u it");
  }
  const problems: Result[] = [];
  const { cpuCount } = await context.needed(context.enclaveConfig, "enclave.json");
  if (pool.length < cpuCount) {
    problems.push(
      failure(`${pool.length} CPUs are in the pool, the enclave wants ${cpuCount}`, `raise cpu_count; ${RESTART}`),
    );
  }
  const threads = await siblingsOf(context, pool);
  if (threads.some((siblings) => siblings.some((cpu) => !pool.includes(cpu)))) {
    problems.push(failure(`the pool ${text.trim()} has half a core`, `give whole cores; ${RESTART}`));
  }
  const perCore = threads[0]?.length ?? 1;
  if (cpuCount % perCore !== 0) {
    problems.push(
      failure(`${cpuCount} CPUs are no whole cores of ${perCore} threads`, "make cpu_count a multiple of them"),
    );
  }
  const nodes = (await nodesOf(context)).filter(({ cpus }) => pool.some((cpu) => cpus.includes(cpu)));
  if (nodes.length > 1) {
    problems.push(
      failure(`the pool lies in ${nodes.length} NUMA nodes`, `give CPUs of one node in cpu_pool; ${RESTART}`),
    );
  }
  return unless(problems, `CPUs ${text.trim()}`);
};

export const checkHugepages: Check = async (context) => {
  const { memoryMib, name } = await context.needed(context.enclaveConfig, "enclave.json");
  const pool = parseCpuList((await context.text(POOL)) ?? "") ?? [];
  const nodes = await nodesOf(context);
  const node = nodes.find(({ cpus }) => pool.some((cpu) => cpus.includes(cpu))) ?? nodes[0];
  if (node === undefined) return skipped(`the kernel shows no NUMA node under ${NODES}`);
  let totalMib = 0;
  let freeMib = 0;
  for (const size of await context.facts.list(`${node.path}/hugepages`)) {
    const pageMib = Number(/^hugepages-([0-9]+)kB$/.exec(size)?.[1] ?? 0) / KIB_PER_MIB;
    const count = async (file: string) => Number(await context.text(`${node.path}/hugepages/${size}/${file}`));
    totalMib += pageMib * (await count("nr_hugepages"));
    freeMib += pageMib * (await count("free_hugepages"));
  }
  if (totalMib < memoryMib) {
    return failure(
      `${totalMib} MiB of huge pages on ${node.name}, the enclave wants ${memoryMib}`,
      `raise memory_mib in ${context.paths.allocator}; ${RESTART}; memory that is in pieces needs a reboot`,
    );
  }
  // Without an answer from nitro-cli it is not known whose the used pages are.
  const enclaves = await context.enclaves().catch(() => null);
  if (enclaves === null) return ok(`${totalMib} MiB on ${node.name}, ${freeMib} MiB free`);
  if (enclaves.some((one) => one.name === name))
    return ok(`${totalMib} MiB on ${node.name}; the enclave has its share`);
  if (freeMib < memoryMib) {
    return warning(
      `${totalMib} MiB on ${node.name}, but only ${freeMib} free, and the enclave is not running`,
      "see what holds them: nitro-cli describe-enclaves, grep -i huge /proc/meminfo",
    );
  }
  return ok(`${totalMib} MiB on ${node.name}, ${freeMib} MiB free`);
};

interface NumaNode {
  readonly name: string;
  readonly path: string;
  readonly cpus: readonly number[];
}

async function nodesOf(context: Context): Promise<NumaNode[]> {
  const names = (await context.facts.list(NODES)).filter((name) => /^node[0-9]+$/.test(name)).sort();
  return Promise.all(
    names.map(async (name) => ({
      name,
      path: `${NODES}/${name}`,
      cpus: parseCpuList((await context.text(`${NODES}/${name}/cpulist`)) ?? "") ?? [],
    })),
  );
}

/** A CPU that has gone to an enclave is offline on the parent, and shows no topology: then nothing is said of it. */
async function siblingsOf(context: Context, pool: readonly number[]): Promise<number[][]> {
  const lists = pool.map(async (cpu) => {
    const text = await context.text(`/sys/devices/system/cpu/cpu${cpu}/topology/thread_siblings_list`);
    return text === null ? null : parseCpuList(text);
  });
  return (await Promise.all(lists)).filter((list) => list !== null);
}
