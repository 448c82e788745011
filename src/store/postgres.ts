import {
  CompiledQuery,
  type DatabaseConnection,
  type Dialect,
  type Driver,
  Kysely,
  PostgresAdapter,
  PostgresIntrospector,
  PostgresQueryCompiler,
  type QueryResult,
  sql,
} from 'kysely';
import type { Connection, Pool, PoolClient, PoolConfig } from 'pg';
import { loadPeer } from '../contract/peers.ts';
import { ConnectorError, invalidField } from '../errors/error.ts';
import type { Engine } from './engine.ts';
import { migrate } from './migrate.ts';
import { ALL_TENANTS, POSTGRES_MIGRATIONS, TABLES } from './migrations/postgres.ts';
import { postgresCounters } from './postgres-counters.ts';
import { isLost, postgresError } from './postgres-error.ts';
import { ANSWER_MS, newServerId, PostgresPeers } from './postgres-peers.ts';
import type { Database, Tables } from './schema.ts';

type Pg = typeof import('pg');

/** Connections at once, at most, unless told. */
const POOL_SIZE = 10;
const ACQUIRE_MS = 5_000;
const STATEMENT_MS = 30_000;
const LOCK_MS = 10_000;
/** How long a start waits for another one that brings the schema up to date. */
const MIGRATION_LOCK_MS = 120_000;
/** Of the lock that those who bring the schema up to date take: any number that no other program takes. */
const MIGRATION_LOCK = 7_420_742_074;
/** The role of a store whose login is above row security. */
const ROLE = 'connector_registry';
/** Query builders that are kept, one for each tenant; making one costs as much as a tenth of a read. */
const MAX_TENANTS_AT_HAND = 1_000;
/** Texts of statements that the server keeps compiled in each connection. */
const MAX_STATEMENTS = 256;

/** The names of SQL texts that are kept compiled. */
const names = new Map<string, string>();

/**
 * Opens a database of PostgreSQL 14 or newer and brings its schema up to date; of those that start at once, one does.
 *
 * @throws ConnectorError `invalid_argument` for an address that is none, `unavailable` where `pg` is not installed or
 *   the database cannot be reached, `invalid_state` where a newer version of this program made the schema.
 */
