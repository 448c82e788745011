import { setTimeout as wait } from 'node:timers/promises';
import type { InvocationStatus } from '../../src/connectors/serverless/invocations.ts';
import type { KilledServer } from './killed-server.ts';

/** What the client asked for, and what it was told of it. */
export type Call = {
  /** In the payload; no two calls have the same. */
  readonly id: string;
  readonly connectorId: string;
  readonly functionName: string;
  /** Sent again with the same one until there is an answer. */
  readonly key: string | undefined;
  /** Every request id that an answer gave it; one, or none where the only answer was lost. */
  readonly requestIds: Set<string>;
  /** Its end, as soon as an answer told one. */
  seen: { readonly status: InvocationStatus; readonly result: unknown } | undefined;
  cancelAsked: boolean;
};

export type ClientOptions = {
  readonly server: KilledServer;
  readonly apiKey: string;
  /** Which functions there are, and how often each is called. */
  readonly functions: readonly {
    readonly connectorId: string;
    readonly functionName: string;
    readonly share: number;
    /** What the payload holds besides its id. */
    readonly payload?: (key: string | undefined) => object;
  }[];
};

const LANES = 12;
const MAX_PAUSE_MS = 30;
/** Longer than any answer takes: whoever waits so long was forgotten. */
const ANSWER_WITHIN_MS = 90_000;

type Told = {
  readonly request_id?: string;
  /** Of an invocation; of a problem it is that of HTTP. */
  readonly status?: InvocationStatus;
  readonly result?: unknown;
  readonly code?: string;
  readonly detail?: string;
  readonly details?: { readonly requestId?: string; readonly status?: InvocationStatus };
};

/** Invokes functions in every way for as long as it is let, whatever becomes of the server. */
export class InvocationClient {
  readonly calls: Call[] = [];
  readonly faults: string[] = [];
  /** Answers that never came, because the server was killed. */
  lostAnswers = 0;
  readonly #options: ClientOptions;
  readonly #stopping = new AbortController();
  #running: Promise<unknown> = Promise.resolve();

  constructor(options: ClientOptions) {
    this.#options = options;
  }

  start(): void {
    this.#running = Promise.all(Array.from({ length: LANES }, () => this.#lane()));
    // Whoever stops it hears of it.
    this.#running.catch(() => {});
  }

  /** Begins nothing more, and resolves when everything that was begun is answered. */
  async stop(): Promise<void> {
    this.#stopping.abort();
    await this.#running;
  }

  async #lane(): Promise<void> {
    while (!this.#stopping.signal.aborted) {
      await this.#one();
      await wait(Math.random() * MAX_PAUSE_MS);
    }
  }

  async #one(): Promise<void> {
    const { connectorId, functionName, payload } = this.#pick();
    const way = Math.random();
    const id = `${this.calls.length}`;
    const call: Call = {
      ...{ id, connectorId, functionName, requestIds: new Set(), seen: undefined, cancelAsked: false },
      key: way < 0.4 ? undefined : `key-${id}`,
    };
    this.calls.push(call);
    const sent = { payload: { id, ...payload?.(call.key) }, async: way < 0.8 };
    // Some callers send the same twice at once, and some again when they have their answer.
    const invoke = () => this.#invoke(call, sent);
    await (call.key !== undefined && chance(0.1) ? Promise.all([invoke(), invoke()]) : invoke());
    // Some that have ended, and are known to have, are cancelled as well.
    if (sent.async && chance(0.3)) await this.#look(call);
    if (sent.async && chance(0.08)) await this.#cancel(call);
    if (call.key !== undefined && chance(0.1)) await invoke();
  }

  #pick(): ClientOptions['functions'][number] {
    const { functions } = this.#options;
    let at = Math.random() * functions.reduce((sum, { share }) => sum + share, 0);
    const found = functions.find(({ share }) => (at -= share) < 0) ?? functions[0];
    if (found) return found;
    throw new Error('there are no functions');
  }

  async #invoke(call: Call, body: { readonly payload: unknown; readonly async: boolean }): Promise<void> {
    const { connectorId, functionName, key } = call;
    const path = `/connectors/${connectorId}/functions/${functionName}/invocations`;
    const told = await this.#ask(call, 'POST', path, { ...body, idempotency_key: key }, key !== undefined);
    if (!told) return;
    const { request_id: requestId = told.details?.requestId } = told;
    if (requestId !== undefined) call.requestIds.add(requestId);
    // Whoever waits for an answer of the function is told as a problem that there is none.
    const isCancelled = told.code === 'cancelled' && call.cancelAsked;
    if (told.code === undefined) this.#saw(call, told.status, told.result);
    else if (told.code === 'backend_error' && told.details?.status === 'lost')
      this.#saw(call, 'lost', undefined);
    else if (!isCancelled) {
      this.faults.push(`${call.id} (${functionName}): refused as ${told.code}: ${told.detail}`);
    }
  }

  async #cancel(call: Call): Promise<void> {
    const [requestId] = call.requestIds;
    if (requestId === undefined) return;
    await wait(Math.random() * 100);
    call.cancelAsked = true;
    const path = `/connectors/${call.connectorId}/invocations/${requestId}/cancel`;
    this.#told(call, await this.#ask(call, 'POST', path, undefined, true));
    if (!call.seen) this.faults.push(`${call.id}: not ended by being cancelled`);
  }

  async #look(call: Call): Promise<void> {
    const [requestId] = call.requestIds;
    if (requestId === undefined) return;
    const seconds = chance(0.5) ? 0 : 1;
    const path = `/connectors/${call.connectorId}/invocations/${requestId}?wait=${seconds}`;
    this.#told(call, await this.#ask(call, 'GET', path, undefined, true));
  }

  #told(call: Call, told: Told | undefined): void {
    if (told?.code === undefined) this.#saw(call, told?.status, told?.result);
    else this.faults.push(`${call.id}: acknowledged, and then ${told.code}: ${told.detail}`);
  }

  #saw(call: Call, status: InvocationStatus | undefined, result: unknown): void {
    if (status === undefined || status === 'queued' || status === 'running') {
      if (call.seen) this.faults.push(`${call.id}: ${call.seen.status} and then ${status}`);
      return;
    }
    if (call.seen && call.seen.status !== status)
      this.faults.push(`${call.id}: ${call.seen.status} and then ${status}`);
    call.seen ??= { status, result };
  }

  /** The answer; where it is lost, that of a repetition, or none where there may be none. */
  async #ask(
    { id }: Call,
    method: string,
    path: string,
    body: object | undefined,
    mayRepeat: boolean,
  ): Promise<Told | undefined> {
    const { server, apiKey } = this.#options;
    for (;;) {
      const url = await server.url;
      const { kills } = server;
      try {
        const answer = await fetch(`${url}/api/v1${path}`, {
          method,
          headers: {
            authorization: `Bearer ${apiKey}`,
            ...(body && { 'content-type': 'application/json' }),
          },
          ...(body && { body: JSON.stringify(body) }),
          signal: AbortSignal.timeout(ANSWER_WITHIN_MS),
        });
        // Checked by what is looked at: the server's answers have their own tests.
        return (await answer.json()) as Told;
      } catch (error) {
        this.lostAnswers += 1;
        if (server.kills === kills) {
          this.faults.push(`${id}: ${method} ${path} has no answer: ${String(error)}`);
          return undefined;
        }
        if (!mayRepeat) return undefined;
      }
    }
  }
}

function chance(share: number): boolean {
  return Math.random() < share;
}
