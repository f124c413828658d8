/**
 * How many entries every map, set and list has that an object holds, however deep and however private: found by the engine's
 * own inspector, so that a cache which somebody adds tomorrow is counted without being named here.
 */
import { type Runtime, Session } from "node:inspector";

/** Deep enough for handler, services, service, cache, entries; and no more than so many objects. */
const MAX_DEPTH = 7;
const MAX_OBJECTS = 2_000;

/** What it is called from there on, without what every name begins with. */
const COMMON = /^(?:#options\.)?(?:services\.)?/;

interface Property {
  readonly name: string;
  readonly value?: Runtime.RemoteObject | undefined;
}

export function censusOf(root: object): ReadonlyMap<string, number> {
  const session = new Session();
  session.connect();
  const sizes = new Map<string, number>();
  const shared = globalThis as { soakRoot?: object | undefined; soakSeen?: WeakSet<object> | undefined };
  shared.soakRoot = root;
  shared.soakSeen = new WeakSet();
  try {
    const { result } = post<Runtime.EvaluateReturnType>(session, "Runtime.evaluate", {
      expression: "soakRoot",
      objectGroup: "soak",
    });
    const queue = [{ path: "", object: result, depth: 0 }];
    for (let visited = 0; visited < MAX_OBJECTS; visited += 1) {
      const next = queue.shift();
      if (next === undefined) break;
      for (const { name, value } of propertiesOf(session, next.object)) {
        if (value?.objectId === undefined || value.type !== "object") continue;
        const path = next.path === "" ? name : `${next.path}.${name}`;
        const size = /^(?:Map|Set|Array)\((\d+)\)$/.exec(value.description ?? "")?.[1];
        if (size !== undefined) {
          if (isNew(session, value)) sizes.set(path.replace(COMMON, ""), Number(size));
        } else if (value.subtype === undefined && next.depth < MAX_DEPTH && isNew(session, value)) {
          queue.push({ path, object: value, depth: next.depth + 1 });
        }
      }
    }
    return sizes;
  } finally {
    post(session, "Runtime.releaseObjectGroup", { objectGroup: "soak" });
    shared.soakRoot = undefined;
    shared.soakSeen = undefined;
    session.disconnect();
  }
}

/** Of our own classes, which have private ones, and of plain objects; not of Node's. */
function propertiesOf(session: Session, { objectId, className }: Runtime.RemoteObject): readonly Property[] {
  const { result, privateProperties = [] } = post<
    Runtime.GetPropertiesReturnType & { readonly privateProperties?: readonly Property[] }
  >(session, "Runtime.getProperties", { objectId, ownProperties: true });
  if (privateProperties.length === 0 && className !== "Object") return [];
  return [...privateProperties, ...result.filter(({ enumerable }) => enumerable)];
}

function isNew(session: Session, { objectId }: Runtime.RemoteObject): boolean {
  const { result } = post<Runtime.CallFunctionOnReturnType>(session, "Runtime.callFunctionOn", {
    objectId,
    functionDeclaration:
      "function () { const isNew = !globalThis.soakSeen.has(this); globalThis.soakSeen.add(this); return isNew; }",
    returnByValue: true,
  });
  return result.value === true;
}

/** The inspector of one's own process answers before `post` returns. */
function post<Answer>(session: Session, method: string, params: object): Answer {
  let answer: Answer | undefined;
  let failure: Error | null = null;
  session.post(method, params, (error: Error | null, result?: object) => {
    failure = error;
    answer = result as Answer;
  });
  if (failure !== null) throw failure;
  return answer as Answer;
}
