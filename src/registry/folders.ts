import { randomUUID } from 'node:crypto';
import { mkdtempSync } from 'node:fs';
import { mkdir, readdir, rename, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { tenantFolderName } from '../store/tenant-folder.ts';
import type { DriverKind } from './catalog.ts';
import { KINDS } from './spec.ts';

/** How long a folder is kept whose connector the store does not know. */
const KEEP_MS = 7 * 86_400_000;

/** Where the embedded engines keep each tenant's content, below the data directory. */
export class Folders {
  readonly #root: string;
  readonly #temporary: boolean;
  /** What this process is removing. */
  readonly #going = new Set<string>();

  /** @param dataDir absent: a temporary folder that goes with the registry. */
  constructor(dataDir: string | undefined) {
    this.#temporary = dataDir === undefined;
    this.#root = join(dataDir ?? mkdtempSync(join(tmpdir(), 'connector-registry-')), 'tenants');
  }

  tenant(tenantId: string): string {
    return join(this.#root, tenantFolderName(tenantId));
  }

  connector(tenantId: string, kind: DriverKind, connectorId: string): string {
    return join(this.tenant(tenantId), KINDS[kind].folder, connectorId);
  }

  /** What the connectors of a kind may share within their tenant. */
  shared(tenantId: string, kind: DriverKind): string {
    return join(this.tenant(tenantId), 'cache', KINDS[kind].folder);
  }

  async removeConnector(tenantId: string, kind: DriverKind, connectorId: string): Promise<void> {
    await this.#remove(this.connector(tenantId, kind, connectorId));
  }

  async removeTenant(tenantId: string): Promise<void> {
    await this.#remove(this.tenant(tenantId));
  }

  /**
   * Removes what removals that were cut off left, and folders of connectors that the store has not known for a week: it may
   * be an older state of the database, restored from a backup, that does not know them yet.
   *
   * @param exists whether the store knows the id.
   * @returns how many such folders are kept for now.
   */
  async sweep(exists: (connectorId: string) => Promise<boolean>, now: Date): Promise<number> {
    for (const name of await namesIn(this.#removing))
      if (!this.#going.has(name)) await rm(join(this.#removing, name), { recursive: true, force: true });
    let kept = 0;
    for (const tenant of await namesIn(this.#root)) {
      for (const { folder } of Object.values(KINDS)) {
        for (const connectorId of await namesIn(join(this.#root, tenant, folder))) {
          const path = join(this.#root, tenant, folder, connectorId);
          if (await exists(connectorId)) await rm(missing(path), { force: true });
          else if (await isMissed(path, now)) await this.#remove(path);
          else kept += 1;
        }
      }
    }
    return kept;
  }

  /** Whether anything lies here that an embedded engine stored. */
  async hasContent(): Promise<boolean> {
    for (const tenant of await namesIn(this.#root))
      for (const { folder } of Object.values(KINDS))
        if ((await namesIn(join(this.#root, tenant, folder))).length > 0) return true;
    return false;
  }

  /** The connectors of a kind that have a folder. */
  async connectorIds(kind: DriverKind): Promise<readonly string[]> {
    const tenants = await namesIn(this.#root);
    const found = await Promise.all(
      tenants.map((tenant) => namesIn(join(this.#root, tenant, KINDS[kind].folder))),
    );
    return found.flat();
  }

  async close(): Promise<void> {
    if (this.#temporary) await rm(join(this.#root, '..'), { recursive: true, force: true });
  }

  /** What is being removed: out of everybody's way at once, and known to the next start where this one is cut off. */
  get #removing(): string {
    return join(this.#root, '..', 'removing');
  }

  async #remove(folder: string): Promise<void> {
    await rm(missing(folder), { force: true });
    const name = randomUUID();
    const aside = join(this.#removing, name);
    await mkdir(this.#removing, { recursive: true, mode: 0o700 });
    this.#going.add(name);
    try {
      await rename(folder, aside);
      await rm(aside, { recursive: true, force: true });
    } catch (error) {
      // There is no such folder.
      if (!(error instanceof Error && 'code' in error && error.code === 'ENOENT')) throw error;
    } finally {
      this.#going.delete(name);
    }
  }
}

/** A file beside the folder of a connector that the store does not know, as old as that is known. */
function missing(folder: string): string {
  return `${folder}.missing`;
}

/** Whether the connector of a folder was missing long ago; it is from now on where it was not. */
async function isMissed(folder: string, now: Date): Promise<boolean> {
  const since = await stat(missing(folder)).catch(() => undefined);
  if (since) return now.getTime() - since.mtimeMs >= KEEP_MS;
  await writeFile(missing(folder), '', { mode: 0o600 });
  return false;
}

async function namesIn(folder: string): Promise<readonly string[]> {
  const entries = await readdir(folder, { withFileTypes: true }).catch(() => []);
  return entries.filter((entry) => entry.isDirectory()).map((entry) => entry.name);
}
