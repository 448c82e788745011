import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { endChild, freePorts } from '../../src/testing/child-server.fixture.ts';
import { startRedis, type OwnRedis } from '../../src/testing/redis.fixture.ts';
import { query, startPostgres, type OwnPostgres } from '../../src/testing/postgres.fixture.ts';
import { Calls } from './calls.ts';
import { ClusterServer } from './cluster-server.ts';
import type { Runs } from './function-backend.ts';
import type { Random } from './random.ts';

const TENANT = 'cluster';
const SERVERS = 3;

/** Several servers on one database and one Redis, and functions that count how often they run. */
export type Cluster = {
  readonly servers: readonly ClusterServer[];
  /** One of them by a number of any size. */
  server(at: number): ClusterServer;
  /** One that does not stand still, as whoever spreads calls over servers would send them to. */
  pick(random: Random): ClusterServer;
  readonly postgres: OwnPostgres;
  readonly redis: OwnRedis;
  /** Where the functions are. */
  readonly functionsUrl: string;
  /** Everything that is not as it was promised; empty at the end, or the run has failed. */
  readonly faults: string[];
  readonly calls: Calls;
  /** How often each function ran, by the id in the payload. */
  runs(): Promise<Runs>;
  /** Rows, as the owner of the database sees them. */
  sql(...statements: readonly string[]): Promise<readonly unknown[]>;
  close(): Promise<void>;
};

/** Starts everything, and resolves when every server is ready. */
export async function startCluster(): Promise<Cluster> {
  // What was started before something fails, or before the end, is ended from the last to the first.
  await using started = new AsyncDisposableStack();
  const postgres = started.adopt(await startPostgres(), ({ close }) => close());
  const redis = started.adopt(await startRedis(), ({ close }) => close());
  if (!postgres.own || !redis.own)
    throw new Error('what CONNECTORS_TEST_PG_URL or CONNECTORS_TEST_REDIS_URL names is not ours to stop');
  const root = started.adopt(await mkdtemp(join(tmpdir(), 'connector-registry-cluster-')), (folder) =>
    rm(folder, { recursive: true, force: true }),
  );
  const backend = started.adopt(await startBackend(), ({ close }) => close());
  const databaseUrl = await postgres.database();
  const env = {
    CONNECTORS_DATABASE_URL: databaseUrl,
    CONNECTORS_REDIS_URL: redis.url,
    CONNECTORS_MASTER_KEY: randomBytes(32).toString('base64'),
    // A check in the background that fails is one more error than those that are counted here.
    CONNECTORS_PROBE_SECONDS: '0',
    // The functions are on this machine.
    CONNECTORS_EGRESS_ALLOW_PRIVATE: 'true',
  };
  const faults: string[] = [];
  const calls = started.adopt(new Calls(faults), (calls) => calls.close());
  const ports = await freePorts(SERVERS);
  const servers = ports.map((port, at) => {
    const name = `server ${at + 1}`;
    const server = new ClusterServer({ name, port, dataDir: join(root, `data-${at}`), env });
    return started.adopt(server, (server) => server.abandon());
  });
  // At once: one of them makes the schema.
  for (const server of servers) server.start();
  await Promise.all(servers.map((server) => server.ready()));
  await query(databaseUrl, ...END_WATCH);
  const adminKey = servers.map((server) => server.firstKey).find((key) => key !== undefined);
  if (adminKey === undefined) throw new Error('no server showed the key of an administrator');
  const server = (at: number): ClusterServer => {
    const found = servers[at % servers.length];
    if (!found) throw new Error('there are no servers');
    return found;
  };
  const made = await calls.ask(server(0), 'POST', `/keys?tenant_id=${TENANT}`, {
    body: { role: 'admin', label: 'the cluster suite' },
    apiKey: adminKey,
  });
  if (made?.status !== 201) throw new Error(`no key: ${JSON.stringify(made)}`);
  calls.apiKey = String(made.body['key']);
  const kept = started.move();
  return {
    ...{ servers, server, faults, calls, postgres: postgres.own, redis: redis.own },
    close: () => kept.disposeAsync(),
    pick: (random) => random.pick(servers.filter(({ isPaused }) => !isPaused)),
    functionsUrl: backend.url,
    // The shape is that of the program.
    runs: async () => (await (await fetch(`${backend.url}/runs`)).json()) as Runs,
    sql: (...statements) => query(databaseUrl, ...statements),
  };
}

/**
 * Writes down each end of an invocation, and each change of one that had ended, whoever makes it: what a server reads
 * of itself would not show an end that was overwritten.
 */
const END_WATCH = [
  'create table watched_ends (request_id text not null, was text not null, status text not null, at timestamptz not null default clock_timestamp())',
  `create function watch_end() returns trigger language plpgsql security definer as $$ begin
    insert into watched_ends (request_id, was, status) values (new.request_id, old.status, new.status);
    return null;
  end $$`,
  `create trigger watch_end after update on invocations for each row
    when (new.status not in ('queued', 'running') and
      (old.status, old.outcome) is distinct from (new.status, new.outcome))
    execute function watch_end()`,
];

type Backend = { readonly url: string; close(): Promise<void> };

async function startBackend(): Promise<Backend> {
  const child = spawn(process.execPath, [join(import.meta.dirname, 'function-backend.ts')], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const { value: port } = await lines.next();
  if (port === undefined) throw new Error('the functions ended by themselves');
  return { url: `http://127.0.0.1:${port}`, close: () => endChild(child, 'SIGKILL') };
}
