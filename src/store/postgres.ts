import { CompiledQuery, sql } from 'kysely';
import type { Client, Pool, PoolConfig } from 'pg';
import { loadPeer } from '../contract/peers.ts';
import { invalidField } from '../errors/error.ts';
import type { Engine } from './engine.ts';
import { migrate } from './migrate.ts';
import { ALL_TENANTS, POSTGRES_MIGRATIONS, TABLES } from './migrations/postgres.ts';
import { postgresCounters } from './postgres-counters.ts';
import { tenantDatabase } from './postgres-driver.ts';
import { postgresError } from './postgres-error.ts';
import { ANSWER_MS, PostgresPeers } from './postgres-peers.ts';
import type { ParserOf } from './postgres-statement.ts';
import type { Database } from './schema.ts';

type Pg = typeof import('pg');

/** How a database is used; all times in milliseconds. */
export type PostgresOptions = {
  /** Connections at once, at most, besides the one that listens; 10 by default. */
  readonly poolSize?: number | undefined;
  /** How long is waited for a connection, be it a new one or one that others have; 5 seconds by default. */
  readonly acquireMs?: number;
  /** How long a statement may take by the server's watch; 15 seconds by default.  */
  readonly statementMs?: number;
  /** How long a statement may wait for what another transaction holds; 5 seconds by default. */
  readonly lockMs?: number;
  /** How long is waited for the answer to a statement of a server that may stand still; 17 seconds by default. */
  readonly answerMs?: number;
};

const ACQUIRE_MS = 5_000;
/** How long a transaction may do nothing, as that of a process that was stopped: shorter than others wait for what it holds. */
const IDLE_MS = 4_000;
/** How long the end waits for what is under way where the database may stand still. */
const CLOSE_MS = 2_000;
/** How long a start waits for another one that brings the schema up to date. */
const MIGRATION_LOCK_MS = 120_000;
/** Of the lock that those who bring the schema up to date take: any number that no other program takes. */
const MIGRATION_LOCK = 7_420_742_074;
/** The role of a store whose login is above row security. */
const ROLE = 'connector_registry';
/** Query builders that are kept, one for each tenant; making one costs as much as a tenth of a read. */
const MAX_TENANTS_AT_HAND = 1_000;

/**
 * Opens a database of PostgreSQL 14 or newer and brings its schema up to date; of those that start at once, one does.
 *
 * What a statement ran into is one error for its caller, and a connection that failed in any way but by an answer of the
 * server is ended: nobody gets the answer to another's statement, however late it comes. There is nothing to open again
 * after the database was away, because a connection is made when there is none at hand. A transaction that the server
 * gave up for another's sake (40P01) is not repeated here: its caller is told `unavailable`, and nothing of it was done.
 *
 * @throws ConnectorError `invalid_argument` for an address that is none, `unavailable` where `pg` is not installed or
 *   the database cannot be reached, `invalid_state` where a newer version of this program made the schema.
 */
