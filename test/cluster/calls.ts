import { setTimeout as wait } from 'node:timers/promises';
import { Agent, request } from 'undici';
import type { ClusterServer } from './cluster-server.ts';

export type Method = 'GET' | 'POST' | 'PATCH' | 'DELETE';

/** What a server answered; its fields are looked at as they are, since the API has its own tests. */
export type Answer = {
  readonly status: number;
  readonly body: Readonly<Record<string, unknown>>;
  /** When the request was begun, by `performance.now()`. */
  readonly startMs: number;
};

type Asked = {
  readonly body?: object;
  readonly apiKey?: string;
  /** What is no fault here, as where a backend is meant to fail. */
  readonly failsWith?: readonly number[];
};

/** An answer as a fault tells of it. */
export function shown(answer: Answer | undefined): string {
  return answer ? `${answer.status} ${JSON.stringify(answer.body)}` : 'no answer';
}

/** Longer than any answer takes: whoever waits so long was forgotten. */
const ANSWER_WITHIN_MS = 120_000;
/** What was begun so long before a server was told to stop has reached it. */
const REACHED_MS = 100;
/** A server that goes on is at work again after so long. */
const AWAKE_MS = 500;

/** Calls to any server, each of which is judged by its status: 5xx has to be explained by what was broken meanwhile. */
export class Calls {
  apiKey = '';
  /** Answers by their status. */
  readonly statuses: Record<number, number> = {};
  /** Answers that never came, because their server was told to end. */
  lost = 0;
  #isClosed = false;
  readonly #faults: string[];
  readonly #agent = new Agent({ connections: 128, keepAliveTimeout: 1_000, keepAliveMaxTimeout: 2_000 });
  /** When the database was away. */
  readonly #outages: { readonly fromMs: number; toMs: number }[] = [];

  constructor(faults: string[]) {
    this.#faults = faults;
  }

  /** From now on 503 is an answer, until what comes back is called. */
  outage(): () => void {
    const outage = { fromMs: performance.now(), toMs: Number.POSITIVE_INFINITY };
    this.#outages.push(outage);
    return () => (outage.toMs = performance.now());
  }

  /** Resolves when no server is down and no outage lasts. */
  async calm(servers: readonly ClusterServer[]): Promise<void> {
    while (
      servers.some(({ isDown, isPaused }) => isDown || isPaused) ||
      this.#outages.some(({ toMs }) => toMs === Number.POSITIVE_INFINITY)
    )
      await wait(50);
  }

  /** The answer; none where the server ended meanwhile, or does not run. */
  async ask(
    server: ClusterServer,
    method: Method,
    path: string,
    { body, apiKey = this.apiKey, failsWith = [] }: Asked = {},
  ): Promise<Answer | undefined> {
    const startMs = performance.now();
    const { ends, isDown } = server;
    try {
      const {
        statusCode,
        headers,
        body: answered,
      } = await request(`${server.url}/api/v1${path}`, {
        dispatcher: this.#agent,
        method,
        headers: {
          authorization: `Bearer ${apiKey}`,
          ...(body && { 'content-type': 'application/json' }),
        },
        ...(body && { body: JSON.stringify(body) }),
        headersTimeout: ANSWER_WITHIN_MS,
        bodyTimeout: ANSWER_WITHIN_MS,
      });
      // Every answer of the API is an object.
      const answer = (await answered.json()) as Answer['body'];
      this.statuses[statusCode] = (this.statuses[statusCode] ?? 0) + 1;
      if (statusCode >= 500 && !failsWith.includes(statusCode)) {
        const why = this.#unexplained(statusCode, answer, headers['retry-after'], server, startMs);
        if (why !== undefined)
          this.#faults.push(
            `${server.name}: ${method} ${path} answered ${statusCode}, ${why}: ${JSON.stringify(answer)}`,
          );
      }
      return { status: statusCode, body: answer, startMs };
    } catch (error) {
      // Whoever asks on until there is an answer would do so for ever.
      if (this.#isClosed) throw error;
      this.lost += 1;
      // One that stood still closes what was idle for too long, before it reads what came meanwhile.
      const stoodStill = server.isPaused || server.resumedAtMs > startMs - AWAKE_MS;
      if (!isDown && server.ends === ends && !stoodStill)
        this.#faults.push(`${server.name}: ${method} ${path} has no answer: ${String(error)}`);
      // One that is told to stop answers what it has accepted.
      else if (server.stoppedAtMs !== undefined && startMs < server.stoppedAtMs - REACHED_MS && !isDown)
        this.#faults.push(
          `${server.name}: ${method} ${path} was accepted before it stopped, and has no answer: ${String(error)}`,
        );
      return undefined;
    }
  }

  /** Whoever still waits for an answer, or asks from now on, is refused. */
  close(): Promise<void> {
    this.#isClosed = true;
    return this.#agent.close();
  }

  /** Why nothing explains it; undefined where something does. */
  #unexplained(
    status: number,
    { code, details }: Answer['body'],
    retryAfter: string | string[] | undefined,
    { isDown, isPaused, resumedAtMs }: ClusterServer,
    startMs: number,
  ): string | undefined {
    if (status === 503) {
      if (retryAfter === undefined) return 'without Retry-After';
      // One that is stopping says so to whoever comes late.
      if (isDown || this.#outages.some(({ toMs }) => toMs >= startMs)) return undefined;
      // The database ends the transaction of one that stands still in the midst of it.
      if (isPaused || resumedAtMs >= startMs) return undefined;
      return 'while nothing was away';
    }
    if (status === 504 && code === 'timeout') return undefined;
    // A keyed call of which nobody can know how it ended, by its server's end.
    if (status === 502 && (details as { readonly status?: unknown } | undefined)?.status === 'lost')
      return undefined;
    return 'which nothing explains';
  }
}
