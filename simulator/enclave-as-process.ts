/** An enclave as a process of this machine, with a simulated NSM behind a unix socket in /dev/nsm's place. */
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { beside, Child } from "./child-process.ts";
import type { EnclaveSource, RunningEnclave } from "./enclave-source.ts";
import { measureImage } from "./image.ts";
import { createSimulatedNsm, serveNsm } from "./nsm/index.ts";

/** What the enclave's Node is started with; the image's init uses the same. */
const ENCLAVE_NODE_FLAGS = ["--disable-proto=delete", "--disallow-code-generation-from-strings", "--disable-sigusr1"];

export const enclaveProcess: EnclaveSource = {
  async prepare({
    manifest,
    tlsRootPem,
    nsmPki,
    moduleId,
    instanceId,
    roleArn,
    runFolder,
    nowMs,
    log,
    cleanup,
    ...site
  }) {
    const pcrs = await measureImage({ manifest, roleArn, instanceId });
    const nsmSocket = join(runFolder, "nsm");
    const nsmServer = await serveNsm(createSimulatedNsm({ pki: nsmPki, pcrs, moduleId, nowMs }), nsmSocket);
    cleanup.defer(() => nsmServer.close());
    const manifestFile = join(runFolder, "cloister.yaml");
    const tlsRootFile = join(runFolder, "tls-root.pem");
    await writeFile(manifestFile, manifest);
    await writeFile(tlsRootFile, tlsRootPem);
    const files = [
      "--manifest",
      manifestFile,
      "--nsm",
      nsmSocket,
      "--tls-root",
      tlsRootFile,
      "--workers",
      `${site.signingWorkers}`,
    ];
    return {
      pcrs,
      hasOwnManifest: false,
      async boot(vsockPath) {
        const program = [...ENCLAVE_NODE_FLAGS, beside("./enclave-process")];
        const command = [process.execPath, ...program, ...files, "--vsock", vsockPath] as const;
        return runningProcess(new Child({ name: "the enclave", command: [...command], log }));
      },
    };
  },
};

function runningProcess(child: Child): RunningEnclave {
  return {
    pid: child.pid,
    outcome: () => child.event("ready", "failed"),
    ended: () => child.exited.then(() => child.lastWords),
    stop: () => child.stop(),
    kill: () => child.kill(),
  };
}