export async function openPostgres(url: string, options: PostgresOptions = {}): Promise<Engine> {
  const { poolSize = 10, statementMs = 15_000, lockMs = 5_000, answerMs = 17_000 } = options;
  const { acquireMs = ACQUIRE_MS } = options;
  const pg = await loadPg(url);
  await refuseSharedConnections(pg, url);
  const settings = {
    ...(await prepareSchema(pg, url)),
    statement_timeout: String(statementMs),
    lock_timeout: String(lockMs),
    idle_in_transaction_session_timeout: String(IDLE_MS),
  };
  const pool = openPool(pg, url, settings, {
    max: poolSize,
    connectionTimeoutMillis: acquireMs,
    // A server that does not answer at all does not end a statement either.
    query_timeout: answerMs,
  });
  const clients = new Set<Client>();
  // What the pool hands out are clients, which it alone is to end.
  pool.on('connect', (client) => clients.add(client as unknown as Client));
  pool.on('remove', (client) => clients.delete(client as unknown as Client));
  const parserOf = parsers(pg);
  const all = tenantDatabase(pool, ALL_TENANTS, parserOf);
  const known = new Map<string, Database>();
  const ofTenant = (tenantId: string | null): Database => {
    if (tenantId === null) return all;
    const made = known.get(tenantId);
    if (made) return made;
    if (known.size >= MAX_TENANTS_AT_HAND) known.clear();
    // The name of no tenant, so that nobody is an administrator by a name.
    const one = tenantDatabase(pool, tenantId === ALL_TENANTS ? '' : tenantId, parserOf);
    known.set(tenantId, one);
    return one;
  };
  const peers = new PostgresPeers({
    writer: ofTenant,
    newListener: () =>
      new pg.Client({
        connectionString: url,
        application_name: 'connector-registry listener',
        connectionTimeoutMillis: ANSWER_MS,
        query_timeout: ANSWER_MS,
        keepAlive: true,
      }),
    counters: postgresCounters((text, values) => pool.query(text, [...values])),
  });
  try {
    await peers.readClock();
  } catch (error) {
    await pool.end();
    throw error;
  }
  return {
    reader: ofTenant,
    writer: ofTenant,
    peers,
    async close() {
      const { promise: late, resolve } = Promise.withResolvers<'late'>();
      // Of a database that answers, everybody gets the answer.
      const timer = setTimeout(resolve, peers.isCurrent() ? answerMs : CLOSE_MS, 'late');
      const left = peers.close().then(() => (pool.ending ? undefined : pool.end()));
      const ended = await Promise.race([left, late]);
      clearTimeout(timer);
      if (ended !== 'late') return;
      left.catch(() => {});
      if (!pool.ending) pool.end().catch(() => {});
      for (const client of clients) client.end().catch(() => {});
    },
  };
}

/**
 * One consistent look at a database, for reading alone; its schema is left as it is.
 *
 * @throws ConnectorError as {@link openPostgres}.
 */
export async function readPostgres(url: string): Promise<{ readonly db: Database; close(): Promise<void> }> {
  const pg = await loadPg(url);
  await refuseSharedConnections(pg, url);
  const settings = {
    default_transaction_read_only: 'on',
    // The one connection is one transaction from its first statement on.
    default_transaction_isolation: 'repeatable read',
    // Rows are read by their keys, also before anything was counted for the planner, which would sort a whole table for
    // each page of it.
    enable_sort: 'off',
  };
  const pool = openPool(pg, url, settings, { max: 1 });
  const whole = tenantDatabase(pool, ALL_TENANTS, parsers(pg)).startTransaction();
  const db = await whole.execute().catch(async (error: unknown) => {
    await pool.end();
    throw error;
  });
  return {
    db,
    async close() {
      // Nothing is to be kept; the connection is let go of either way.
      await db
        .rollback()
        .execute()
        .catch(() => {});
      await pool.end();
    },
  };
}

