import { type Answer, shown } from './calls.ts';
import type { Cluster } from './cluster.ts';
import type { ClusterServer } from './cluster-server.ts';
import { functionsBody } from './functions.ts';
import { isSame, listedState, OwnedConnector, type State, stateOf } from './owned-connector.ts';
import type { Random } from './random.ts';

/** How old what another server remembers may be. */
const STALE_MS = 1_000;

/** A caller that alone writes some connectors, over whichever server, and reads them on all. */
export class Owner {
  readonly connectors: readonly OwnedConnector[];
  /** Creates, updates and deletes that were acknowledged. */
  acknowledged = 0;
  /** Writes of which it was not heard whether they were made. */
  unheard = 0;
  readonly #cluster: Cluster;
  readonly #random: Random;
  #count = 0;

  constructor(cluster: Cluster, random: Random, name: string) {
    this.#cluster = cluster;
    this.#random = random;
    this.connectors = [1, 2, 3].map((at) => new OwnedConnector(`${name}-${at}`));
  }

  /** One write, or one read, of one of its connectors. */
  async step(): Promise<void> {
    const random = this.#random;
    const owned = random.pick(this.connectors);
    const server = this.#cluster.pick(random);
    const way = random.next();
    if (owned.maybe) await this.read(owned, server);
    else if (owned.state === null) await this.#create(owned, server);
    else if (way < 0.35) await this.#update(owned, server, owned.state);
    else if (way < 0.45) await this.#delete(owned, server, owned.state);
    else if (way < 0.6) await this.read(owned, server);
    else await this.#get(owned, server, owned.state, STALE_MS);
  }

  /** Compares what the store has of a connector with what was acknowledged; false where there was no answer. */
  async read(owned: OwnedConnector, server: ClusterServer): Promise<boolean> {
    // What was handed to the database before its server was killed may still be carried out.
    if (owned.maybe) await this.#cluster.calls.calm(this.#cluster.servers);
    const answer = await this.#cluster.calls.ask(server, 'GET', `/connectors?name=${owned.name}`);
    if (!answer || answer.status >= 500) return false;
    if (answer.status !== 200) {
      this.#say(server, `listing ${owned.name} answered ${shown(answer)}`);
      return true;
    }
    const wrong = owned.resolve(listedState(answer));
    if (wrong !== undefined) this.#say(server, wrong);
    return true;
  }

  async #create(owned: OwnedConnector, server: ClusterServer): Promise<void> {
    const n = (this.#count += 1);
    const answer = await this.#cluster.calls.ask(server, 'POST', '/connectors', {
      body: functionsBody(this.#cluster, owned.name, { metadata: { n } }),
    });
    if (this.#isUnheard(answer)) owned.maybe = { to: { n, version: 1 } };
    else if (answer.status === 201) {
      const made = stateOf(answer.body);
      if (made.n !== n || made.version !== 1) this.#say(server, `${owned.name} was made as ${shown(answer)}`);
      await this.#wrote(owned, server, made);
    } else this.#say(server, `creating ${owned.name} answered ${shown(answer)}`);
  }

  async #update(
    owned: OwnedConnector,
    server: ClusterServer,
    { id, version }: NonNullable<State>,
  ): Promise<void> {
    const n = (this.#count += 1);
    const body = { metadata: { n }, version };
    const answer = await this.#cluster.calls.ask(server, 'PATCH', `/connectors/${id}`, { body });
    if (this.#isUnheard(answer)) owned.maybe = { to: { n, version: version + 1 } };
    else if (answer.status === 200) {
      const made = stateOf(answer.body);
      if (!isSame(made, { id, version: version + 1, n }))
        this.#say(server, `${owned.name} was changed to ${n} and is ${shown(answer)}`);
      await this.#wrote(owned, server, { id, version: version + 1, n });
    } else this.#say(server, `changing version ${version} of ${owned.name} answered ${shown(answer)}`);
  }

  async #delete(owned: OwnedConnector, server: ClusterServer, { id }: NonNullable<State>): Promise<void> {
    const answer = await this.#cluster.calls.ask(server, 'DELETE', `/connectors/${id}`);
    if (this.#isUnheard(answer)) owned.maybe = { to: null };
    else if (answer.status === 200) {
      await this.#wrote(owned, server, null);
      const gone = await this.#cluster.calls.ask(server, 'GET', `/connectors/${id}`);
      if (gone && gone.status !== 404 && gone.status < 500)
        this.#say(server, `${owned.name} was deleted here and is ${shown(gone)}`);
    } else this.#say(server, `deleting ${owned.name} answered ${shown(answer)}`);
  }

  async #get(
    owned: OwnedConnector,
    server: ClusterServer,
    { id }: NonNullable<State>,
    staleMs: number,
  ): Promise<void> {
    const answer = await this.#cluster.calls.ask(server, 'GET', `/connectors/${id}`);
    if (!answer || answer.status >= 500) return;
    const read = answer.status === 200 ? stateOf(answer.body) : null;
    if (answer.status !== 200 && answer.status !== 404)
      this.#say(server, `reading ${owned.name} answered ${shown(answer)}`);
    else if (!owned.wasLately(read, answer.startMs, staleMs))
      this.#say(
        server,
        `answers ${JSON.stringify(read)} for ${owned.name}, which is ${JSON.stringify(owned.state)} for longer than ${staleMs} ms`,
      );
  }

  /** Takes what was acknowledged, and reads it where it was written: there it is in force at once. */
  async #wrote(owned: OwnedConnector, server: ClusterServer, state: State): Promise<void> {
    this.acknowledged += 1;
    owned.becomes(state);
    if (state && this.#random.chance(0.3)) await this.#get(owned, server, state, 0);
  }

  #isUnheard(answer: Answer | undefined): answer is undefined {
    const isUnheard = answer === undefined || answer.status >= 500;
    if (isUnheard) this.unheard += 1;
    return isUnheard;
  }

  #say(server: ClusterServer, what: string): void {
    this.#cluster.faults.push(`${server.name}: ${what}`);
  }
}
