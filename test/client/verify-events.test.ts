/** Chains of events, whole and not; the enclave's own are judged in hostile-parent/identities. */
import { createHash, generateKeyPairSync, sign } from "node:crypto";
import { describe, expect, test } from "vitest";
import { run } from "../../cli/events.ts";
import { verifyEvents } from "../../client/index.ts";
import {
  encodeEvent,
  eventSigningInput,
  FIRST_PREVIOUS,
  type ListedEvent,
  type UserEvent,
} from "../../protocol/index.ts";
import { called } from "../support/command-call.ts";

const { publicKey, privateKey } = generateKeyPairSync("ed25519");
const KEY = publicKey.export({ type: "spki", format: "der" }).subarray(-32).toString("hex");

function signed(text: string, key = privateKey): ListedEvent {
  return { event: text, signature: sign(null, eventSigningInput(text), key).toString("hex") };
}

function chain(length: number, changes: (seq: number) => Partial<UserEvent> = () => ({})): ListedEvent[] {
  const events: ListedEvent[] = [];
  for (let seq = 1; seq <= length; seq += 1) {
    const last = events.at(-1);
    const text = encodeEvent({
      ...{ v: 1, deployment: "test", appId: "app_1", userId: "usr_1", seq, atMs: 1_790_000_000_000 + seq },
      ...{ kind: "identity-linked", by: "ses_1", details: { subject: "alice" } },
      previous: last === undefined ? FIRST_PREVIOUS : createHash("sha256").update(last.event).digest("hex"),
      ...changes(seq),
    });
    events.push(signed(text));
  }
  return events;
}

test("an event's text and what is signed of it have fixed bytes", () => {
  const [first] = chain(1);
  expect(first?.event).toBe(
    '{"v":1,"deployment":"test","appId":"app_1","userId":"usr_1","seq":1,"atMs":1790000000001,' +
      `"kind":"identity-linked","by":"ses_1","details":{"subject":"alice"},"previous":"${"0".repeat(64)}"}`,
  );
  expect(new TextDecoder().decode(eventSigningInput("{}"))).toBe("cloister/event/v1\n{}");
});

test("a whole chain is verified, and so is none", async () => {
  expect((await verifyEvents(chain(20), KEY)).map(({ seq }) => seq)).toEqual(
    Array.from({ length: 20 }, (_, at) => at + 1),
  );
  expect(await verifyEvents([], KEY)).toEqual([]);
});

describe("a chain is refused", () => {
  const events = chain(4);
  const [first, second, third, fourth] = events as [ListedEvent, ListedEvent, ListedEvent, ListedEvent];

  test.each<[string, string, readonly ListedEvent[]]>([
    ["with one left out", "EVENT_OUT_OF_ORDER", [first, third, fourth]],
    ["without its first", "EVENT_OUT_OF_ORDER", [second, third, fourth]],
    ["with two exchanged", "EVENT_OUT_OF_ORDER", [first, third, second, fourth]],
    ["with one twice", "EVENT_OUT_OF_ORDER", [first, first]],
    ["with a text changed", "EVENT_SIGNATURE_INVALID", [{ ...first, event: first.event.replace("alice", "mallo") }]],
    ["with another's signature", "EVENT_SIGNATURE_INVALID", [{ ...first, signature: second.signature }]],
    ["with a signature that is no hex", "EVENT_MALFORMED", [{ ...first, signature: "zz" }]],
    ["with what is no event", "EVENT_MALFORMED", [signed("{}")]],
    ["with two branches of one past", "EVENT_CHAIN_BROKEN", [first, chain(2, (seq) => ({ atMs: seq }))[1] ?? first]],
    [
      "that goes on as another user's",
      "EVENT_OF_ANOTHER_USER",
      [first, chain(2, () => ({ userId: "usr_2" }))[1] ?? first],
    ],
    ["that begins with a past", "EVENT_CHAIN_BROKEN", chain(1, () => ({ previous: "a".repeat(64) }))],
  ])("%s", async (_what, code, given) => {
    await expect(verifyEvents(given, KEY)).rejects.toMatchObject({ code });
  });

  test("under another vault's key", async () => {
    await expect(verifyEvents(events, "ab".repeat(32))).rejects.toThrow();
    const other = generateKeyPairSync("ed25519").publicKey.export({ type: "spki", format: "der" });
    const key = other.subarray(-32).toString("hex");
    await expect(verifyEvents(events, key)).rejects.toMatchObject({ code: "EVENT_SIGNATURE_INVALID" });
  });
});

describe("cloister events verify", () => {
  const lines = (events: readonly ListedEvent[]) => events.map((event) => JSON.stringify(event));

  async function verify(given: readonly string[], args = ["verify", "events.jsonl", "--key", KEY]) {
    const io = { read: async () => new Uint8Array(0), nowMs: () => 0 };
    const { status, ...said } = await called((says) =>
      run(args, { ...says, ...io }, async function* () {
        yield* given;
      }),
    );
    return { code: status, ...said };
  }

  test("lists what it has verified", async () => {
    const { code, out } = await verify([...lines(chain(2)), ""]);
    expect(code).toBe(0);
    expect(out).toMatch(
      /^1 {2}2026-.*identity-linked {2}by ses_1 {2}subject="alice"\n2 .*\n✓ 2 events, none missing before the last\n$/,
    );
  });

  test("draws nothing that somebody else chose", async () => {
    const { out } = await verify(lines(chain(1, () => ({ details: { subject: "\u{1b}[2J✓" } }))));
    expect(out).not.toContain("\u{1b}");
    expect(out.match(/✓/g)).toEqual(["✓"]);
  });

  test("says what is wrong, with exit status 1, or 2 for its use", async () => {
    const broken = await verify(lines(chain(3)).toSpliced(1, 1));
    expect(broken).toMatchObject({ code: 1, out: "" });
    expect(broken.err).toContain("EVENT_OUT_OF_ORDER");
    expect(await verify(["no json"])).toMatchObject({ code: 1 });
    expect(await verify([], ["verify", "events.jsonl"])).toMatchObject({ code: 2 });
    expect(await verify([], ["verify"])).toMatchObject({ code: 2 });
    expect(await verify([], ["--nonsense"])).toMatchObject({ code: 2 });
    expect(await verify([], ["--help"])).toMatchObject({ code: 0 });
  });
});
