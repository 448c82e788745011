import { randomUUID } from 'node:crypto';
import {
  ConnectorError,
  httpFailure,
  httpOutcome,
  invocationHeaders,
  isConnectorError,
  parseRetryAfter,
  reach,
  withinTime,
  type Agents,
  type ClientInvocation,
  type FunctionInfo,
  type HttpAnswer,
  type InvocationOutcome,
  type JsonValue,
  type Note,
  type OpenContext,
  type ServerlessClient,
  type Target,
} from '../../../driver.ts';
import { addressesOf, healthOf, isClear, targetsOf, type Address } from './addresses.ts';
import { authOf, withoutSecrets, type Auth } from './auth.ts';
import { exchange } from './exchange.ts';
import { waysOf, type HttpOptions } from './options.ts';
import { signer } from './signature.ts';

/** Of a payload, and of a result: what AWS Lambda takes, so that a function can move there and back. */
export const MAX_BYTES = 6 * 2 ** 20;
/** As many as a process calls at once. */
const CONNECTIONS = 64;
const MAX_HEALTH_BYTES = 65_536;
/** Well within the five minutes that a signature is good for. */
const MAX_SKEW_MS = 60_000;

/** Opens the functions of one connector, stage by stage. */
export async function openHttp(options: HttpOptions, context: OpenContext): Promise<ServerlessClient> {
  const functions = addressesOf(options);
  const health = healthOf(options);
  const targets = targetsOf([...(health ? [health] : []), ...functions.values()], options.ca);
  const auth = authOf(options, context);
  const agents = context.network.agents({ ca: options.ca, connections: CONNECTIONS });
  const client = new HttpFunctions({ options, context, functions, health, targets, auth, agents });
  try {
    // The first stands for all: functions at other hosts go on where one of them is down.
    if (targets[0]) await reach(context, targets[0]);
    await context.stage('credentials', () => client.prove(context.signal));
    return client;
  } catch (error) {
    await client.close();
    throw error;
  }
}

type Parts = {
  readonly options: HttpOptions;
  readonly context: OpenContext;
  readonly functions: ReadonlyMap<string, Address>;
  readonly health: Address | undefined;
  readonly targets: readonly Target[];
  readonly auth: Auth;
  readonly agents: Agents;
};

class HttpFunctions implements ServerlessClient {
  readonly #parts: Parts;
  readonly #sign: ReturnType<typeof signer>;

  constructor(parts: Parts) {
    const { signing_secret, signing_secret_previous } = parts.options;
    this.#parts = parts;
    this.#sign = signer([signing_secret, signing_secret_previous].filter((secret) => secret !== undefined));
  }

  async invoke(
    name: string,
    payload: JsonValue,
    invocation: ClientInvocation,
    signal: AbortSignal,
  ): Promise<InvocationOutcome> {
    const { functions, options, context } = this.#parts;
    const address = functions.get(name);
    if (address === undefined) throw new ConnectorError('not_found', `there is no function ${name}`);
    const call = { method: options.method, body: JSON.stringify(payload), requestId: invocation.requestId };
    return withinTime(name, invocation, { clock: context.clock, signal }, async (signal) => {
      const answer = await this.#send(address, call, { maxBytes: MAX_BYTES, signal });
      return httpOutcome(name, answer, context.clock.now());
    });
  }

  async listFunctions(): Promise<readonly FunctionInfo[]> {
    return [...this.#parts.functions.keys()].map((name) => ({ name }));
  }

  async check(signal: AbortSignal): Promise<readonly Note[]> {
    const { options, functions, health } = this.#parts;
    const hasCredentials = waysOf(options).length > 0;
    const notes: Note[] = [...(await this.prove(signal))];
    if (hasCredentials && [...functions.values()].some(isClear))
      notes.push({ level: 'warn', message: 'the credentials are sent in clear; use addresses with https' });
    return health === undefined ? [...notes, ...(await this.#connected(signal))] : notes;
  }

  async close(): Promise<void> {
    this.#parts.agents.close();
    await this.#parts.auth.close();
  }

  /** Fetches a token where there are any, and asks the health path where there is one. */
  async prove(signal: AbortSignal): Promise<readonly Note[]> {
    const { auth, health, context } = this.#parts;
    await auth.headers(signal);
    if (health === undefined) return [];
    const call = { method: 'GET', body: '', requestId: randomUUID() };
    const answer = await this.#send(health, call, { maxBytes: MAX_HEALTH_BYTES, signal });
    if (answer.status < 200 || answer.status > 299) throw unhealthy(answer, context.clock.now());
    return this.#sign === undefined ? [] : skewNotes(answer, context.clock.now());
  }

  async #send(
    address: Address,
    {
      method,
      body,
      requestId,
    }: { readonly method: string; readonly body: string; readonly requestId: string },
    limits: { readonly maxBytes: number; readonly signal: AbortSignal },
  ): Promise<HttpAnswer> {
    const { agents, auth, options, context } = this.#parts;
    const credentials = await auth.headers(limits.signal);
    const signed = this.#sign?.({ requestId, method, path: address.path, body }, context.clock.now());
    const headers = { ...options.headers, ...invocationHeaders({ requestId }), ...credentials, ...signed };
    const answer = await exchange(agents, address, { method, headers, body }, limits);
    if (answer.status === 401) auth.refused(credentials);
    return answer.status < 400 ? answer : withoutSecrets(answer, options, credentials);
  }

  /** Which hosts cannot be reached; one that is, is proof enough. */
  async #connected(signal: AbortSignal): Promise<readonly Note[]> {
    const { context, targets } = this.#parts;
    const quiet: OpenContext = { ...context, signal, stage: (_name, step) => step() };
    const tried = await Promise.allSettled(targets.map((target) => reach(quiet, target)));
    const failures = tried.flatMap((one) => (one.status === 'rejected' ? [one.reason as unknown] : []));
    if (failures.length === targets.length && failures.length > 0) throw failures[0];
    return tried.flatMap((one, at) =>
      one.status === 'rejected'
        ? [
            {
              level: 'warn',
              message: `${targets[at]?.host} cannot be reached: ${codeOf(one.reason)}`,
            } as const,
          ]
        : [],
    );
  }
}

function codeOf(error: unknown): string {
  return isConnectorError(error) ? error.code : 'internal';
}

function unhealthy({ status, headers }: HttpAnswer, nowMs: number): ConnectorError {
  const retryAfterMs = parseRetryAfter(headers.get('retry-after'), nowMs);
  const { code } = httpFailure({ status });
  const known =
    status === 403
      ? 'auth_failed'
      : /^(?:auth_failed|rate_limited|unavailable|timeout)$/.test(code)
        ? code
        : 'backend_error';
  return new ConnectorError(known, `the health path answered ${status}`, {
    details: { backend_status: status },
    ...(retryAfterMs !== undefined && { retryAfterMs }),
  });
}

function skewNotes({ headers }: HttpAnswer, nowMs: number): readonly Note[] {
  const skewMs = nowMs - Date.parse(headers.get('date') ?? '');
  if (!(Math.abs(skewMs) > MAX_SKEW_MS)) return [];
  const seconds = Math.round(Math.abs(skewMs) / 1000);
  const message = `this host’s clock is ${seconds} s ${skewMs > 0 ? 'ahead of' : 'behind'} the endpoint’s, which may refuse signed calls`;
  return [{ level: 'warn', message }];
}
