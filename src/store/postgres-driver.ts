import {
  type CompiledQuery,
  type DatabaseConnection,
  type Dialect,
  type Driver,
  Kysely,
  PostgresAdapter,
  PostgresIntrospector,
  PostgresQueryCompiler,
  type QueryResult,
} from 'kysely';
import type { Pool, PoolClient } from 'pg';
import { ConnectorError } from '../errors/error.ts';
import { isLost, isOutdated, postgresError } from './postgres-error.ts';
import { type Answer, type Before, type ParserOf, run, type Statement } from './postgres-statement.ts';
import { shortcut } from './prepared.ts';
import type { Database, Tables } from './schema.ts';

/** The database of a pool, in which every transaction is in the name of `tenant`, also that of a single statement. */
export function tenantDatabase(pool: Pool, tenant: string, parserOf: ParserOf): Database {
  const acquire = async (): Promise<TenantConnection> => {
    if (pool.ending) throw new ConnectorError('invalid_state', 'the store is closed');
    try {
      return new TenantConnection(await pool.connect(), tenant, parserOf);
    } catch (error) {
      throw postgresError(error);
    }
  };
  const driver: Driver = {
    init: async () => {},
    acquireConnection: acquire,
    // The connections of this driver are what it gets back.
    beginTransaction: async (connection: TenantConnection) => connection.begin(),
    commitTransaction: (connection: TenantConnection) => connection.commit(),
    rollbackTransaction: (connection: TenantConnection) => connection.rollback(),
    releaseConnection: async (connection: TenantConnection) => connection.release(),
    destroy: async () => {},
  };
  const dialect: Dialect = {
    createDriver: () => driver,
    createQueryCompiler: () => new PostgresQueryCompiler(),
    createAdapter: () => new PostgresAdapter(),
    createIntrospector: (db) => new PostgresIntrospector(db),
  };
  return shortcut(new Kysely<Tables>({ dialect }), async (query) => {
    const connection = await acquire();
    try {
      return await connection.executeQuery(query);
    } finally {
      connection.release();
    }
  });
}

/** A connection for as long as one statement or one transaction has it. */
class TenantConnection implements DatabaseConnection {
  readonly #client: PoolClient;
  readonly #tenant: string;
  readonly #parserOf: ParserOf;
  #transaction: 'none' | 'due' | 'begun' = 'none';
  #isLost = false;

  constructor(client: PoolClient, tenant: string, parserOf: ParserOf) {
    this.#client = client;
    this.#tenant = tenant;
    this.#parserOf = parserOf;
  }

  async executeQuery<R>(query: CompiledQuery): Promise<QueryResult<R>> {
    // No text in PostgreSQL has a NUL: what looks for one finds nothing, and what stores one is refused.
    if (query.query.kind === 'SelectQueryNode' && query.parameters.some(hasNul)) return { rows: [] };
    const { rows, changed } = await this.#run(query);
    // What a row is, the query's own type says.
    return changed === undefined ? { rows: rows as R[] } : { rows: rows as R[], numAffectedRows: changed };
  }

  // The store reads no streams.
  async *streamQuery(): AsyncGenerator<never> {}

  /** The transaction begins with its first statement, in the same round trip. */
  begin(): void {
    this.#transaction = 'due';
  }

  /**
   * Resolves when what was done is durable.
   *
   * Where the connection is lost while the answer is due, nobody can say here whether it is: the error is `unavailable`,
   * and the caller reads before it repeats. Who repeats without reading changes nothing twice: names, ids and versions
   * end that as `already_exists` or `conflict`. The same goes for a single statement.
   */
  async commit(): Promise<void> {
    const was = this.#transaction;
    if (was === 'begun') {
      const { command } = await this.#run(COMMIT);
      // So ends a transaction in which a statement failed, without an error.
      if (command !== 'COMMIT')
        throw new ConnectorError('internal', 'the transaction had failed before its end');
    }
    this.#transaction = 'none';
  }

  async rollback(): Promise<void> {
    // The server has rolled back what its client is gone from.
    if (this.#transaction === 'begun' && !this.#isLost) await this.#run(ROLLBACK);
    this.#transaction = 'none';
  }

  /** One that is lost, or in the midst of a transaction, nobody gets any more: the pool ends it. */
  release(): void {
    this.#client.release(this.#isLost || this.#transaction === 'begun');
  }

  async #run(statement: Statement): Promise<Answer> {
    const before = this.#before();
    try {
      try {
        return await run(this.#client, statement, this.#parserOf, before);
      } catch (error) {
        if (!before || before.begin || !isOutdated(error)) throw error;
        // Nothing was done: what was compiled does not fit any more, and by now it is compiled anew.
        return await run(this.#client, statement, this.#parserOf, before);
      }
    } catch (error) {
      this.#isLost ||= isLost(error);
      throw postgresError(error);
    }
  }

  #before(): Before | undefined {
    if (this.#transaction === 'begun') return undefined;
    const begin = this.#transaction === 'due';
    if (begin) this.#transaction = 'begun';
    return { begin, tenant: this.#tenant };
  }
}

function hasNul(value: unknown): boolean {
  return typeof value === 'string' && value.includes('\0');
}

const COMMIT: Statement = { sql: 'commit', parameters: [], isKept: true };
const ROLLBACK: Statement = { sql: 'rollback', parameters: [], isKept: true };
