import type { GoogleTokens } from '../../../clouds/gcp/google-tokens.ts';
import {
  type ClientInvocation,
  ConnectorError,
  type Fetcher,
  type FunctionInfo,
  type HttpAnswer,
  httpAnswer,
  httpOutcome,
  type InvocationOutcome,
  isConnectorError,
  type JsonValue,
  networkFailure,
  unsent,
  type Note,
  type OpenContext,
  type ServerlessClient,
  withinTime,
} from '../../../driver.ts';
import type { Place, Places } from './places.ts';
import { requestOf } from './request.ts';
import type { RunApi } from './run-api.ts';

/**
 * Bytes of a payload, and of a result. A request has 32 MB at most, and an answer that is not streamed, too:
 * https://cloud.google.com/functions/quotas (read 2026-11-28). The rest is for what stands around them.
 */
export const MAX_BYTES = 31_900_000;
const MAX_MESSAGE = 4_000;

export type ClientParts = {
  readonly fetcher: Fetcher;
  readonly google: GoogleTokens;
  readonly places: Places;
  readonly api: RunApi | undefined;
  readonly context: Pick<OpenContext, 'clock' | 'connectorId'>;
  readonly check: (signal: AbortSignal) => Promise<readonly Note[]>;
  readonly close: () => Promise<void>;
};

/** Functions behind HTTP at Google, each call with an ID token for the function alone. */
export class GcpFunctionsClient implements ServerlessClient {
  readonly #parts: ClientParts;

  constructor(parts: ClientParts) {
    this.#parts = parts;
  }

  check(signal: AbortSignal): Promise<readonly Note[]> {
    return this.#parts.check(signal);
  }

  close(): Promise<void> {
    return this.#parts.close();
  }

  invoke(
    name: string,
    payload: JsonValue,
    invocation: ClientInvocation,
    signal: AbortSignal,
  ): Promise<InvocationOutcome> {
    const { clock } = this.#parts.context;
    return withinTime(name, invocation, { clock, signal }, (limited) =>
      this.#call(name, payload, invocation, limited),
    );
  }

  async listFunctions(signal: AbortSignal): Promise<readonly FunctionInfo[]> {
    const { places, api } = this.#parts;
    if (api === undefined) {
      if (places.named.length > 0) return places.named;
      throw new ConnectorError('unsupported', 'an endpoint lists no functions; name them in functions', {
        details: { capability: 'list' },
      });
    }
    const listed = await api.list(signal);
    const names = new Set(listed.map(({ name }) => name));
    return [...listed, ...places.named.filter(({ name }) => !names.has(name))];
  }

  async #call(
    name: string,
    payload: JsonValue,
    invocation: ClientInvocation,
    signal: AbortSignal,
  ): Promise<InvocationOutcome> {
    const { places, google, context } = this.#parts;
    const { clock } = context;
    const place = await beforeTheCall(() => places.of(name, signal));
    const tokens = google.of({ audience: place.audience });
    const token = await beforeTheCall(() => tokens.current(signal));
    const startedMs = clock.monotonicMs();
    const answer = await this.#post(place, payload, { invocation, token, signal });
    if (answer.status === 401 && token !== undefined) tokens.forget(token);
    if (answer.status === 404) places.forget(name);
    const outcome = thrown(answer) ?? httpOutcome(name, answer, clock.now());
    return { ...outcome, durationMs: clock.monotonicMs() - startedMs };
  }

  async #post(
    place: Place,
    payload: JsonValue,
    {
      invocation,
      token,
      signal,
    }: {
      readonly invocation: ClientInvocation;
      readonly token: string | undefined;
      readonly signal: AbortSignal;
    },
  ): Promise<HttpAnswer> {
    const { fetcher, context } = this.#parts;
    const { headers, body } = requestOf(place, payload, invocation, context.connectorId);
    try {
      const response = await fetcher.fetch(place.url, {
        method: 'POST',
        headers: { ...headers, ...(token !== undefined && { authorization: `Bearer ${token}` }) },
        body,
        signal,
        redirect: 'manual',
      });
      const answer = await httpAnswer(response, MAX_BYTES);
      const isFailure = !response.ok && token !== undefined;
      return isFailure ? { ...answer, body: without(answer.body, token) } : answer;
    } catch (error) {
      throw isConnectorError(error) ? error : networkFailure(error, signal);
    }
  }
}

/**
 * What a function threw, as the Functions Framework answers it: the header says that it was the function, and the body is
 * the message alone, or `Internal Server Error` where NODE_ENV is production.
 *
 * `sendCrashResponse` of @google-cloud/functions-framework 5.0.5
 */
function thrown({ status, headers, body }: HttpAnswer): InvocationOutcome | undefined {
  if (status < 400 || !/^(?:crash|error)$/.test(headers.get('x-google-status') ?? '')) return undefined;
  const text = new TextDecoder().decode(body).slice(0, MAX_MESSAGE);
  return { status: 'failed', error: { name: 'Error', message: text || `answered ${status}` } };
}

/** Whoever echoes a request in a failure echoes the token, too. */
function without(bytes: Uint8Array, token: string): Uint8Array {
  const text = Buffer.from(bytes).toString('latin1');
  return text.includes(token) ? Buffer.from(text.replaceAll(token, '***'), 'latin1') : bytes;
}

/** What goes wrong here goes wrong before the function is asked for anything, so that the call may be made again. */
async function beforeTheCall<T>(task: () => Promise<T>): Promise<T> {
  try {
    return await task();
  } catch (error) {
    throw isConnectorError(error) ? unsent(error) : error;
  }
}
