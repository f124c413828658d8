/**
 * What a smart account is made to call, where its calldata is one of the usual forms: `execute` and `executeBatch` of
 * eth-infinitism's SimpleAccount in each version, and ERC-7579's `execute`. By the calldata alone: what the account makes
 * of it is between it and whoever named it in a policy.
 */
import type { EvmCall } from "../../policy/facts.ts";
import { checksummed } from "../ethereum-address.ts";
import { type AbiValue, decodeCall, decodeParameters, knownSignature } from "./abi.ts";

const EXECUTE = knownSignature("execute(address,uint256,bytes)");
const EXECUTE_BATCH_0_6 = knownSignature("executeBatch(address[],bytes[])");
const EXECUTE_BATCH_0_7 = knownSignature("executeBatch(address[],uint256[],bytes[])");
const EXECUTE_BATCH_0_8 = knownSignature("executeBatch((address,uint256,bytes)[])");
const EXECUTE_7579 = knownSignature("execute(bytes32,bytes)");
const EXECUTION = knownSignature("execution((address,uint256,bytes)[])");

/** ERC-7579's modes: a call or a batch of calls, after it whether one that fails ends them all, and then what else it means. */
const [SINGLE, BATCH] = [0x00, 0x01];
const [REVERT, TRY] = [0x00, 0x01];

/** ERC-7821 reads it as the account itself. */
const NOBODY = checksummed(new Uint8Array(20));

/**
 * Null where it is of none of these forms, and where the account calls itself: what it then makes of that is not seen.
 *
 * @param account - The smart account, EIP-55.
 */
export function accountCallsOf(account: string, callData: Uint8Array): readonly EvmCall[] | null {
  const calls = readCalls(callData);
  const isOfItself = calls?.some(({ to, data }) => (to === account || to === NOBODY) && data.length > 0) === true;
  return isOfItself ? null : calls;
}

function readCalls(callData: Uint8Array): readonly EvmCall[] | null {
  const single = decodeCall(EXECUTE, callData);
  if (single !== null) return callsOf([single]);
  const tuples = decodeCall(EXECUTE_BATCH_0_8, callData);
  if (tuples !== null) return callsOf(tuples[0]);
  const [targets, values, datas] = decodeCall(EXECUTE_BATCH_0_7, callData) ?? [];
  if (targets !== undefined) return zipped(targets, values, datas);
  const [targetsAlone, datasAlone] = decodeCall(EXECUTE_BATCH_0_6, callData) ?? [];
  if (targetsAlone !== undefined) return zipped(targetsAlone, [], datasAlone);
  const [mode, execution] = decodeCall(EXECUTE_7579, callData) ?? [];
  if (mode instanceof Uint8Array && execution instanceof Uint8Array) return executionOf(mode, execution);
  return null;
}

/** Values may be left out altogether: SimpleAccount takes that for zero each. */
function zipped(targets: Value, values: Value, datas: Value): readonly EvmCall[] | null {
  if (!Array.isArray(targets) || !Array.isArray(values) || !Array.isArray(datas)) return null;
  if (targets.length !== datas.length || (values.length > 0 && values.length !== targets.length)) return null;
  return callsOf(targets.map((target: AbiValue, at) => [target, values[at] ?? 0n, datas[at]]));
}

function executionOf(mode: Uint8Array, execution: Uint8Array): readonly EvmCall[] | null {
  const [callType, execType, ...more] = mode;
  if (execType !== REVERT && execType !== TRY) return null;
  // Of another mode of its own, such as ERC-7821's batches of batches, the same bytes may say something else.
  if (more.some((byte) => byte !== 0)) return null;
  if (callType === BATCH) return callsOf(decodeParameters(EXECUTION.parameters, execution)?.[0]);
  if (callType !== SINGLE || execution.length < 52) return null;
  const valueWei = BigInt(`0x${Buffer.from(execution.subarray(20, 52)).toString("hex")}`);
  return [{ to: checksummed(execution.subarray(0, 20)), valueWei, data: Uint8Array.from(execution.subarray(52)) }];
}

type Value = AbiValue | undefined;

function callsOf(tuples: Value): readonly EvmCall[] | null {
  if (!Array.isArray(tuples)) return null;
  const calls: EvmCall[] = [];
  for (const tuple of tuples as readonly AbiValue[]) {
    const [to, valueWei, data] = Array.isArray(tuple) ? (tuple as readonly AbiValue[]) : [];
    if (typeof to !== "string" || typeof valueWei !== "bigint" || !(data instanceof Uint8Array)) return null;
    calls.push({ to, valueWei, data });
  }
  return calls;
}
