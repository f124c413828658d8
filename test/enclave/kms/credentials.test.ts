import { duplexPair } from "node:stream";
import { expect, test } from "vitest";
import { ParentCredentials } from "../../../enclave/kms/credentials.ts";
import {
  CREDENTIALS_PORT,
  type CredentialsAnswer,
  type CredentialsCall,
  credentialsCall,
} from "../../../protocol/index.ts";
import { serveCalls, type Vsock, VsockError, type WithoutId } from "../../../vsock/index.ts";

const CREDENTIALS = {
  accessKeyId: "AKIDEXAMPLE",
  secretAccessKey: "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY",
  sessionToken: "token",
  expiresAtMs: 1_790_000_000_000,
} as const;

function parentAnswering(answer: () => WithoutId<CredentialsAnswer>, ports: number[] = []): Vsock {
  return {
    async connect(port) {
      ports.push(port);
      const [theirs, ours] = duplexPair();
      serveCalls<CredentialsCall, CredentialsAnswer>(ours, {
        call: credentialsCall,
        handle: async () => answer(),
        // A pair does not pass on that one end was destroyed, as a socket does.
        onClose: () => theirs.destroy(),
      });
      return theirs;
    },
    listen: () => Promise.reject(new VsockError("PORT_IN_USE", "not listened to")),
    close: async () => {},
  };
}

test("the parent's credentials are passed on, fresh at each call", async () => {
  const ports: number[] = [];
  let calls = 0;
  const parent = parentAnswering(() => {
    calls += 1;
    return { kind: "credentials", ...CREDENTIALS, accessKeyId: `AKID${calls}` };
  }, ports);
  const credentials = new ParentCredentials(parent);
  expect(await credentials.get()).toMatchObject({ ...CREDENTIALS, accessKeyId: "AKID1" });
  expect(await credentials.get()).toMatchObject({ ...CREDENTIALS, accessKeyId: "AKID2" });
  expect(ports).toEqual([CREDENTIALS_PORT]);
});

test.each<[string, Vsock]>([
  ["has none", parentAnswering(() => ({ kind: "failed" }))],
  ["answers with something else", parentAnswering(() => ({ kind: "credentials", accessKeyId: 7 }) as never)],
  [
    "breaks the stream",
    parentAnswering(() => {
      throw new Error("broken");
    }),
  ],
  [
    "does not listen",
    {
      ...parentAnswering(() => ({ kind: "failed" })),
      connect: () => Promise.reject(new VsockError("CONNECT_REFUSED", "no")),
    },
  ],
])("CREDENTIALS_UNAVAILABLE, worth another try, where the parent %s", async (_what, parent) => {
  await expect(new ParentCredentials(parent).get()).rejects.toMatchObject({
    code: "CREDENTIALS_UNAVAILABLE",
    isWorthRetrying: true,
  });
});

test("CREDENTIALS_UNAVAILABLE once it is closed", async () => {
  const credentials = new ParentCredentials(parentAnswering(() => ({ kind: "credentials", ...CREDENTIALS })));
  await credentials.get();
  credentials.close();
  await expect(credentials.get()).rejects.toMatchObject({ code: "CREDENTIALS_UNAVAILABLE" });
});
