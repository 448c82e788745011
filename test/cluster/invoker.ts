import { setTimeout as wait } from 'node:timers/promises';
import { type Answer, shown } from './calls.ts';
import type { Cluster } from './cluster.ts';
import type { ClusterServer } from './cluster-server.ts';
import type { Random } from './random.ts';

/** One call of a function, and what was answered of it. */
export type Invoked = {
  /** In the payload; no two calls have the same. */
  readonly id: string;
  /** It is sent again with the same one until there is an answer. */
  readonly key: string | undefined;
  readonly isAsync: boolean;
  /** Every request id that it was given; more than one is a fault. */
  readonly requestIds: Set<string>;
  /** Its end, as soon as an answer told one. */
  seen: { readonly status: string; readonly run: unknown } | undefined;
};

const ENDS: ReadonlySet<unknown> = new Set(['completed', 'failed', 'timed_out', 'cancelled', 'lost']);
const MAX_RUN_MS = 60;
const AGAIN_MS = 100;

/** Invokes functions of one connector in every way, over whichever server. */
export class Invoker {
  readonly calls: Invoked[] = [];
  readonly #cluster: Cluster;
  readonly #random: Random;
  readonly #name: string;
  readonly #path: string;

  constructor(cluster: Cluster, random: Random, name: string, connectorId: string) {
    this.#cluster = cluster;
    this.#random = random;
    this.#name = name;
    this.#path = `/connectors/${connectorId}`;
  }

  async step(): Promise<void> {
    const random = this.#random;
    const id = `${this.#name}-${this.calls.length}`;
    const call: Invoked = {
      id,
      key: random.chance(0.6) ? `key-${id}` : undefined,
      isAsync: random.chance(0.6),
      requestIds: new Set(),
      seen: undefined,
    };
    this.calls.push(call);
    const ms = random.int(MAX_RUN_MS);
    await this.#invoke(call, ms);
    if (call.key !== undefined && random.chance(0.2)) await this.#invoke(call, ms);
    if (call.isAsync && random.chance(0.5)) await this.look(call, this.#cluster.pick(random), 1);
  }

  /** Asks how it stands; false where there was no answer. */
  async look(call: Invoked, server: ClusterServer, waitSeconds: number): Promise<boolean> {
    const [requestId] = call.requestIds;
    if (requestId === undefined) return true;
    const answer = await this.#cluster.calls.ask(
      server,
      'GET',
      `${this.#path}/invocations/${requestId}?wait=${waitSeconds}`,
    );
    if (!answer || answer.status >= 500) return false;
    if (answer.status === 200) this.#saw(call, answer);
    else this.#say(call, `was acknowledged, and then ${shown(answer)} on ${server.name}`);
    return true;
  }

  async #invoke(call: Invoked, ms: number): Promise<void> {
    const { id, key, isAsync } = call;
    const body = { payload: { id, ms }, async: isAsync, ...(key !== undefined && { idempotency_key: key }) };
    for (;;) {
      const server = this.#cluster.pick(this.#random);
      const path = `${this.#path}/functions/once/invocations`;
      const answer = await this.#cluster.calls.ask(server, 'POST', path, { body });
      if (answer && answer.status < 300) {
        call.requestIds.add(String(answer.body['request_id']));
        this.#saw(call, answer);
        return;
      }
      const details = answer?.body['details'] as
        { readonly requestId?: string; readonly status?: string } | undefined;
      if (details?.status === 'lost') {
        if (details.requestId !== undefined) call.requestIds.add(details.requestId);
        this.#sawEnd(call, 'lost', undefined);
        return;
      }
      // Under a key that is its end, unless it still runs.
      if (answer?.status === 504 && key !== undefined && details?.status === undefined) {
        this.#sawEnd(call, 'timed_out', undefined);
        return;
      }
      if (answer && answer.status < 500) {
        this.#say(call, `was refused as ${shown(answer)}`);
        return;
      }
      // Without a key nobody knows whether it ran, and sending it again would be another call.
      if (key === undefined) return;
      await wait(AGAIN_MS);
    }
  }

  #saw(call: Invoked, { body }: Answer): void {
    const { status, result } = body;
    if (ENDS.has(status))
      this.#sawEnd(call, String(status), (result as { readonly run?: unknown } | undefined)?.run);
    else if (call.seen) this.#say(call, `was ${call.seen.status} and then ${String(status)}`);
  }

  #sawEnd(call: Invoked, status: string, run: unknown): void {
    call.seen ??= { status, run };
    if (call.seen.status !== status || call.seen.run !== run)
      this.#say(
        call,
        `was answered as ${JSON.stringify(call.seen)} and then as ${JSON.stringify({ status, run })}`,
      );
  }

  #say({ id, key, requestIds }: Invoked, what: string): void {
    this.#cluster.faults.push(
      `call ${id} ${key ? 'with' : 'without'} key, ${[...requestIds].join()}: ${what}`,
    );
  }
}
