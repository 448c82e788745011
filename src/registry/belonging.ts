import { randomUUID } from 'node:crypto';
import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { ConnectorError } from '../errors/error.ts';
import type { DataDir } from '../store/data-dir.ts';
import type { Store } from '../store/store.ts';
import type { Folders } from './folders.ts';

/** The fact that names a registry, whatever database it is moved to. */
const REGISTRY_FACT = 'registry_id';

export type Belonging = {
  /** Undefined where the content of embedded engines goes with the process. */
  readonly dataDir: DataDir | undefined;
  readonly folders: Folders;
  /** Whether the store is the data directory's own database. */
  readonly isOwn: boolean;
};

/**
 * Makes sure, before its database is made, that no registry begins beside what another one's embedded engines stored.
 *
 * @throws ConnectorError `invalid_state` where the data directory has such content and no database.
 */
export async function refuseLostDatabase({ dataDir, folders, isOwn }: Belonging): Promise<void> {
  if (!dataDir || !isOwn) return;
  const file = join(dataDir.path, 'registry.db');
  if ((await stat(file).catch(() => undefined)) || !(await folders.hasContent())) return;
  throw new ConnectorError(
    'invalid_state',
    `${file} is missing, and the data directory holds what embedded engines stored for its connectors: restore ` +
      'registry.db from a backup, set CONNECTORS_DATABASE_URL where the registry was moved to a database, or set ' +
      'CONNECTORS_DATA_DIR to another directory; nothing was changed',
  );
}

/**
 * The id of the store's registry, made where it has none yet, and remembered by the data directory. A directory that holds
 * nothing of embedded engines belongs to whichever registry opens it, one that names none yet to that of its own database.
 *
 * @throws ConnectorError `invalid_state` where the data directory holds what embedded engines stored for another registry;
 *   neither of the two is changed then.
 */
export async function registryIdOf(store: Store, { dataDir, folders, isOwn }: Belonging): Promise<string> {
  const known = await store.getFact(REGISTRY_FACT);
  const there = dataDir?.registryId;
  if (known !== undefined && known === there) return known;
  const isBound = await folders.hasContent();
  // A database of its own that names no registry is one of before there were such names, such as an older backup.
  const isTakenUp = isOwn && (known === undefined || there === undefined);
  if (dataDir && isBound && !isTakenUp) throw otherRegistry(dataDir, known);
  const id = await store.claimFact(REGISTRY_FACT, (isBound ? there : undefined) ?? randomUUID());
  if (there !== id) await dataDir?.belongTo(id);
  return id;
}

function otherRegistry({ path, registryId }: DataDir, known: string | undefined): ConnectorError {
  const whose = registryId === undefined ? 'a registry that it does not name' : `registry ${registryId}`;
  const other =
    known === undefined ? 'the database is of none yet' : `the database is that of registry ${known}`;
  return new ConnectorError(
    'invalid_state',
    `the data directory ${path} holds what embedded engines stored for ${whose}, and ${other}: ` +
      'move that registry to this database first (connectors migrate), or set CONNECTORS_DATA_DIR to another directory; ' +
      `nothing was changed (docs/operations.md says when to change its registry-id by hand)`,
    { details: { directoryOf: registryId ?? null, databaseOf: known ?? null } },
  );
}
