/** Is this an EC2 instance that can run enclaves, and are its tools there? */
import { type Check, failure, ok, type Result, unless, warning } from "../check.ts";
import type { Context } from "../context.ts";
import { FactError } from "../facts.ts";

const DMI = "/sys/devices/virtual/dmi/id";
const DEVICE = "/dev/nitro_enclaves";
/** Its enclaves boot without any entropy (nitro.md 5.7). */
const TOO_OLD = [1, 2, 0] as const;
const GROUP = "ne";
const ENCLAVE_USER = "cloister-enclave";
export const PARENT_USER = "cloister";

export const checkInstance: Check = async ({ facts }) => {
  const read = async (name: string) => new TextDecoder().decode(await facts.readFile(`${DMI}/${name}`)).trim();
  const vendor = await read("sys_vendor").catch(absentAs(""));
  if (vendor !== "Amazon EC2") {
    return failure(
      `this machine is ${vendor === "" ? "of no known make" : vendor}, not EC2`,
      "run the doctor on the instance whose enclave it is",
    );
  }
  const type = await read("product_name");
  const id = await read("board_asset_tag");
  if (/\.metal/.test(type))
    return failure(`${type} is bare metal`, "take a virtual instance: bare metal runs no enclaves");
  if (/^t[0-9]/.test(type)) return failure(`${type} is burstable`, "take another type: burstable ones run no enclaves");
  return ok(`${id}, ${type}`);
};

export const checkDevice: Check = async ({ facts }) => {
  try {
    await facts.stat(DEVICE);
    return ok(`${DEVICE} is there`);
  } catch (error) {
    if (!(error instanceof FactError) || error.code !== "ABSENT") throw error;
    return failure(
      `${DEVICE} is not there`,
      "enable enclaves for this instance (they cannot be while it runs), and load the driver: modprobe nitro_enclaves",
    );
  }
};

export const checkNitroCli: Check = async ({ facts }) => {
  let said: string;
  try {
    const { status, stdout, stderr } = await facts.run("nitro-cli", ["--version"]);
    if (status !== 0) return failure(`nitro-cli --version ends with ${status}: ${stderr.trim()}`, "install it anew");
    said = stdout.trim();
  } catch (error) {
    if (!(error instanceof FactError) || error.code !== "ABSENT") throw error;
    return failure("nitro-cli is not there", "dnf install aws-nitro-enclaves-cli");
  }
  const version = /\b([0-9]+)\.([0-9]+)\.([0-9]+)\b/.exec(said)?.slice(1).map(Number);
  if (version === undefined) return warning(`nitro-cli names no version: ${said}`, "look which one it is");
  if (isOlder(version, TOO_OLD)) {
    return failure(`${said}: its enclaves boot without entropy`, "dnf upgrade aws-nitro-enclaves-cli (1.2.0 or later)");
  }
  return ok(said);
};

/** The enclave's user may start enclaves; the parent's has no need to. */
export const checkUsers: Check = async (context) => {
  const groups = await groupsOf(context);
  const group = groups.get(GROUP);
  if (group === undefined) return failure(`there is no group ${GROUP}`, "dnf install aws-nitro-enclaves-cli");
  const users = await usersOf(context);
  const problems: Result[] = [];
  const enclave = users.get(ENCLAVE_USER);
  if (enclave === undefined) problems.push(failure(`there is no user ${ENCLAVE_USER}`, "run deploy/install.sh"));
  else if (!group.members.has(ENCLAVE_USER) && enclave.gid !== group.gid) {
    problems.push(failure(`${ENCLAVE_USER} is not in group ${GROUP}`, `usermod -aG ${GROUP} ${ENCLAVE_USER}`));
  }
  const parent = users.get(PARENT_USER);
  if (parent === undefined) problems.push(failure(`there is no user ${PARENT_USER}`, "run deploy/install.sh"));
  else if (group.members.has(PARENT_USER) || parent.gid === group.gid) {
    problems.push(
      warning(
        `${PARENT_USER} is in group ${GROUP}: the process that faces callers could end enclaves`,
        `gpasswd -d ${PARENT_USER} ${GROUP}`,
      ),
    );
  }
  return unless(problems, `${ENCLAVE_USER} is in group ${GROUP}, ${PARENT_USER} is not`);
};

export interface User {
  readonly uid: number;
  readonly gid: number;
}

export async function usersOf(context: Context): Promise<Map<string, User>> {
  const lines = ((await context.text("/etc/passwd")) ?? "").split("\n").map((line) => line.split(":"));
  return new Map(
    lines.flatMap(([name, , uid, gid]) =>
      name === undefined || gid === undefined ? [] : [[name, { uid: Number(uid), gid: Number(gid) }] as const],
    ),
  );
}

async function groupsOf(
  context: Context,
): Promise<Map<string, { readonly gid: number; readonly members: ReadonlySet<string> }>> {
  const lines = ((await context.text("/etc/group")) ?? "").split("\n").map((line) => line.split(":"));
  return new Map(
    lines.flatMap(([name, , gid, members]) =>
      name === undefined || members === undefined
        ? []
        : [[name, { gid: Number(gid), members: new Set(members.split(",")) }] as const],
    ),
  );
}

function isOlder(version: readonly number[], than: readonly number[]): boolean {
  const at = version.findIndex((part, index) => part !== than[index]);
  return at >= 0 && (version[at] ?? 0) < (than[at] ?? 0);
}

function absentAs(value: string): (error: unknown) => string {
  return (error) => {
    if (error instanceof FactError && error.code === "ABSENT") return value;
    throw error;
  };
}
