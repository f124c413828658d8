import { RequestError } from "../../protocol/index.ts";
import type { Services } from "./handler.ts";

/**
 * Does something with wallets that may rest on a moment ago, and once more with wallets as they stand now if an account is
 * not found: another enclave may have added it. Nothing has been signed by then.
 */
export async function lookAnew<Result>(
  services: Services,
  work: (services: Services) => Promise<Result>,
): Promise<Result> {
  try {
    return await work(services);
  } catch (error) {
    if (!(error instanceof RequestError) || error.code !== "ACCOUNT_NOT_FOUND") throw error;
    return work({ ...services, wallets: services.wallets.lookingAnew() });
  }
}
