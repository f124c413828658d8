/** The instance metadata service, version 2 (nitro.md 5.4). */
import type { Context } from "./context.ts";

const ROLES = "/latest/meta-data/iam/security-credentials/";

export interface RoleCredentials {
  readonly code: string;
  readonly expiresAtMs: number;
}

/** Whether it answers without a token, as version 1 does. Throws FactError where nobody answers. */
export async function answersWithoutToken({ facts, paths }: Context): Promise<boolean> {
  return (await facts.fetch("GET", `${paths.imds}/latest/meta-data/`)).status === 200;
}

/** @returns Null: it gives no token. */
export async function openSession(context: Context): Promise<ImdsSession | null> {
  const answer = await context.facts.fetch("PUT", `${context.paths.imds}/latest/api/token`, {
    "x-aws-ec2-metadata-token-ttl-seconds": "60",
  });
  return answer.status === 200 ? new ImdsSession(context, answer.body) : null;
}

class ImdsSession {
  readonly #context: Context;
  readonly #token: string;

  constructor(context: Context, token: string) {
    this.#context = context;
    this.#token = token;
  }

  /** Null: there is no role. */
  async roleName(): Promise<string | null> {
    const text = (await this.#get(ROLES))?.trim().split("\n")[0] ?? "";
    return text === "" ? null : text;
  }

  /** The ARN as it is without a path, which the metadata do not tell; null: they do not tell the account. */
  async roleArn(): Promise<string | null> {
    const name = await this.roleName();
    const text = await this.#get("/latest/dynamic/instance-identity/document");
    if (name === null || text === null) return null;
    const { accountId, region = "" } = JSON.parse(text) as { accountId?: string; region?: string };
    const partition = region.startsWith("cn-") ? "aws-cn" : region.startsWith("us-gov-") ? "aws-us-gov" : "aws";
    return accountId === undefined ? null : `arn:${partition}:iam::${accountId}:role/${name}`;
  }

  async credentials(role: string): Promise<RoleCredentials | null> {
    const text = await this.#get(`${ROLES}${encodeURIComponent(role)}`);
    if (text === null) return null;
    const { Code, Expiration } = JSON.parse(text) as { Code?: unknown; Expiration?: unknown };
    return { code: String(Code), expiresAtMs: Date.parse(String(Expiration)) };
  }

  async #get(path: string): Promise<string | null> {
    const { facts, paths } = this.#context;
    const answer = await facts.fetch("GET", `${paths.imds}${path}`, { "x-aws-ec2-metadata-token": this.#token });
    return answer.status === 200 ? answer.body : null;
  }
}
