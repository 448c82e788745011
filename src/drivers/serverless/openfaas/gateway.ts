import { z } from 'zod';
import {
  bodyWithin,
  ConnectorError,
  isConnectorError,
  networkFailure,
  type Clock,
  type Fetcher,
} from '../../../driver.ts';
import type { Access, Grant } from './access.ts';
import { isOfTheFunction, refusalOf, type CallAnswer } from './answers.ts';
import type { Address } from './names.ts';
import type { OpenfaasOptions } from './options.ts';

/** Of a listing or a function's state. */
const MAX_ANSWER_BYTES = 16 * 2 ** 20;
/** Of an answer that says why not; a longer one is left unread. */
const MAX_REFUSAL_BYTES = 2 ** 20;

/** One call of a function. */
export type Call = {
  readonly route: 'function' | 'async-function';
  readonly address: Address;
  readonly headers: Readonly<Record<string, string>>;
  /** Whoever knows it may say how the call ended, so it is repeated nowhere. */
  readonly callbackUrl?: string;
  /** JSON text. */
  readonly body: string;
  readonly maxResultBytes: number;
};

type Query = Readonly<Record<string, string | undefined>>;

// `FunctionStatus` in https://github.com/openfaas/faas/blob/master/api-docs/spec.openapi.yml (read 2026-11-28)
const functionStatus = z.object({ availableReplicas: z.number().optional() });
export type FunctionStatus = z.output<typeof functionStatus>;

/** The gateway over the guarded network; no redirect is followed. */
export class Gateway {
  readonly #base: string;
  readonly #secrets: readonly string[];
  readonly #access: Access;
  readonly #fetcher: Fetcher;
  readonly #clock: Clock;

  constructor(options: OpenfaasOptions, access: Access, fetcher: Fetcher, clock: Clock) {
    const { api_key, client_secret, endpoint, password } = options;
    this.#base = endpoint.replace(/\/+$/, '');
    this.#secrets = [password, api_key, client_secret].filter((secret) => secret !== undefined);
    this.#access = access;
    this.#fetcher = fetcher;
    this.#clock = clock;
  }

  close(): Promise<void> {
    return this.#fetcher.close();
  }

  /** The whole answer to a call. A failure's body has no secret of ours in it. */
  async call(
    { route, address, headers, callbackUrl, body, maxResultBytes }: Call,
    signal: AbortSignal,
  ): Promise<CallAnswer> {
    const init = {
      method: 'POST',
      headers: {
        'content-type': 'application/json',
        ...headers,
        ...(callbackUrl !== undefined && { 'x-callback-url': callbackUrl }),
      },
      body,
      redirect: 'manual',
    } as const;
    const url = `${this.#base}/${route}/${address.path}`;
    const { response, grant } = await this.#send(url, init, () => this.#access.call(address, signal), signal);
    const { status, headers: answered } = response;
    if (status < 400)
      return { status, headers: answered, body: await bodyOf(response, maxResultBytes, signal) };
    const text = await this.#refusalIn(response, grant, callbackUrl, signal);
    return { status, headers: answered, body: new TextEncoder().encode(text) };
  }

  /** An answer of the API in its expected shape. */
  async read<Answer>(
    path: string,
    query: Query,
    answer: z.ZodType<Answer>,
    signal: AbortSignal,
  ): Promise<Answer> {
    const response = await this.open(path, query, signal);
    const parsed = answer.safeParse(json(await bodyOf(response, MAX_ANSWER_BYTES, signal)));
    if (parsed.success) return parsed.data;
    const [issue] = parsed.error.issues;
    throw new ConnectorError(
      'backend_error',
      `the answer is not one of OpenFaaS: ${issue?.path.join('.') || 'all of it'} ${issue?.message ?? ''}`,
      { cause: parsed.error },
    );
  }

  /** A success of the API, whose body has not been read. @throws ConnectorError for any other answer. */
  async open(path: string, query: Query, signal: AbortSignal): Promise<Response> {
    const given = new URLSearchParams();
    for (const [name, value] of Object.entries(query)) if (value !== undefined) given.set(name, value);
    const parameters = given.size === 0 ? '' : `?${given.toString()}`;
    const { response, grant } = await this.#send(
      `${this.#base}${path}${parameters}`,
      { method: 'GET', headers: { accept: 'application/json, application/x-ndjson' } },
      () => this.#access.api(signal),
      signal,
    );
    if (response.ok) return response;
    const text = await this.#refusalIn(response, grant, undefined, signal);
    throw refusalOf(response, text, this.#clock.now());
  }

  /** What the provider knows of a function; `undefined` where there is none. */
  async status({ name, namespace }: Address, signal: AbortSignal): Promise<FunctionStatus | undefined> {
    try {
      return await this.read(`/system/function/${name}`, { namespace }, functionStatus, signal);
    } catch (error) {
      if (isConnectorError(error) && error.code === 'not_found') return undefined;
      throw error;
    }
  }

  /** A token that was refused is fetched anew, once: no function has seen the request. */
  async #send(
    url: string,
    init: RequestInit,
    granted: () => Promise<Grant>,
    signal: AbortSignal,
  ): Promise<{ readonly response: Response; readonly grant: Grant }> {
    const first = await granted();
    const response = await this.#fetch(url, init, first, signal);
    const isRefused = response.status === 401 && !isOfTheFunction(response.headers);
    if (!isRefused || !first.drop()) return { response, grant: first };
    await response.body?.cancel();
    const second = await granted();
    return { response: await this.#fetch(url, init, second, signal), grant: second };
  }

  async #fetch(url: string, init: RequestInit, grant: Grant, signal: AbortSignal): Promise<Response> {
    const { authorization } = grant;
    // Only plain records of headers are made above.
    const headers = { ...(init.headers as Record<string, string>), ...(authorization && { authorization }) };
    try {
      return await this.#fetcher.fetch(url, { ...init, headers, signal });
    } catch (error) {
      throw isConnectorError(error) ? error : networkFailure(error, signal);
    }
  }

  /**
   * What a failure says, without our secrets, and nothing where it is a page for people. The watchdog repeats a token that it does not take (`invalid JWT token: …`,
   * https://github.com/openfaas/of-watchdog/blob/master/executor/jwt_authenticator.go, read 2026-11-28).
   */
  async #refusalIn(
    response: Response,
    { authorization }: Grant,
    callbackUrl: string | undefined,
    signal: AbortSignal,
  ): Promise<string> {
    const text = await bodyOf(response, MAX_REFUSAL_BYTES, signal).then(
      (bytes) => new TextDecoder().decode(bytes),
      nothingOfTooMuch,
    );
    if (text.trimStart().startsWith('<')) return '';
    const sent = [authorization?.replace(/^\w+ /, ''), callbackUrl].filter((one) => one !== undefined);
    return [...this.#secrets, ...sent].reduce((shown, secret) => shown.replaceAll(secret, '***'), text);
  }
}

/** The body; a connection that is cut in it is an error of ours. */
export async function bodyOf(response: Response, maxBytes: number, signal: AbortSignal): Promise<Uint8Array> {
  try {
    return await bodyWithin(response, maxBytes);
  } catch (error) {
    throw isConnectorError(error) ? error : networkFailure(error, signal);
  }
}

function nothingOfTooMuch(error: unknown): string {
  if (isConnectorError(error) && error.code === 'payload_too_large') return '';
  throw error;
}

function json(bytes: Uint8Array): unknown {
  try {
    return JSON.parse(new TextDecoder().decode(bytes)) as unknown;
  } catch {
    return undefined;
  }
}