/** @throws ConnectorError `invalid_argument` for an address that is none, `unavailable` where `pg` is not installed. */
async function loadPg(url: string): Promise<Pg> {
  if (!/^postgres(ql)?:\/\//.test(url) || !URL.canParse(url))
    throw invalidField('databaseUrl', 'is an address such as postgres://user:password@host:5432/database');
  // Of the module's own default export: it is CommonJS.
  return loadPeer('pg', '^8.16.0', async () => (await import('pg')).default as unknown as Pg);
}

/** What each connection is told once, by the names that PostgreSQL has for it. */
type Settings = Readonly<Record<string, string>>;

/** Connections on which `settings` are in force: told by a statement, because poolers refuse or drop what a start tells. */
function openPool(pg: Pg, url: string, settings: Settings, config: PoolConfig): Pool {
  const told = Object.keys(settings).map((name, index) => `set_config('${name}', $${index + 1}, false)`);
  const tell = `select ${told.join(', ')}`;
  const parserOf = parsers(pg);
  const pool = new pg.Pool({
    connectionString: url,
    application_name: 'connector-registry',
    connectionTimeoutMillis: ACQUIRE_MS,
    keepAlive: true,
    types: { getTypeParser: (typeId) => parserOf(typeId) ?? String },
    verify: (client, done) => void client.query(tell, Object.values(settings)).then(() => done(), done),
    ...config,
  });
  // A connection that nobody uses is lost: the next caller gets another one, or the error of making it.
  pool.on('error', () => undefined);
  // Nor may one that is lost between two statements of a transaction end the process: its next statement says so.
  pool.on('connect', (client) => client.on('error', () => undefined));
  return pool;
}

function parsers({ types }: Pg): ParserOf {
  const numbers = new Set<number>([types.builtins.INT8, types.builtins.NUMERIC]);
  const texts = new Set<number>([types.builtins.TEXT, types.builtins.VARCHAR]);
  return (typeId) => {
    // The store writes no integer that JavaScript cannot hold.
    if (numbers.has(typeId)) return Number;
    return texts.has(typeId) ? undefined : types.getTypeParser(typeId, 'text');
  };
}

/**
 * The tenant of a statement, the role and the lock of the schema hold on a connection that nobody else has meanwhile.
 *
 * @throws ConnectorError `invalid_argument` behind a pooler that hands a connection on with every transaction.
 */
async function refuseSharedConnections(pg: Pg, url: string): Promise<void> {
  const newClient = () =>
    new pg.Client({ connectionString: url, connectionTimeoutMillis: ACQUIRE_MS, query_timeout: ACQUIRE_MS });
  const [one, other] = [newClient(), newClient()];
  for (const client of [one, other]) client.on('error', () => undefined);
  const isOne = "select current_setting('app.probe', true) = 'one' as is_one";
  try {
    await one.connect();
    await other.connect();
    await one.query("select set_config('app.probe', 'one', false)");
    // What the other one holds open, a pooler cannot give to the first as well.
    await other.query('begin');
    const { rows: others } = await other.query<{ is_one: boolean | null }>(isOne);
    const { rows: ones } = await one.query<{ is_one: boolean | null }>(isOne);
    if (others[0]?.is_one === true || ones[0]?.is_one !== true)
      throw invalidField(
        'databaseUrl',
        'is a pooler that gives each transaction another connection: ' +
          'use the address of the database itself, or the mode "session" of the pooler',
      );
  } catch (error) {
    throw postgresError(error);
  } finally {
    await Promise.all([one, other].map((client) => client.end().catch(() => {})));
  }
}

/** Brings the schema up to date, and answers what each connection sets so that the store can keep its word. */
async function prepareSchema(pg: Pg, url: string): Promise<Settings> {
  const pool = openPool(pg, url, { lock_timeout: String(MIGRATION_LOCK_MS) }, { max: 1 });
  try {
    return await tenantDatabase(pool, ALL_TENANTS, parsers(pg))
      .connection()
      .execute(async (db) => {
        await sql`select pg_advisory_lock(${sql.lit(MIGRATION_LOCK)})`.execute(db);
        // The lock ends with the connection.
        await migrate(db, POSTGRES_MIGRATIONS);
        const { rows } = await sql<{ above: boolean; lax: boolean }>`
          select rolsuper or rolbypassrls as above, current_setting('synchronous_commit') = 'off' as lax
          from pg_roles where rolname = current_user`.execute(db);
        const [login] = rows;
        // Otherwise what was acknowledged could be lost. A setting that promises more than this stays.
        const durable = login?.lax ? { synchronous_commit: 'on' } : {};
        if (!login?.above) return durable;
        for (const statement of [
          // Roles are of all databases of a server: another one may make it at the same time.
          `do $$ begin
            if not exists (select from pg_roles where rolname = '${ROLE}') then create role ${ROLE} nologin; end if;
          exception when duplicate_object or unique_violation then null; end $$`,
          `grant usage on schema public to ${ROLE}`,
          `grant select, insert, update, delete on ${TABLES.join(', ')} to ${ROLE}`,
        ])
          await db.executeQuery(CompiledQuery.raw(statement));
        return { ...durable, role: ROLE };
      });
  } finally {
    await pool.end();
  }
}
