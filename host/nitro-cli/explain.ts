/** nitro-cli's exit status is a number; its own text tells what happened, not what to do (nitro.md 6 and 7). */

const CAUSES: Readonly<Record<number, string>> = {
  4: "a socket pair could not be made: are file descriptors used up?",
  7: "a file could not be read: look at eif_path and its permissions",
  10: "it waited for the enclave's first byte in vain: too little memory, or an image that does not boot",
  11: "a socket could not be had: does something else listen on vsock port 9000, or is another launch under way?",
  18: "a file's permissions: is the user in group ne?",
  19: "a file operation failed: is /dev/nitro_enclaves there, and the user in group ne?",
  20: "the CPUs are not whole cores: with two threads to a core the count must be even",
  21: "none of these CPUs is in the pool: is nitro-enclaves-allocator running?",
  22: "too few CPUs in the pool: raise cpu_count in allocator.yaml and restart nitro-enclaves-allocator",
  26: "memory_mib is under four times the image",
  27: "too few free huge pages: raise memory_mib in allocator.yaml and restart nitro-enclaves-allocator",
  28: "the enclave's descriptor is bad: is the enclave option on for this instance?",
  29: "the driver refused: dmesg may tell more",
  31: "the driver refused the memory: it must lie in one NUMA node; 1 GiB pages need fewer regions",
  32: "the driver refused a CPU: whole cores of one NUMA node, and not CPU 0",
  33: "the hypervisor refused to start it: is the CID taken?",
  35: "the image is no EIF that it reads: cloister eif inspect",
  36: "the image did not boot: a signature that has expired, too little memory, or a kernel that does not come up",
  39: "the process of the enclave does not answer: nitro-cli describe-enclaves as its owner",
  51: "NITRO_CLI_ARTIFACTS and HOME are both unset",
  59: "the image's signature does not verify",
};

/** @param status - nitro-cli's exit status. */
export function explainNitroCli(status: number): string {
  const code = `E${String(status).padStart(2, "0")}`;
  const cause = CAUSES[status];
  return cause === undefined ? `${code}; nitro-cli explain --error-code ${code}` : `${code}: ${cause}`;
}
