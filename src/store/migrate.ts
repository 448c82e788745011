import { CompiledQuery, sql } from 'kysely';
import { ConnectorError } from '../errors/error.ts';
import { initial } from './migrations/001-initial.ts';
import { invocations } from './migrations/002-invocations.ts';
import { probes } from './migrations/003-probes.ts';
import type { Database } from './schema.ts';

/** One step of the schema. Never changed once it is released: a change is a further step. */
export type Migration = {
  /** 1 for the first; one more for each further. */
  readonly version: number;
  readonly name: string;
  readonly statements: readonly string[];
};

/** All steps, in order. */
export const MIGRATIONS: readonly Migration[] = [initial, invocations, probes];

/**
 * Brings the schema up to date, each step in a transaction of its own that holds the write lock from its first
 * statement; a crash leaves the schema before a step or after it. Two processes that start at once wait for one another.
 *
 * @throws ConnectorError `invalid_state` where the database is of a newer version than `migrations` know.
 */
export async function migrate(db: Database, migrations = MIGRATIONS): Promise<void> {
  const known = migrations.length;
  await db.executeQuery(
    CompiledQuery.raw(
      'create table if not exists migrations (version integer not null primary key, name text not null, applied_at bigint not null)',
    ),
  );
  for (;;) {
    const done = await db.transaction().execute(async (step) => {
      const version = await schemaVersion(step);
      if (version > known) throw newerDatabase(version, known);
      const next = migrations[version];
      if (!next) return true;
      for (const statement of next.statements) await step.executeQuery(CompiledQuery.raw(statement));
      await sql`insert into migrations values (${next.version}, ${next.name}, ${Date.now()})`.execute(step);
      return false;
    });
    if (done) return;
  }
}

/** The last step that was taken; 0 where there was none. */
export async function schemaVersion(db: Database): Promise<number> {
  const { rows } = await sql<{
    version: number | null;
  }>`select max(version) as version from migrations`.execute(db);
  return rows[0]?.version ?? 0;
}

function newerDatabase(version: number, known: number): ConnectorError {
  return new ConnectorError(
    'invalid_state',
    `the database has schema version ${version}, this program knows versions up to ${known}; upgrade connector-registry`,
    { details: { version, known } },
  );
}
