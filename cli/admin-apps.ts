/** What one administrator can do alone, or several whose keys are in one place. */
import type { Client, StampKey } from "../client/index.ts";
import { describeIssues, OPERATIONS, type OperationName, type Params } from "../protocol/index.ts";
import { type CommandIo, printable, UsageError } from "./command-io.ts";
import { onePositional, parseOptions } from "./command-options.ts";
import { connectTo, ENCLAVE_OPTIONS, openKeys } from "./enclave-options.ts";
import { readJson } from "./json-input.ts";
import { PASSPHRASE_OPTIONS } from "./passphrase.ts";

type Name = "create-app" | "get-app" | "update-app" | "list-apps" | "rotate-app-key";

export async function appsCommand(name: Name, args: readonly string[], io: CommandIo): Promise<void> {
  const { values, positionals } = parseOptions(args, {
    ...ENCLAVE_OPTIONS,
    ...PASSPHRASE_OPTIONS,
    key: { type: "string", multiple: true },
    params: { type: "string" },
    "expected-version": { type: "string" },
  });
  const appId = name === "create-app" || name === "list-apps" ? "" : onePositional(positionals, "APP");
  const file = values.params;
  const isGiven = name === "get-app" || name === "list-apps" || file !== undefined;
  if (!isGiven) throw new UsageError("--params is needed");
  const json = file === undefined ? {} : await readJson(file, io);
  const client = await connectTo(values, io, { key: values.key });
  const keys = await openKeys(values.key ?? [], "--key", values, io);
  switch (name) {
    case "create-app":
      return print(io, await client.createApp(keys, checked("create_app", json)));
    case "get-app":
      return print(io, await client.getApp(keys, appId));
    case "update-app": {
      const expectedVersion = wholeNumber(values["expected-version"]);
      const params = checked("update_app", { appId, expectedVersion, app: json });
      return print(io, await client.updateApp(keys, params));
    }
    case "rotate-app-key":
      return print(io, await client.rotateAppKey(keys, checked("rotate_app_key", { ...(json as object), appId })));
    case "list-apps":
      return listApps(client, keys, io);
  }
}

async function listApps(client: Client, keys: readonly StampKey[], io: CommandIo): Promise<void> {
  let after: string | null = null;
  for (let more = true; more; ) {
    const page: Awaited<ReturnType<Client["listApps"]>> = await client.listApps(keys, after);
    for (const { appId, version, name } of page.apps) io.out(`${appId}  ${version}  ${printable(name)}\n`);
    after = page.apps.at(-1)?.appId ?? null;
    more = page.more;
  }
}

function print(io: CommandIo, result: object): void {
  io.out(`${JSON.stringify(result, null, 2)}\n`);
}

/** @throws {@link UsageError} */
function checked<Operation extends OperationName>(operation: Operation, json: unknown): Params<Operation> {
  const parsed = OPERATIONS[operation].params.safeParse(json);
  if (!parsed.success) throw new UsageError(`--params: ${describeIssues(parsed.error)}`);
  return parsed.data as Params<Operation>;
}

function wholeNumber(text: string | undefined): number {
  if (text === undefined || !/^[0-9]{1,9}$/.test(text)) throw new UsageError("--expected-version: expected a number");
  return Number(text);
}
