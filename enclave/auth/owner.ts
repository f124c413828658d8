import type { Owner } from "../wallets/wallets.ts";
import type { Actor } from "./actor.ts";

/** In a user's place, for wallets that belong to the app itself. No user's id looks like it. */
const APP_ITSELF = "app";

/** Whose wallets an actor can name. */
export function ownerOf(actor: Actor): Owner {
  switch (actor.kind) {
    case "session":
    case "passkey":
      return { appId: actor.appId, userId: actor.userId };
    case "api-key":
      return { appId: actor.appId, userId: APP_ITSELF };
  }
}
