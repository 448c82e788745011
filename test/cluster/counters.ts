import { setTimeout as wait } from 'node:timers/promises';
import type { Answer } from './calls.ts';
import type { Cluster } from './cluster.ts';
import type { ClusterServer } from './cluster-server.ts';
import { figures } from './figures.ts';
import { freePort } from '../../src/testing/child-server.fixture.ts';

/** Figures are stored each second. */
const STORED_WITHIN_MS = 5_000;
/** A server is gone 15 seconds after it was last heard of, and the others look every 5: what it had connected ends then. */
const GONE_WITHIN_MS = 22_000;
const LOOK_MS = 50;
const CONNECTS = 5;
const CALLS = 3;

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
  const { servers, faults } = cluster;
  const [first, second] = [cluster.server(0), cluster.server(1)];
  const id = await make(cluster, `counted-${run}`, cluster.functionsUrl);
  const path = `/connectors/${id}`;
  const untilStatus = (wanted: (status: unknown) => boolean, withinMs: number) =>
    Promise.all(
      servers.map(async (server) => {
        const found = await until(cluster, server, path, ({ body }) => wanted(body['status']), withinMs);
        if (found.status !== 200) faults.push(`${server.name}: ${run}: ${JSON.stringify(found)}`);
        return found.ms;
      }),
    );
  await post(cluster, first, `${path}/connect`);
  const connectedMs = await untilStatus((status) => status === 'connected', STORED_WITHIN_MS);
  await post(cluster, second, `${path}/connect`);
  await untilRow(cluster, id, 2);
  // The other one still has it.
  await post(cluster, first, `${path}/disconnect`);
  await untilRow(cluster, id, 1);
  await untilStatus((status) => status === 'connected', STORED_WITHIN_MS);
  await second.kill();
  try {
    const endedMs = await Promise.all(
      [first, cluster.server(2)].map(async (server) => {
        const { ms, status } = await until(
          cluster,
          server,
          path,
          ({ body }) => body['status'] === 'disconnected',
          GONE_WITHIN_MS,
        );
        if (status !== 200)
          faults.push(`${server.name}: still connected ${GONE_WITHIN_MS} ms after its server was killed`);
        return ms;
      }),
    );
    return [connectedMs, endedMs];
  } finally {
    second.start();
    await second.ready();
  }
}

async function countedEverywhere(cluster: Cluster, run: string): Promise<string> {
  const { servers, faults } = cluster;
  const good = await make(cluster, `connections-${run}`, cluster.functionsUrl);
  // Nobody listens there.
  const bad = await make(cluster, `errors-${run}`, `http://127.0.0.1:${await freePort()}`);
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
    for (const [id, field, wanted] of [
      [good, 'connection_count', connections],
      [bad, 'error_count', errors],
    ] as const) {
      const found = await until(
        cluster,
        server,
        `/connectors/${id}`,
        ({ body }) => body[field] === wanted,
        STORED_WITHIN_MS,
      );
      if (found.status !== 200)
        faults.push(`${server.name}: ${field} is not ${wanted}: ${String(found.last?.body[field])}`);
    }
  await sumsAgree(cluster);
  return `${connections} connections and ${errors} errors on ${servers.length} servers added up on each`;
}

/** The figures of all connectors together are the sums of those of each. */
async function sumsAgree({ calls, servers, faults, sql }: Cluster): Promise<void> {
  for (const server of servers) {
    const [stats] = [await calls.ask(server, 'GET', '/stats')];
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

async function make({ calls, server }: Cluster, name: string, endpoint: string): Promise<string> {
  const answer = await calls.ask(server(0), 'POST', '/connectors', {
    body: {
      ...{ connector_type: 'serverless', provider: 'http', name },
      config: { endpoint, max_retries: 0, options: { functions: { once: '/once' } } },
    },
  });
  if (answer?.status !== 201) throw new Error(`not made: ${JSON.stringify(answer)}`);
  return String(answer.body['connector_id']);
}

async function post(
  { calls, faults }: Cluster,
  server: ClusterServer,
  path: string,
  wanted = [200],
): Promise<void> {
  const answer = await calls.ask(server, 'POST', path, { failsWith: wanted });
  if (!answer || !wanted.includes(answer.status))
    faults.push(`${server.name}: ${path}: ${JSON.stringify(answer)}`);
}

async function untilRow({ sql, faults }: Cluster, id: string, wanted: number): Promise<void> {
  const deadline = performance.now() + STORED_WITHIN_MS;
  for (;;) {
    const [row] = (await sql(
      `select count(*)::int as count from connections where connector_id = '${id}'`,
    )) as readonly {
      readonly count: number;
    }[];
    if (row?.count === wanted) return;
    if (performance.now() > deadline)
      return void faults.push(`${id} is connected by ${row?.count} servers, not ${wanted}`);
    await wait(LOOK_MS);
  }
}

type Found = { readonly ms: number; readonly status: number; readonly last: Answer | undefined };

/** How long it took until an answer was as it is wanted; status 0 where it was not in time. */
async function until(
  { calls }: Cluster,
  server: ClusterServer,
  path: string,
  isWanted: (answer: Answer) => boolean,
  withinMs: number,
): Promise<Found> {
  const startMs = performance.now();
  for (;;) {
    const answer = await calls.ask(server, 'GET', path);
    const ms = performance.now() - startMs;
    if (answer?.status === 200 && isWanted(answer)) return { ms, status: 200, last: answer };
    if (ms > withinMs) return { ms, status: 0, last: answer };
    await wait(LOOK_MS);
  }
}
