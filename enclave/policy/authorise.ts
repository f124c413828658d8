/** The one way to an {@link Authorised}: scope first, then what policies say of the facts. */
import { type Account, type AppOperation, type RequestEnvelope, RequestError } from "../../protocol/index.ts";
import type { Apps } from "../apps/apps.ts";
import type { Actor } from "../auth/actor.ts";
import { checkChain } from "../auth/scope.ts";
import type { Authorised } from "./authorised.ts";
import { decide } from "./decide.ts";
import { chainOf, type Facts } from "./facts.ts";

/** One thing that somebody asks to have signed. */
export interface SigningRequest {
  readonly actor: Actor;
  readonly operation: AppOperation;
  readonly envelope: RequestEnvelope;
  readonly walletId: string;
  /** Those that are to sign: one, unless inputs of several are spent at once. */
  readonly accounts: readonly Account[];
  readonly facts: Facts;
}

export class Policies {
  readonly #apps: Apps;

  constructor(options: { readonly apps: Apps }) {
    this.#apps = options.apps;
  }

  /** @throws {@link RequestError} `POLICY_DENIED`, with the reason; `OUT_OF_SCOPE` */
  async authorise({ actor, facts, walletId, accounts }: SigningRequest): Promise<Authorised> {
    const chain = chainOf(facts);
    // A scope that lists chains was judged by the operation's entry where there is no chain at all.
    if (chain !== null) checkChain(actor.scope, chain);
    else if (actor.scope.chains !== null) throw new RequestError("OUT_OF_SCOPE", "outside the scope: it names chains");
    const { signingPolicy } = await this.#apps.get(actor.appId);
    const decision = decide(facts, signingPolicy);
    if (decision.kind === "deny") throw new RequestError("POLICY_DENIED", decision.reason);
    // The only place that makes one.
    return { walletId, publicKeys: accounts.map(({ publicKey }) => publicKey), facts } as unknown as Authorised;
  }
}
