import { shown } from './calls.ts';
import type { Cluster } from './cluster.ts';
import type { ClusterServer } from './cluster-server.ts';
import type { Random } from './random.ts';

type Held = { readonly keyId: string; readonly key: string; revokedMs: number | undefined };

/** How long another server may still take a revoked key. */
const STALE_MS = 1_000;
const MAX_HELD = 4;

/** Makes keys on one server, uses them on all, and revokes them. */
export class KeyHolder {
  readonly keys: Held[] = [];
  acknowledged = 0;
  readonly #cluster: Cluster;
  readonly #random: Random;

  constructor(cluster: Cluster, random: Random) {
    this.#cluster = cluster;
    this.#random = random;
  }

  async step(): Promise<void> {
    const server = this.#cluster.pick(this.#random);
    const valid = this.keys.filter(({ revokedMs }) => revokedMs === undefined);
    if (valid.length < MAX_HELD && this.#random.chance(0.4)) await this.#create(server);
    else if (valid.length > 0 && this.#random.chance(0.3))
      await this.#revoke(this.#random.pick(valid), server);
    else if (this.keys.length > 0) await this.use(this.#random.pick(this.keys.slice(-MAX_HELD)), server);
  }

  /** False where there was no answer. */
  async use(held: Held, server: ClusterServer): Promise<boolean> {
    const { revokedMs } = held;
    const answer = await this.#cluster.calls.ask(server, 'GET', '/connectors?limit=1', { apiKey: held.key });
    if (!answer || answer.status >= 500) return false;
    // Whoever sends too many keys that are not valid is told to wait.
    const isRefused = answer.status === 401 || answer.status === 429;
    if (!isRefused && answer.status !== 200) this.#say(server, `key ${held.keyId} answered ${shown(answer)}`);
    // It may have been revoked while this was asked.
    else if (isRefused && held.revokedMs === undefined)
      this.#say(server, `key ${held.keyId} is refused: ${shown(answer)}`);
    else if (!isRefused && revokedMs !== undefined && answer.startMs > revokedMs + STALE_MS)
      this.#say(
        server,
        `key ${held.keyId} was revoked ${(answer.startMs - revokedMs).toFixed(0)} ms before, and is taken`,
      );
    return true;
  }

  async #create(server: ClusterServer): Promise<void> {
    const answer = await this.#cluster.calls.ask(server, 'POST', '/keys', { body: { role: 'reader' } });
    if (!answer || answer.status >= 500) return;
    if (answer.status !== 201) return this.#say(server, `making a key answered ${shown(answer)}`);
    this.acknowledged += 1;
    const held = {
      keyId: String(answer.body['key_id']),
      key: String(answer.body['key']),
      revokedMs: undefined,
    };
    this.keys.push(held);
    await this.use(held, server);
  }

  async #revoke(held: Held, first: ClusterServer): Promise<void> {
    let server = first;
    // Refused from the moment on in which it is asked for: the server may have revoked it before its answer was lost.
    held.revokedMs = Number.POSITIVE_INFINITY;
    for (let attempt = 1; ; attempt++) {
      const answer = await this.#cluster.calls.ask(server, 'DELETE', `/keys/${held.keyId}`);
      if (answer && answer.status < 500) {
        const isRevoked = answer.status === 200 || (answer.status === 404 && attempt > 1);
        if (!isRevoked) this.#say(server, `revoking ${held.keyId} answered ${shown(answer)}`);
        break;
      }
      await this.#cluster.calls.calm(this.#cluster.servers);
      server = this.#cluster.pick(this.#random);
    }
    held.revokedMs = performance.now();
    this.acknowledged += 1;
    const refused = await this.#cluster.calls.ask(server, 'GET', '/connectors?limit=1', { apiKey: held.key });
    if (refused?.status === 200) this.#say(server, `key ${held.keyId} was revoked here and is taken`);
  }

  #say(server: ClusterServer, what: string): void {
    this.#cluster.faults.push(`${server.name}: ${what}`);
  }
}
