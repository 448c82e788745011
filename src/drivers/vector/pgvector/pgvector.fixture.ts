import { Worker } from 'node:worker_threads';
import pg from 'pg';

/** A real PostgreSQL with a real pgvector, on a free port of this machine. Any user and password are let in. */
export type Postgres = {
  /** `postgres://postgres@127.0.0.1:PORT/postgres`, without TLS. */
  readonly url: string;
  /** Runs SQL beside the connections of others; the rows of its last statement. */
  query(sql: string): Promise<unknown>;
  close(): Promise<void>;
};

/**
 * Starts PGlite in a thread of its own, because it computes synchronously: a search would stop the event loop, and
 * with it the clients' timeouts.
 *
 * It has one backend that all connections share, whole transactions and statements at a time. So they also share what
 * is set for a session, and nothing is cancelled.
 */
export async function startPostgres(): Promise<Postgres> {
  const worker = new Worker(new URL('./pglite-server.fixture.ts', import.meta.url));
  const port = await new Promise<number>((resolve, reject) => {
    worker.once('message', resolve);
    worker.once('error', reject);
  });
  const url = `postgres://postgres@127.0.0.1:${port}/postgres`;
  const client = new pg.Client({ connectionString: url, ssl: false, password: '' });
  await client.connect();
  return {
    url,
    async query(sql) {
      const answer: pg.QueryResult | readonly pg.QueryResult[] = await client.query(sql);
      const last = Array.isArray(answer) ? answer.at(-1) : answer;
      return (last as pg.QueryResult).rows;
    },
    async close() {
      await client.end();
      const ended = new Promise((resolve) => worker.once('exit', resolve));
      worker.postMessage('close', []);
      await ended;
    },
  };
}
