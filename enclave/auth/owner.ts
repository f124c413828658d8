import { APP_ITSELF } from "../users/user.ts";
import type { Owner } from "../wallets/wallets.ts";
import { type Actor, userRequestOf } from "./actor.ts";

/** Whose wallets an actor can name, and by whom it is asked: a session, a passkey or an API key. */
export function ownerOf(actor: Actor): Owner & { readonly by: string } {
  switch (actor.kind) {
    case "session":
    case "passkey":
      return userRequestOf(actor);
    case "api-key":
      return { appId: actor.appId, userId: APP_ITSELF, by: actor.keyId };
  }
}
