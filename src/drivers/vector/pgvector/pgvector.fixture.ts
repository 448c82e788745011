import { Worker } from 'node:worker_threads';
import pg from 'pg';

/** What a hook that starts PGlite is given: some seconds on an idle machine, and more beside other tests. */
export const STARTING_MS = 120_000;

/** A real PostgreSQL with a real pgvector. */
export type Postgres = {
  readonly url: string;
  /** Runs SQL beside the connections of others; the rows of its last statement. */
  query(sql: string): Promise<unknown>;
  close(): Promise<void>;
};

/**
 * PGlite on a free port of this machine, at `postgres://postgres@127.0.0.1:PORT/postgres`, without TLS. Any user and
 * password are let in.
 *
 * It runs in a thread of its own, because it computes synchronously: a search would stop the event loop, and with it the
 * clients' timeouts. It has one backend that all connections share, whole transactions and statements at a time. So
 * they also share what is set for a session, and nothing is cancelled.
 */
export async function startPostgres(): Promise<Postgres> {
  const worker = new Worker(new URL('./pglite-server.fixture.ts', import.meta.url));
  const port = await new Promise<number>((resolve, reject) => {
    worker.once('message', resolve);
    worker.once('error', reject);
  });
  const server = await connectPostgres(`postgres://postgres@127.0.0.1:${port}/postgres`);
  return {
    ...server,
    async close() {
      await server.close();
      const ended = new Promise((resolve) => worker.once('exit', resolve));
      worker.postMessage('close', []);
      await ended;
    },
  };
}

/** A server that runs already. Its URL may hold a password, and `sslmode` as one of the driver's values for `ssl`. */
export async function connectPostgres(url: string): Promise<Postgres> {
  const { ssl } = driverOptions(url);
  const client = new pg.Client({
    connectionString: withoutParameters(url).href,
    ssl: ssl === 'disable' ? false : { rejectUnauthorized: ssl === 'verify-full' },
  });
  await client.connect();
  return {
    url,
    async query(sql) {
      const answer: pg.QueryResult | readonly pg.QueryResult[] = await client.query(sql);
      const last = Array.isArray(answer) ? answer.at(-1) : answer;
      return (last as pg.QueryResult).rows;
    },
    close: () => client.end(),
  };
}

/** The driver's options for a server by its URL; without `sslmode`, TLS is not asked for. */
export function driverOptions(url: string): Readonly<Record<string, string>> {
  const endpoint = withoutParameters(url);
  const { password } = endpoint;
  endpoint.password = '';
  return {
    endpoint: endpoint.href,
    ssl: new URL(url).searchParams.get('sslmode') ?? 'disable',
    ...(password !== '' && { password: decodeURIComponent(password) }),
  };
}

function withoutParameters(url: string): URL {
  const bare = new URL(url);
  bare.search = '';
  return bare;
}
