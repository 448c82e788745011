import { PGlite } from '@electric-sql/pglite';
import { PGLiteSocketServer } from '@electric-sql/pglite-socket';
import { noPostgres, startPostgres } from './postgres.fixture.ts';

/** Databases for the store's suite. */
export type StoreDatabases = {
  /** The address of an empty one. */
  database(): Promise<string>;
  /** Connections that a store may have at once; as many as it likes where undefined. */
  readonly poolSize: number | undefined;
  close(): Promise<void>;
};

/** PostgreSQL, or where there is none PGlite: the same statements in one session of this process. */
export async function startStoreDatabases(): Promise<StoreDatabases> {
  if (noPostgres === undefined) {
    const { database, close } = await startPostgres();
    return { database, poolSize: undefined, close };
  }
  const opened: (() => Promise<void>)[] = [];
  return {
    async database() {
      const db = await PGlite.create();
      // It takes turns between connections by message and not by statement, so a store has one. The other one is that
      // which brings the schema up to date, on its way out.
      const server = new PGLiteSocketServer({ db, host: '127.0.0.1', port: 0, maxConnections: 2 });
      await server.start();
      opened.push(async () => {
        await server.stop();
        await db.close();
      });
      return `postgres://postgres@${server.getServerConn()}/postgres`;
    },
    poolSize: 1,
    async close() {
      for (const close of opened) await close();
    },
  };
}
