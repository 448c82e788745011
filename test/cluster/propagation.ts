import { type Answer, shown } from './calls.ts';
import type { Cluster } from './cluster.ts';
import type { ClusterServer } from './cluster-server.ts';
import { figures } from './figures.ts';
import { makeFunctions } from './functions.ts';
import type { Random } from './random.ts';
import { cutListeners, silenceNotifications } from './silence.ts';

/** Within so long, what one server changes is in force on the others. */
const IN_FORCE_MS = 1_000;
const GIVE_UP_MS = 10_000;

const CHANGES = ['update', 'credential', 'removal', 'key'] as const;
type Change = (typeof CHANGES)[number];

/** Changes something on one server and asks the others until it is in force there; so often in each of three states of the listeners. */
export async function measurePropagation(
  cluster: Cluster,
  random: Random,
  rounds: number,
): Promise<readonly string[]> {
  const said: string[] = [];
  for (const [state, enter] of [
    ['with notifications', async () => async () => {}],
    ['with listeners that are cut', cutListeners],
    ['without notifications', silenceNotifications],
  ] as const) {
    const leave = await enter(cluster);
    try {
      const tookMs: Record<Change, number[]> = { update: [], credential: [], removal: [], key: [] };
      for (let round = 0; round < rounds; round++) {
        const change = CHANGES[round % CHANGES.length] ?? 'update';
        const took = await once(
          cluster,
          random.int(cluster.servers.length),
          change,
          `${state.replaceAll(' ', '-')}-${round}`,
        );
        tookMs[change].push(...took);
        for (const ms of took)
          if (ms > IN_FORCE_MS) cluster.faults.push(`${change} in force after ${ms.toFixed(0)} ms, ${state}`);
      }
      said.push(`${state}: ${CHANGES.map((change) => `${change} ${figures(tookMs[change])}`).join('; ')}`);
    } finally {
      await leave();
    }
  }
  return said;
}

type Changing = {
  /** Uses it, so that a server remembers it as it is before. */
  readonly ask: (server: ClusterServer) => Promise<Answer | undefined>;
  readonly change: (server: ClusterServer) => Promise<Answer | undefined>;
  readonly isInForce: (answer: Answer) => boolean;
  /** Whether an answer is one of those before the change. */
  readonly isBefore: (answer: Answer) => boolean;
};

async function once(cluster: Cluster, at: number, change: Change, name: string): Promise<readonly number[]> {
  const writer = cluster.server(at);
  const readers = [cluster.server(at + 1), cluster.server(at + 2)];
  const changing = await CHANGING[change](cluster, writer, name);
  for (const server of [writer, ...readers]) {
    const before = await changing.ask(server);
    if (!before || !changing.isBefore(before))
      cluster.faults.push(`${server.name}: before ${change} of ${name}: ${shown(before)}`);
  }
  const changed = await changing.change(writer);
  const ackMs = performance.now();
  if (!changed || changed.status >= 300) {
    cluster.faults.push(`${writer.name}: ${change} of ${name} answered ${shown(changed)}`);
    return [];
  }
  return Promise.all(
    readers.map(async (server) => {
      for (;;) {
        const answer = await changing.ask(server);
        if (answer && changing.isInForce(answer)) return Math.max(0, answer.startMs - ackMs);
        if (!answer || !changing.isBefore(answer))
          cluster.faults.push(`${server.name}: after ${change} of ${name}: ${shown(answer)}`);
        if (performance.now() - ackMs > GIVE_UP_MS) return Number.POSITIVE_INFINITY;
      }
    }),
  );
}

/** What is there before a change. */
const FIRST = { metadata: { n: 1 }, config: { credentials: { api_key: 'key-1' } } };

const CHANGING: Readonly<
  Record<Change, (cluster: Cluster, server: ClusterServer, name: string) => Promise<Changing>>
> = {
  async update(cluster, server, name) {
    const id = await makeFunctions(cluster, name, { server, ...FIRST });
    const n = ({ body }: Answer) => (body['metadata'] as { readonly n?: unknown } | undefined)?.n;
    return {
      ask: (server) => cluster.calls.ask(server, 'GET', `/connectors/${id}`),
      change: (server) =>
        cluster.calls.ask(server, 'PATCH', `/connectors/${id}`, { body: { metadata: { n: 2 } } }),
      isBefore: (answer) => n(answer) === 1,
      isInForce: (answer) => n(answer) === 2,
    };
  },
  async credential(cluster, server, name) {
    const id = await makeFunctions(cluster, name, { server, ...FIRST });
    const isWith = (key: string) => (answer: Answer) =>
      (answer.body['result'] as { readonly authorization?: unknown } | undefined)?.authorization ===
      `Bearer ${key}`;
    return {
      ask: (server) => invoke(cluster, server, id),
      change: (server) =>
        cluster.calls.ask(server, 'PATCH', `/connectors/${id}`, {
          body: { config: { credentials: { api_key: 'key-2' } } },
        }),
      isBefore: isWith('key-1'),
      isInForce: isWith('key-2'),
    };
  },
  async removal(cluster, server, name) {
    const id = await makeFunctions(cluster, name, { server, ...FIRST });
    return {
      ask: (server) => invoke(cluster, server, id),
      change: (server) => cluster.calls.ask(server, 'DELETE', `/connectors/${id}`),
      isBefore: ({ status }) => status === 200,
      isInForce: ({ status }) => status === 404,
    };
  },
  async key({ calls }, server) {
    const made = await calls.ask(server, 'POST', '/keys', { body: { role: 'reader' } });
    const apiKey = String(made?.body['key']);
    return {
      ask: (server) => calls.ask(server, 'GET', '/connectors?limit=1', { apiKey }),
      change: (server) => calls.ask(server, 'DELETE', `/keys/${String(made?.body['key_id'])}`),
      isBefore: ({ status }) => status === 200,
      // Whoever sends too many keys that are not valid is told to wait.
      isInForce: ({ status }) => status === 401 || status === 429,
    };
  },
};

function invoke({ calls }: Cluster, server: ClusterServer, id: string): Promise<Answer | undefined> {
  const body = { payload: { id: `propagation-${id}`, ms: 0 } };
  return calls.ask(server, 'POST', `/connectors/${id}/functions/once/invocations`, { body });
}
