/** Parts of an enclave in the test's own process, over a vault secret that nobody had to open. */
import { randomBytes } from "node:crypto";
import { encode } from "cborg";
import { eventKeyOf } from "../../enclave/events/event-key.ts";
import { Events } from "../../enclave/events/events.ts";
import { Nsm } from "../../enclave/nsm/nsm.ts";
import { Randomness } from "../../enclave/nsm/randomness.ts";
import { TrustedClock } from "../../enclave/trusted-clock.ts";
import { newUser, userRecords } from "../../enclave/users/user.ts";
import { Users } from "../../enclave/users/users.ts";
import { Ids } from "../../enclave/vault/ids.ts";
import { RecordCipher } from "../../enclave/vault/record-cipher.ts";
import { RecordStore } from "../../enclave/vault/record-store.ts";
import { change, Records } from "../../enclave/vault/records.ts";
import type { MemoryParent } from "./memory-parent.ts";

export interface EnclaveParts {
  readonly records: Records;
  readonly ids: Ids;
  readonly randomness: Randomness;
  readonly users: Users;
  readonly events: Events;
  readonly nowMs: () => number;
}

/** From an NSM that does nothing else. */
export function seededRandomness(): Promise<Randomness> {
  const device = { process: async () => encode({ GetRandom: { random: randomBytes(256) } }) };
  return Randomness.seed(new Nsm(device, new TrustedClock(() => 0)));
}

/** The same secret for every enclave: each reads what another has written. */
export function sameCipher(): RecordCipher {
  return new RecordCipher(new Uint8Array(32).fill(1), { deployment: "test", generation: 1 });
}

/** As after a start: what was there stays with the parent. */
export async function bootParts(
  parent: MemoryParent,
  nowMs: () => number,
  records = new Records(new RecordStore(parent.vsock), sameCipher()),
): Promise<EnclaveParts> {
  const ids = new Ids(new Uint8Array(32).fill(2));
  const randomness = await seededRandomness();
  const users = new Users({ records, ids, randomness, nowMs });
  const events = new Events({ records, key: eventKeyOf(ids), deployment: "test", nowMs });
  return { records, ids, randomness, users, events, nowMs };
}

/** Somebody who has logged in once, unless the parent has them already. */
export async function putUser(
  parent: MemoryParent,
  { records }: EnclaveParts,
  { appId, userId }: { readonly appId: string; readonly userId: string },
): Promise<void> {
  const name = `${appId}/${userId}`;
  if (parent.records.has(`user/${name}`)) return;
  const user = newUser({ identityId: "idn_1", issuer: "https://issuer", subject: "subject", linkedAtMs: 0 });
  await records.write([change(userRecords, name, null, user)]);
}