export async function openPostgres(url: string): Promise<Engine> {
  const pg = await loadPg(url);
  const role = await prepareSchema(pg, url);
  const serverId = newServerId();
  const pool = openPool(pg, url, {
    max: POOL_SIZE,
    statement_timeout: STATEMENT_MS,
    lock_timeout: LOCK_MS,
    // A server that does not answer at all does not end a statement either.
    query_timeout: STATEMENT_MS + 5_000,
    idle_in_transaction_session_timeout: 2 * STATEMENT_MS,
    // Whom what changes is by, for the triggers that tell others of it.
    options: `-c app.server=${serverId}${role === undefined ? '' : ` -c role=${role}`}`,
  });
  const scope = scopedQuery(pg);
  const all = database(pool, ALL_TENANTS, scope);
  const known = new Map<string, Database>();
  const ofTenant = (tenantId: string | null): Database => {
    if (tenantId === null) return all;
    const made = known.get(tenantId);
    if (made) return made;
    if (known.size >= MAX_TENANTS_AT_HAND) known.clear();
    // The name of no tenant, so that nobody is an administrator by a name.
    const one = database(pool, tenantId === ALL_TENANTS ? '' : tenantId, scope);
    known.set(tenantId, one);
    return one;
  };
  const peers = new PostgresPeers({
    serverId,
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
      await peers.close();
      await pool.end();
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
  const pool = openPool(pg, url, {
    max: 1,
    // The one connection is one transaction from its first statement on.
    options: '-c default_transaction_read_only=on -c default_transaction_isolation=repeatable\\ read',
  });
  const { promise: ended, resolve: end } = Promise.withResolvers<void>();
  const { promise: begun, resolve: begin, reject: fail } = Promise.withResolvers<Database>();
  const whole = database(pool, ALL_TENANTS, scopedQuery(pg))
    .transaction()
    .execute(async (db) => {
      begin(db);
      await ended;
    });
  whole.catch(fail);
  return {
    db: await begun.catch(async (error: unknown) => {
      await pool.end();
      throw error;
    }),
    async close() {
      end();
      await whole.catch(() => {});
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

function openPool(pg: Pg, url: string, config: PoolConfig): Pool {
  const numbers = new Set<number>([pg.types.builtins.INT8, pg.types.builtins.NUMERIC]);
  const pool = new pg.Pool({
    connectionString: url,
    application_name: 'connector-registry',
    connectionTimeoutMillis: ACQUIRE_MS,
    keepAlive: true,
    // The store writes no integer that JavaScript cannot hold.
    types: {
      getTypeParser: (oid, format) => (numbers.has(oid) ? Number : pg.types.getTypeParser(oid, format)),
    },
    ...config,
  });
  // A connection that nobody uses is lost: the next caller gets another one, or the error of making it.
  pool.on('error', () => undefined);
  // Nor may one that is lost between two statements of a transaction end the process: its next statement says so.
  pool.on('connect', (client) => client.on('error', () => undefined));
  return pool;
}

/** Brings the schema up to date, and answers the role to take where the login is above row security. */
async function prepareSchema(pg: Pg, url: string): Promise<string | undefined> {
  const pool = openPool(pg, url, { max: 1, lock_timeout: MIGRATION_LOCK_MS });
  try {
    return await database(pool, ALL_TENANTS, scopedQuery(pg))
      .connection()
      .execute(async (db) => {
        await sql`select pg_advisory_lock(${sql.lit(MIGRATION_LOCK)})`.execute(db);
        // The lock ends with the connection.
        await migrate(db, POSTGRES_MIGRATIONS);
        const { rows } = await sql<{ above: boolean }>`
          select rolsuper or rolbypassrls as above from pg_roles where rolname = current_user`.execute(db);
        if (!rows[0]?.above) return undefined;
        for (const statement of [
          // Roles are of all databases of a server: another one may make it at the same time.
          `do $$ begin
            if not exists (select from pg_roles where rolname = '${ROLE}') then create role ${ROLE} nologin; end if;
          exception when duplicate_object or unique_violation then null; end $$`,
          `grant usage on schema public to ${ROLE}`,
          `grant select, insert, update, delete on ${TABLES.join(', ')} to ${ROLE}`,
        ])
          await db.executeQuery(CompiledQuery.raw(statement));
        return ROLE;
      });
  } finally {
    await pool.end();
  }
}

type ScopedQuery = (client: PoolClient, tenant: string, query: CompiledQuery) => Promise<Answer>;
type Answer = { readonly command: string; readonly rowCount: number | null; readonly rows: unknown[] };

function database(pool: Pool, tenant: string, scoped: ScopedQuery): Database {
  const dialect: Dialect = {
    createDriver: () => new TenantDriver(pool, tenant, scoped),
    createQueryCompiler: () => new PostgresQueryCompiler(),
    createAdapter: () => new PostgresAdapter(),
    createIntrospector: (db) => new PostgresIntrospector(db),
  };
  return new Kysely<Tables>({ dialect });
}

/** Runs every transaction in the name of one tenant, also that of a single statement. */
class TenantDriver implements Driver {
  readonly #pool: Pool;
  readonly #tenant: string;
  readonly #scoped: ScopedQuery;

  constructor(pool: Pool, tenant: string, scoped: ScopedQuery) {
    this.#pool = pool;
    this.#tenant = tenant;
    this.#scoped = scoped;
  }

  async init(): Promise<void> {}

  async acquireConnection(): Promise<TenantConnection> {
    if (this.#pool.ending) throw new ConnectorError('invalid_state', 'the store is closed');
    try {
      return new TenantConnection(await this.#pool.connect(), this.#tenant, this.#scoped);
    } catch (error) {
      throw postgresError(error);
    }
  }

  beginTransaction(connection: TenantConnection): Promise<void> {
    return connection.begin();
  }
  commitTransaction(connection: TenantConnection): Promise<void> {
    return connection.end('commit');
  }
  rollbackTransaction(connection: TenantConnection): Promise<void> {
    return connection.end('rollback');
  }
  async releaseConnection(connection: TenantConnection): Promise<void> {
    connection.release();
  }
  async destroy(): Promise<void> {}
}

class TenantConnection implements DatabaseConnection {
  readonly #client: PoolClient;
  readonly #tenant: string;
  readonly #scoped: ScopedQuery;
  #inTransaction = false;
  #isLost = false;

  constructor(client: PoolClient, tenant: string, scoped: ScopedQuery) {
    this.#client = client;
    this.#tenant = tenant;
    this.#scoped = scoped;
  }

  async executeQuery<R>(query: CompiledQuery): Promise<QueryResult<R>> {
    const { command, rowCount, rows } = await this.#attempt(() =>
      this.#inTransaction
        ? this.#client.query({ ...named(query), values: [...query.parameters] })
        : this.#scoped(this.#client, this.#tenant, query),
    );
    const changes = command === 'INSERT' || command === 'UPDATE' || command === 'DELETE';
    // What a row is, the query's own type says.
    return { rows: rows as R[], ...(changes && { numAffectedRows: BigInt(rowCount ?? 0) }) };
  }

  // The store reads no streams.
  async *streamQuery(): AsyncGenerator<never> {}

  async begin(): Promise<void> {
    const tenant = this.#client.escapeLiteral(this.#tenant);
    await this.#attempt(() => this.#client.query(`begin; select set_config('app.tenant', ${tenant}, true)`));
    this.#inTransaction = true;
  }

  async end(how: 'commit' | 'rollback'): Promise<void> {
    this.#inTransaction = false;
    // The server has rolled back what its client is gone from.
    if (this.#isLost && how === 'rollback') return;
    await this.#attempt(() => this.#client.query(how));
  }

  release(): void {
    this.#client.release(this.#isLost || this.#inTransaction);
  }

  async #attempt<T>(run: () => Promise<T>): Promise<T> {
    try {
      return await run();
    } catch (error) {
      this.#isLost ||= isLost(error);
      throw postgresError(error);
    }
  }
}

function named({ sql: text }: CompiledQuery): { readonly text: string; readonly name?: string } {
  const name = names.get(text) ?? (names.size < MAX_STATEMENTS ? `s${names.size}` : undefined);
  if (name === undefined) return { text };
  names.set(text, name);
  return { text, name };
}

/**
 * Makes what runs one statement in the name of a tenant, in one round trip: the setting and the statement go out
 * together and are one transaction, which ends with the statement.
 */
function scopedQuery(pg: Pg): ScopedQuery {
  const prepared = new WeakSet<Connection>();

  class Scoped extends pg.Query {
    tenant = '';
    #isSet = false;

    // `pg` types none of these: they are what a client calls on the query that it runs.
    prepare(connection: Connection & Wire): void {
      if (!prepared.has(connection)) {
        prepared.add(connection);
        connection.parse({ name: SETTING, text: "select set_config('app.tenant', $1, true)" });
      }
      connection.bind({ statement: SETTING, values: [this.tenant] });
      connection.execute({ portal: '', rows: 0 });
      QUERY.prepare.call(this, connection);
    }
    requiresPreparation(): boolean {
      return true;
    }
    handleDataRow(message: unknown): void {
      if (this.#isSet) QUERY.handleDataRow.call(this, message);
    }
    handleCommandComplete(message: unknown, connection: unknown): void {
      if (this.#isSet) QUERY.handleCommandComplete.call(this, message, connection);
      this.#isSet = true;
    }
  }
  // The methods of `pg`'s own class, which its types do not have.
  const QUERY = pg.Query.prototype as unknown as Readonly<
    Record<keyof Overridden, (...args: unknown[]) => void>
  >;

  return (client, tenant, query) =>
    new Promise((resolve, reject) => {
      const scoped = new Scoped(
        { ...named(query), values: [...query.parameters] },
        // `pg` takes a third parameter here, for what its types put elsewhere.
        ...([
          undefined,
          (error: Error | null, answer: Answer) => (error ? reject(error) : resolve(answer)),
        ] as never[]),
      );
      scoped.tenant = tenant;
      client.query(scoped);
    });
}

const SETTING = 'tenant';
type Overridden = { prepare: never; handleDataRow: never; handleCommandComplete: never };
type Wire = {
  parse(statement: { readonly name: string; readonly text: string }): void;
  bind(values: { readonly statement: string; readonly values: readonly string[] }): void;
  execute(portal: { readonly portal: string; readonly rows: number }): void;
};
