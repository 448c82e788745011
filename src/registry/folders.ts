import { mkdtempSync } from 'node:fs';
import { readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { tenantFolderName } from '../store/tenant-folder.ts';
import type { DriverKind } from './catalog.ts';
import { KINDS } from './spec.ts';

/** Where the embedded engines keep each tenant's content, below the data directory. */
export class Folders {
  readonly #root: string;
  readonly #temporary: boolean;

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
    await rm(this.connector(tenantId, kind, connectorId), { recursive: true, force: true });
  }

  async removeTenant(tenantId: string): Promise<void> {
    await rm(this.tenant(tenantId), { recursive: true, force: true });
  }

  /**
   * Removes folders of connectors that are no longer stored: what a crash between the two steps of a removal left.
   *
   * @param exists whether the store knows the id.
   */
  async sweep(exists: (connectorId: string) => Promise<boolean>): Promise<number> {
    let removed = 0;
    for (const tenant of await namesIn(this.#root)) {
      for (const { folder } of Object.values(KINDS)) {
        for (const connectorId of await namesIn(join(this.#root, tenant, folder))) {
          if (await exists(connectorId)) continue;
          await rm(join(this.#root, tenant, folder, connectorId), { recursive: true, force: true });
          removed += 1;
        }
      }
    }
    return removed;
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
}

async function namesIn(folder: string): Promise<readonly string[]> {
  const entries = await readdir(folder, { withFileTypes: true }).catch(() => []);
  return entries.filter((entry) => entry.isDirectory()).map((entry) => entry.name);
}
