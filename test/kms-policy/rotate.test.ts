import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  formatKeyPolicy,
  generateKeyPolicy,
  KeyPolicyError,
  type PcrValues,
  type Rotation,
  rotateKeyPolicy,
} from "../../kms-policy/index.ts";
import { decideKeyAccess } from "../../simulator/kms/index.ts";
import { anyDocument, anySets, bytesOf, KEY_ID, matchesSome, ONE_IMAGE, PRINCIPALS, pcrs, ROLE } from "./policies.ts";

const NEW = [pcrs({ 0: 0xbb })];

function admits(policy: Record<string, unknown>, document: PcrValues | null): boolean {
  const documentPcrs = document === null ? null : bytesOf(document);
  return decideKeyAccess({ policy, principalArn: ROLE, operation: "Decrypt", documentPcrs }).kind === "allow";
}

function rotationOf(oldSets: readonly PcrValues[], newSets: readonly PcrValues[]): Rotation | null {
  try {
    return rotateKeyPolicy({ ...PRINCIPALS, pcrSets: oldSets }, newSets, KEY_ID);
  } catch (error) {
    if (error instanceof KeyPolicyError) return null;
    throw error;
  }
}

describe("an upgrade", () => {
  test("admits both images, then the new one, then what generate makes for it", () => {
    const [overlap, cut, final] = rotateKeyPolicy(ONE_IMAGE, NEW, KEY_ID).steps;
    const [oldImage, newImage] = [pcrs({ 0: 0xaa }), pcrs({ 0: 0xbb })];
    const admitted = [overlap, cut, final].map(({ policy }) => [admits(policy, oldImage), admits(policy, newImage)]);
    expect(admitted).toEqual([
      [true, true],
      [false, true],
      [false, true],
    ]);
    expect(formatKeyPolicy(final.policy)).toBe(formatKeyPolicy(generateKeyPolicy({ ...PRINCIPALS, pcrSets: NEW })));
  });

  test("the cut denies the old image even if it is allowed again", () => {
    const [, cut] = rotateKeyPolicy(ONE_IMAGE, NEW, KEY_ID).steps;
    const overlap = generateKeyPolicy({ ...ONE_IMAGE, pcrSets: [...ONE_IMAGE.pcrSets, ...NEW] });
    const retired = cut.policy.Statement.filter(({ Sid }) => Sid.startsWith("DenyRetiredImage"));
    const policy = { Version: "2012-10-17", Statement: [...overlap.Statement, ...retired] };
    expect(admits(policy, pcrs({ 0: 0xaa }))).toBe(false);
    expect(admits(policy, pcrs({ 0: 0xbb }))).toBe(true);
  });

  test("between any sets: the overlap admits either, the cut and the final the new ones alone", () => {
    fc.assert(
      fc.property(anySets, anySets, anyDocument, (oldSets, newSets, document) => {
        const rotation = rotationOf(oldSets, newSets);
        fc.pre(rotation !== null);
        const [overlap, cut, final] = rotation?.steps.map(({ policy }) => admits(policy, document)) ?? [];
        const wanted = matchesSome(document, newSets);
        expect({ overlap, cut, final }).toEqual({
          overlap: wanted || matchesSome(document, oldSets),
          cut: wanted,
          final: wanted,
        });
      }),
      { numRuns: 1000 },
    );
  });

  test("from a signer's images to one image, the cut keeps the new image, which has the old signer too", () => {
    const old = { ...PRINCIPALS, pcrSets: [pcrs({ 8: 1, 3: 2 })] };
    const [, cut] = rotateKeyPolicy(old, NEW, KEY_ID).steps;
    expect(admits(cut.policy, pcrs({ 0: 0xbb, 8: 1, 3: 2 }))).toBe(true);
    expect(admits(cut.policy, pcrs({ 0: 0xaa, 8: 1, 3: 2 }))).toBe(false);
  });

  test("puts each policy by key id, and checks it first", () => {
    for (const { commands, fileName } of rotateKeyPolicy(ONE_IMAGE, NEW, KEY_ID).steps) {
      expect(commands[0]).toBe(`cloister kms-policy lint ${fileName}`);
      expect(commands[1]).toContain(`put-key-policy --key-id ${KEY_ID} --policy-name default`);
      expect(commands[1]).toContain(`file://${fileName}`);
    }
  });
});

describe("refuses", () => {
  test.each([
    ["the same measurements", ONE_IMAGE.pcrSets],
    ["no measurements", []],
    ["sets that admit the old image as well", [pcrs({ 0: 0xaa }), pcrs({ 0: 0xbb })]],
  ])("%s", (_what, sets) => {
    expect(() => rotateKeyPolicy(ONE_IMAGE, sets, KEY_ID)).toThrow(
      expect.objectContaining({ code: "NOTHING_TO_ROTATE" }),
    );
  });

  test.each(["alias/vault", "$(id)", ""])("the key id %j", (keyId) => {
    expect(() => rotateKeyPolicy(ONE_IMAGE, NEW, keyId)).toThrow(expect.objectContaining({ code: "INVALID_KEY_ID" }));
  });
});
