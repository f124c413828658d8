/** fetch as a caller with little patience uses it, and a copy of all that came back. */
import { ANSWER_SIGNATURE_HEADER } from "../../../protocol/index.ts";

/** A caller that has waited this long asks again. */
const PATIENCE_MS = 1_200;

export interface HttpAnswer {
  readonly status: number;
  readonly signature: string | null;
  readonly body: Uint8Array;
  readonly headers: string;
}

export class ObservedFetch {
  readonly answers: HttpAnswer[] = [];
  /** What came back last for a request, by the id in its body. */
  readonly lastOf = new Map<string, HttpAnswer>();

  readonly fetch: typeof fetch = async (input, init) => {
    const response = await fetch(input, { ...init, signal: AbortSignal.timeout(PATIENCE_MS) });
    const body = new Uint8Array(await response.arrayBuffer());
    const answer: HttpAnswer = {
      status: response.status,
      signature: response.headers.get(ANSWER_SIGNATURE_HEADER),
      body,
      headers: JSON.stringify([...response.headers]),
    };
    this.answers.push(answer);
    const requestId = init?.body instanceof Uint8Array ? requestIdOf(init.body) : undefined;
    if (requestId !== undefined) this.lastOf.set(requestId, answer);
    return new Response(body, { status: response.status, headers: response.headers });
  };
}

/** None of a sealed request: from outside it cannot be told, and that is the point of it. */
function requestIdOf(body: Uint8Array): string | undefined {
  if (body[0] !== "{".charCodeAt(0)) return undefined;
  return (JSON.parse(Buffer.from(body).toString()) as { requestId?: string }).requestId;
}
