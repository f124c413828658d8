/** Which condition keys the simulator knows, so that the absence of one says something. */

/** Filled whenever a request has them; else they are absent at AWS too. */
const KNOWN_KEYS: ReadonlySet<string> = new Set([
  "aws:multifactorauthpresent",
  "aws:principalaccount",
  "aws:principalarn",
  "aws:principalisawsservice",
  "aws:principaltype",
  "aws:resourceaccount",
  "aws:securetransport",
  "aws:tagkeys",
  "aws:username",
  "aws:viaawsservice",
  "kms:bypasspolicylockoutsafetycheck",
  "kms:calleraccount",
  "kms:encryptioncontextkeys",
  "kms:grantconstrainttype",
  "kms:grantisforawsresource",
  "kms:recipientattestation:imagesha384",
  "kms:requestalias",
  "kms:resourcealiases",
  "kms:retiringprincipal",
  "kms:rotationperiodindays",
  "kms:schedulekeydeletionpendingwindowindays",
  "kms:viaservice",
  ...["customermasterkeyspec", "customermasterkeyusage", "keyspec", "keyusage", "keyorigin"].map((key) => `kms:${key}`),
  ...["multiregion", "multiregionkeytype", "primaryregion"].map((key) => `kms:${key}`),
]);

const ENCRYPTION_OPERATION = /^(encrypt|decrypt|reencrypt(from|to)|generatedatakey(pair)?(withoutplaintext)?)$/i;

/** Whether `kms:EncryptionAlgorithm` is part of the requests of an operation. */
export function takesEncryptionAlgorithm(operation: string): boolean {
  return ENCRYPTION_OPERATION.test(operation);
}

/** Part of every request of these operations: where one is missing, the question was incomplete. */
const ALWAYS_THERE: ReadonlyMap<string, RegExp> = new Map([
  ["kms:encryptionalgorithm", ENCRYPTION_OPERATION],
  ["kms:datakeypairspec", /^generatedatakeypair(withoutplaintext)?$/i],
  ["kms:keyagreementalgorithm", /^derivesharedsecret$/i],
  ["kms:signingalgorithm", /^sign$/i],
  ["kms:messagetype", /^sign$/i],
  ["kms:reencryptonsamekey", /^reencrypt(from|to)$/i],
  ["kms:grantoperations", /^creategrant$/i],
  ["kms:granteeprincipal", /^creategrant$/i],
]);

const PREFIXES = /^(kms:encryptioncontext:|aws:requesttag\/|aws:resourcetag\/|aws:principaltag\/)./s;

/**
 * Whether a key that is not in a request is truly absent from it. `aws:CurrentTime` and `aws:SourceIp` are in every
 * request over the wire, so their absence only means that nobody said.
 *
 * @param name - In lower case.
 * @param action - Such as `kms:Decrypt`.
 */
export function absenceIsCertain(name: string, action: string): boolean {
  const pcr = /^kms:recipientattestation:pcr(0|[1-9][0-9]?)$/.exec(name)?.[1];
  if (pcr !== undefined) return Number(pcr) <= 31;
  const everyRequestOf = ALWAYS_THERE.get(name);
  if (everyRequestOf !== undefined) return !everyRequestOf.test(action.slice("kms:".length));
  return KNOWN_KEYS.has(name) || PREFIXES.test(name);
}
