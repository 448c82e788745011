import { realpath, stat } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { ConnectorError, invalidField, isConnectorError } from '../errors/error.ts';
import { openDataDir } from './data-dir.ts';
import { MIGRATIONS, schemaVersion } from './migrate.ts';
import { POSTGRES_MIGRATIONS } from './migrations/postgres.ts';
import { SERVING } from './postgres-peers.ts';
import type { Database } from './schema.ts';
import { openFile, readSqlite } from './sqlite.ts';

/** One end of a transfer. */
export type Side = {
  /** The place, without a password: for people, and to know it again. */
  readonly name: string;
  readonly db: Database;
  /** @throws ConnectorError `invalid_state` where something serves it by now, which may have changed it since. */
  checkUnserved(): Promise<void>;
  close(): Promise<void>;
};

type Place = { readonly databaseUrl: string } | { readonly dataDir: string };

/**
 * What is to be moved: one consistent state of it, which this neither changes nor brings up to date.
 *
 * @param place `postgres://…`, or a data directory, with or without `sqlite:` before it.
 * @throws ConnectorError `not_found` where nothing is there, `invalid_state` where its schema is older or newer than this
 *   program's, or something still serves it.
 */
export async function openSource(place: string): Promise<Side> {
  const at = placeOf(place, 'from');
  const side = 'databaseUrl' in at ? await postgresSource(at.databaseUrl) : await directorySource(at.dataDir);
  const known = 'databaseUrl' in at ? POSTGRES_MIGRATIONS.length : MIGRATIONS.length;
  try {
    const version = await schemaVersion(side.db).catch(() => 0);
    if (version === known) return side;
    throw version === 0
      ? new ConnectorError('not_found', `there is no registry in ${side.name}`)
      : new ConnectorError(
          'invalid_state',
          `${side.name} has schema version ${version}, this program moves version ${known}; ` +
            (version < known ? 'start a server of this version on it once' : 'upgrade connector-registry'),
        );
  } catch (error) {
    await side.close();
    throw error;
  }
}

/** Where it is moved to; the schema is made where there is none. @throws ConnectorError as the store's own opening. */
export async function openTarget(place: string): Promise<Side> {
  const at = placeOf(place, 'to');
  return 'databaseUrl' in at ? postgresTarget(at.databaseUrl) : directoryTarget(at.dataDir);
}

/** Whether both say the same place. */
export function isSamePlace(from: string, to: string): boolean {
  return JSON.stringify(placeOf(from, 'from')) === JSON.stringify(placeOf(to, 'to'));
}

function placeOf(place: string, path: string): Place {
  if (/^postgres(ql)?:/.test(place)) return { databaseUrl: place };
  const dataDir = place.replace(/^sqlite:/, '');
  if (dataDir === '' || /^[a-z][a-z\d+.-]+:\/\//i.test(dataDir))
    throw invalidField(path, 'is postgres://user:password@host:5432/database, or a data directory');
  return { dataDir: resolve(dataDir) };
}

async function postgresSource(url: string): Promise<Side> {
  const { readPostgres } = await import('./postgres.ts');
  const look = () => readPostgres(url).catch(named(url));
  const { db, close } = await look();
  const name = shownUrl(url);
  return unserved({
    name,
    db,
    async checkUnserved() {
      // The first look sees what was there when it began, and no server that came later.
      const now = await look();
      try {
        await refuseServed(name, now.db);
      } finally {
        await now.close();
      }
    },
    close,
  });
}

async function postgresTarget(url: string): Promise<Side> {
  const { openPostgres } = await import('./postgres.ts');
  const engine = await openPostgres(url).catch(named(url));
  const [name, db] = [shownUrl(url), engine.writer(null)];
  return unserved({ name, db, checkUnserved: () => refuseServed(name, db), close: () => engine.close() });
}

/** Says which of two databases it is. */
function named(url: string) {
  return (error: unknown): never => {
    if (!isConnectorError(error) || error.code === 'invalid_argument') throw error;
    const { code, message, details, retryAfterMs } = error;
    throw new ConnectorError(code, `${shownUrl(url)}: ${message}`, {
      cause: error,
      details,
      ...(retryAfterMs !== undefined && { retryAfterMs }),
    });
  };
}

/** A side that nothing serves now; otherwise it is closed. */
async function unserved(side: Side): Promise<Side> {
  try {
    await refuseServed(side.name, side.db);
    return side;
  } catch (error) {
    await side.close();
    throw error;
  }
}

async function refuseServed(name: string, db: Database): Promise<void> {
  // Where the schema is not there yet nobody serves it.
  const { rows } = await SERVING.execute(db).catch(() => ({ rows: [] }));
  if (rows.length === 0) return;
  const ids = rows.map((row) => row.server_id).join(', ');
  throw new ConnectorError(
    'invalid_state',
    `${name} is served by ${ids}; stop them first (one that was killed is counted for 15 s)`,
  );
}

/** A data directory is this process's alone as long as it is open. */
async function isAlone(): Promise<void> {}

async function directorySource(path: string): Promise<Side> {
  const file = join(path, 'registry.db');
  if (!(await stat(file).catch(() => undefined)))
    throw new ConnectorError('not_found', `there is no registry in ${path}`);
  const dataDir = await openDataDir(path);
  try {
    const { db, close } = readSqlite(file);
    return {
      name: await realpath(path),
      db,
      checkUnserved: isAlone,
      async close() {
        close();
        await dataDir.close();
      },
    };
  } catch (error) {
    await dataDir.close();
    throw error;
  }
}

async function directoryTarget(path: string): Promise<Side> {
  const dataDir = await openDataDir(path);
  try {
    const engine = await openFile(join(path, 'registry.db'));
    return {
      name: await realpath(path),
      db: engine.writer(null),
      checkUnserved: isAlone,
      async close() {
        await engine.close();
        await dataDir.close();
      },
    };
  } catch (error) {
    await dataDir.close();
    throw error;
  }
}

function shownUrl(url: string): string {
  const { hostname, port, pathname } = new URL(url);
  return `postgres://${hostname}:${port || 5432}${pathname}`;
}
