import { type Answer, shown } from './calls.ts';
import type { Cluster } from './cluster.ts';
import type { ClusterServer } from './cluster-server.ts';
import { figures } from './figures.ts';
import { makeFunctions } from './functions.ts';
import { until } from './until.ts';
import { freePort } from '../../src/testing/child-server.fixture.ts';

/** Figures are stored each second. */
const STORED_WITHIN_MS = 5_000;
/** A server is gone 15 seconds after it was last heard of, and the others look every 5: what it had connected ends then. */
const GONE_WITHIN_MS = 22_000;
const LOOK_MS = 50;
const CONNECTS = 5;
const CALLS = 3;
const UNREPEATED = { config: { max_retries: 0 } };

/** Connects on several servers and has calls fail on all: status and figures are those of the registry, whoever is asked. */
export async function addUp(cluster: Cluster, run: string): Promise<readonly string[]> {
  const [connectedMs, endedMs] = await connectedAnywhere(cluster, run);
  const counted = await countedEverywhere(cluster, run);
  return [
    `connected on all within ${figures(connectedMs)}; of a killed server no more after ${figures(endedMs)}`,
    counted,
  ];
}

async function connectedAnywhere(
  cluster: Cluster,
  run: string,
): Promise<readonly [readonly number[], readonly number[]]> {
  const { servers } = cluster;
  const [first, second] = [cluster.server(0), cluster.server(1)];
  const id = await makeFunctions(cluster, `counted-${run}`, UNREPEATED);
  const path = `/connectors/${id}`;
  const untilStatus = (servers: readonly ClusterServer[], value: string, withinMs: number) =>
    Promise.all(
      servers.map((server) => untilField(cluster, server, { id, field: 'status', value, withinMs })),
    );
  await post(cluster, first, `${path}/connect`);
  const connectedMs = await untilStatus(servers, 'connected', STORED_WITHIN_MS);
  await post(cluster, second, `${path}/connect`);
  await untilRow(cluster, id, 2);
  // The other one still has it.
  await post(cluster, first, `${path}/disconnect`);
  await untilRow(cluster, id, 1);
  await untilStatus(servers, 'connected', STORED_WITHIN_MS);
  await second.kill();
  try {
    const endedMs = await untilStatus([first, cluster.server(2)], 'disconnected', GONE_WITHIN_MS);
    return [connectedMs, endedMs];
  } finally {
    second.start();
    await second.ready();
  }
}

async function countedEverywhere(cluster: Cluster, run: string): Promise<string> {
  const { servers } = cluster;
  const good = await makeFunctions(cluster, `connections-${run}`, UNREPEATED);
  // Nobody listens there.
  const bad = await makeFunctions(cluster, `errors-${run}`, {
    config: { ...UNREPEATED.config, endpoint: `http://127.0.0.1:${await freePort()}` },
  });
  await Promise.all(
    servers.map(async (server) => {
      for (let time = 0; time < CONNECTS; time++) {
        await post(cluster, server, `/connectors/${good}/connect`);
        await post(cluster, server, `/connectors/${good}/disconnect`);
      }
      for (let time = 0; time < CALLS; time++)
        await post(cluster, server, `/connectors/${bad}/connect`, [424, 502, 503]);
    }),
  );
  const connections = CONNECTS * servers.length;
  const errors = CALLS * servers.length;
  for (const server of servers)
    for (const [id, field, value] of [
      [good, 'connection_count', connections],
      [bad, 'error_count', errors],
    ] as const)
      await untilField(cluster, server, { id, field, value, withinMs: STORED_WITHIN_MS });
  await sumsAgree(cluster);
  return `${connections} connections and ${errors} errors on ${servers.length} servers added up on each`;
}

/** The figures of all connectors together are the sums of those of each. */
async function sumsAgree({ calls, servers, faults, sql }: Cluster): Promise<void> {
  for (const server of servers) {
    const stats = await calls.ask(server, 'GET', '/stats');
    const [row] = (await sql(
      `select sum(connection_count)::int as connections, sum(error_count)::int as errors, count(*)::int as connectors from connectors`,
    )) as readonly { readonly connections: number; readonly errors: number; readonly connectors: number }[];
    const {
      total_connections: connections,
      total_errors: errors,
      total_connectors: connectors,
    } = stats?.body ?? {};
    if (connections !== row?.connections || errors !== row?.errors || connectors !== row?.connectors)
      faults.push(
        `${server.name}: statistics ${JSON.stringify(stats?.body)} beside rows ${JSON.stringify(row)}`,
      );
  }
}

async function post(
  { calls, faults }: Cluster,
  server: ClusterServer,
  path: string,
  wanted = [200],
): Promise<void> {
  const answer = await calls.ask(server, 'POST', path, { failsWith: wanted });
  if (!answer || !wanted.includes(answer.status)) faults.push(`${server.name}: ${path}: ${shown(answer)}`);
}

async function untilRow({ sql, faults }: Cluster, id: string, wanted: number): Promise<void> {
  const [row] = await until(
    async () =>
      (await sql(`select count(*)::int as count from connections where connector_id = '${id}'`)) as readonly {
        readonly count: number;
      }[],
    { isWanted: ([row]) => row?.count === wanted, withinMs: STORED_WITHIN_MS, everyMs: LOOK_MS },
  );
  if (row?.count !== wanted) faults.push(`${id} is connected by ${row?.count} servers, not ${wanted}`);
}

type Wanted = {
  readonly id: string;
  readonly field: 'status' | 'connection_count' | 'error_count';
  readonly value: unknown;
  readonly withinMs: number;
};

/** How long it took until a server answered a field of a connector as it is wanted; a fault where it was not in time. */
async function untilField(
  { calls, faults }: Cluster,
  server: ClusterServer,
  { id, field, value, withinMs }: Wanted,
): Promise<number> {
  const startMs = performance.now();
  const isWanted = (answer: Answer | undefined) => answer?.status === 200 && answer.body[field] === value;
  const last = await until(() => calls.ask(server, 'GET', `/connectors/${id}`), {
    ...{ isWanted, withinMs, everyMs: LOOK_MS },
  });
  if (!isWanted(last))
    faults.push(
      `${server.name}: ${field} of ${id} is not ${String(value)} after ${withinMs} ms: ${shown(last)}`,
    );
  return performance.now() - startMs;
}
