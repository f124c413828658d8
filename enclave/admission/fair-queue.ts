/**
 * Who runs next when more ask than can run. Start-time fair queueing, twice: between groups by their weights, and inside
 * a group between its lanes, all alike. Pure: time comes in, and what is taken goes out.
 *
 * Deficit round robin would serve as well but for one thing: it forgets what a lane owes as soon as it is empty, so that
 * whoever sends one great request at a time never pays for it. Here a debt is kept until the others have caught up.
 */
export interface GroupLimits {
  /** Of what is served, against the other groups that wait. */
  readonly weight: number;
  /** Of all of the group's lanes together. */
  readonly maxWaiting: number;
  readonly maxWaitingBytes: number;
  readonly maxRunning: number;
  readonly maxRunningPerLane: number;
  /** May run although as many run as may: for what must never wait for others. */
  readonly extraRunning?: number;
}

export interface Place<Group extends string> {
  readonly group: Group;
  readonly lane: string;
  /** Against other requests; 1 is a small one. */
  readonly cost: number;
  /** Held while it waits. */
  readonly bytes: number;
}

interface Waiting<Item> {
  readonly item: Item;
  readonly cost: number;
  readonly bytes: number;
  readonly sinceMs: number;
}

interface Lane<Item> {
  readonly waiting: Waiting<Item>[];
  bytes: number;
  running: number;
  /** How much it has been served, in its group's time. */
  pass: number;
}

interface Group<Item> {
  readonly limits: GroupLimits;
  readonly lanes: Map<string, Lane<Item>>;
  /** Those of them in which somebody waits. */
  readonly busy: Set<Lane<Item>>;
  waiting: number;
  bytes: number;
  running: number;
  pass: number;
  /** The pass of the lane that was served last: where a lane begins that comes anew. */
  now: number;
  /** How many lanes there are before idle ones are looked for. */
  sweepAt: number;
}

const FIRST_SWEEP = 64;
/** Over this, debts are forgotten. */
const MAX_LANES = 1024;

export class FairQueue<Name extends string, Item> {
  readonly #groups = new Map<Name, Group<Item>>();
  readonly #maxRunning: number;
  #now = 0;
  #running = 0;
  #waiting = 0;

  constructor(options: { readonly maxRunning: number; readonly groups: Readonly<Record<Name, GroupLimits>> }) {
    this.#maxRunning = options.maxRunning;
    for (const [name, limits] of Object.entries(options.groups) as [Name, GroupLimits][]) {
      const counts = { waiting: 0, bytes: 0, running: 0, pass: 0, now: 0, sweepAt: FIRST_SWEEP };
      this.#groups.set(name, { limits, lanes: new Map(), busy: new Set(), ...counts });
    }
  }

  get waiting(): number {
    return this.#waiting;
  }

  get running(): number {
    return this.#running;
  }

  /** How many it knows of, idle ones with them. */
  get lanes(): number {
    return [...this.#groups.values()].reduce((sum, { lanes }) => sum + lanes.size, 0);
  }

  /**
   * Puts an item in its lane, if there is room. A lane may take no more than its group has left: one that sends without
   * end stops at half, two at a third each, and whoever comes next still finds a place.
   */
  offer(item: Item, { group: name, lane: laneName, cost, bytes }: Place<Name>, nowMs: number): boolean {
    const group = this.#groupOf(name);
    const { maxWaiting, maxWaitingBytes } = group.limits;
    const known = group.lanes.get(laneName);
    const lane = known ?? { waiting: [], bytes: 0, running: 0, pass: group.now };
    if (lane.waiting.length >= maxWaiting - group.waiting) return false;
    if (lane.bytes + bytes > maxWaitingBytes - group.bytes) return false;
    if (known === undefined) this.#add(group, laneName, lane);
    // What was idle gets nothing for it.
    if (group.waiting === 0) group.pass = Math.max(group.pass, this.#now);
    if (lane.waiting.length === 0) lane.pass = Math.max(lane.pass, group.now);
    group.busy.add(lane);
    lane.waiting.push({ item, cost, bytes, sinceMs: nowMs });
    lane.bytes += bytes;
    group.waiting += 1;
    group.bytes += bytes;
    this.#waiting += 1;
    return true;
  }

  /** The next item that may run now; {@link finish} its place when it has run. */
  take(): Item | undefined {
    if (this.#waiting === 0) return undefined;
    let best: { readonly group: Group<Item>; readonly lane: Lane<Item> } | undefined;
    for (const group of this.#groups.values()) {
      if (group.waiting === 0 || (best !== undefined && best.group.pass <= group.pass)) continue;
      const lane = this.#nextLane(group);
      if (lane !== undefined) best = { group, lane };
    }
    const next = best?.lane.waiting.shift();
    if (best === undefined || next === undefined) return undefined;
    const { group, lane } = best;
    this.#forget(group, lane, next);
    this.#now = group.pass;
    group.pass += next.cost / group.limits.weight;
    group.now = lane.pass;
    lane.pass += next.cost;
    lane.running += 1;
    group.running += 1;
    this.#running += 1;
    return next.item;
  }

  finish({ group: name, lane: laneName }: Pick<Place<Name>, "group" | "lane">): void {
    const group = this.#groupOf(name);
    const lane = group.lanes.get(laneName);
    if (lane === undefined || lane.running === 0) throw new RangeError(`nothing runs in ${name}/${laneName}`);
    lane.running -= 1;
    group.running -= 1;
    this.#running -= 1;
  }

  /** Takes out what has waited since before `beforeMs`: nobody waits for it any more. */
  takeExpired(beforeMs: number): Item[] {
    const expired: Item[] = [];
    for (const group of this.#groups.values()) {
      for (const lane of group.lanes.values()) {
        for (let first = lane.waiting[0]; first !== undefined && first.sinceMs < beforeMs; first = lane.waiting[0]) {
          lane.waiting.shift();
          this.#forget(group, lane, first);
          expired.push(first.item);
        }
      }
    }
    return expired;
  }

  #nextLane({ limits, busy, running }: Group<Item>): Lane<Item> | undefined {
    if (running >= limits.maxRunning || this.#running >= this.#maxRunning + (limits.extraRunning ?? 0))
      return undefined;
    let best: Lane<Item> | undefined;
    for (const lane of busy) {
      if (lane.running >= limits.maxRunningPerLane) continue;
      if (best === undefined || lane.pass < best.pass) best = lane;
    }
    return best;
  }

  /** Idle lanes are kept for what they owe, while there are few: who makes up names does not make lanes that stay. */
  #add(group: Group<Item>, name: string, lane: Lane<Item>): void {
    group.lanes.set(name, lane);
    if (group.lanes.size < group.sweepAt) return;
    for (const [idleName, { waiting, running, pass }] of group.lanes) {
      const owes = pass > group.now && group.lanes.size < MAX_LANES;
      if (idleName !== name && waiting.length === 0 && running === 0 && !owes) group.lanes.delete(idleName);
    }
    group.sweepAt = Math.max(FIRST_SWEEP, group.lanes.size * 2);
  }

  #forget(group: Group<Item>, lane: Lane<Item>, { bytes }: Waiting<Item>): void {
    if (lane.waiting.length === 0) group.busy.delete(lane);
    lane.bytes -= bytes;
    group.bytes -= bytes;
    group.waiting -= 1;
    this.#waiting -= 1;
  }

  #groupOf(name: Name): Group<Item> {
    const group = this.#groups.get(name);
    if (group === undefined) throw new RangeError(`no group ${name}`);
    return group;
  }
}
