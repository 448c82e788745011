import { mkdir, open, readdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { FileConnector } from '../connectors/file/connector.ts';
import type { InvocationRecord } from '../connectors/serverless/invocations.ts';
import { isConnectorError } from '../errors/error.ts';
import { tenantFolderName } from '../store/tenant-folder.ts';
import type { Folders } from './folders.ts';

/** Whose results they are. */
export type Place = Pick<InvocationRecord, 'tenantId' | 'connectorId'>;

/** Where results lie that are too large for a row. */
export interface ResultFiles {
  /** Durable when it resolves. */
  write(where: Place, name: string, bytes: Uint8Array): Promise<void>;
  /** Undefined where there is none. */
  read(where: Place, name: string): Promise<Uint8Array | undefined>;
  remove(where: Place, name: string): Promise<void>;
}

/** Results in the folder of their connector in the data directory, with which they go. */
export class LocalResults implements ResultFiles {
  readonly #folders: Folders;

  constructor(folders: Folders) {
    this.#folders = folders;
  }

  async write(where: Place, name: string, bytes: Uint8Array): Promise<void> {
    const folder = this.#folder(where);
    await mkdir(folder, { recursive: true, mode: 0o700 });
    await using file = await open(join(folder, name), 'w', 0o600);
    await file.writeFile(bytes);
    await file.sync();
    await using directory = await open(folder, 'r');
    await directory.sync();
  }

  read(where: Place, name: string): Promise<Uint8Array | undefined> {
    return readFile(join(this.#folder(where), name)).catch(() => undefined);
  }

  async remove(where: Place, name: string): Promise<void> {
    await rm(join(this.#folder(where), name), { force: true });
  }

  /** Names of everything that lies there. */
  names(where: Place): Promise<readonly string[]> {
    return readdir(this.#folder(where)).catch(() => []);
  }

  #folder({ tenantId, connectorId }: Place): string {
    return join(this.#folders.connector(tenantId, 'serverless', connectorId), 'results');
  }
}

const ROOT = 'results';
/** An attempt to write a result holds a turn and a lease; one that takes longer is given up. */
const WRITE_MS = 10_000;

/** A file below the root of {@link ConnectorResults}. */
export type StoredResult = {
  readonly path: string;
  readonly connectorId: string;
  readonly name: string;
  readonly lastModified: Date;
};

/**
 * Results in a file connector that all servers reach: `results/<registry>/<tenant>/<connector>/<name>`. Where two registries
 * keep theirs in one bucket, neither sees those of the other.
 */
export class ConnectorResults implements ResultFiles {
  readonly #files: FileConnector;
  readonly #root: string;

  constructor(files: FileConnector, registryId: string) {
    this.#files = files;
    this.#root = `${ROOT}/${registryId}`;
  }

  async write(where: Place, name: string, bytes: Uint8Array): Promise<void> {
    await this.#files.writeFile(this.#pathOf(where, name), bytes, { signal: AbortSignal.timeout(WRITE_MS) });
  }

  async read(where: Place, name: string): Promise<Uint8Array | undefined> {
    try {
      return await this.#files.readFile(this.#pathOf(where, name));
    } catch (error) {
      if (isConnectorError(error) && error.code === 'not_found') return undefined;
      throw error;
    }
  }

  async remove(where: Place, name: string): Promise<void> {
    await this.removeAt(this.#pathOf(where, name));
  }

  async removeAt(path: string): Promise<void> {
    await this.#files.deleteFile(path);
  }

  /** Every file of a connector, of a tenant, or of all. */
  async *list({ tenantId, connectorId }: Partial<Place> = {}): AsyncGenerator<StoredResult> {
    const folder = tenantId === undefined ? [] : [tenantFolderName(tenantId)];
    const path = [this.#root, ...folder, ...(connectorId === undefined ? [] : [connectorId])].join('/');
    for (let cursor: string | undefined; ;) {
      const page = await this.#files.listFiles(path, { recursive: true, cursor });
      for (const { path: found, lastModified } of page.files) {
        const [, , , owner = '', name = ''] = found.split('/');
        yield { path: found, connectorId: owner, name, lastModified };
      }
      cursor = page.nextCursor;
      if (cursor === undefined) return;
    }
  }

  #pathOf({ tenantId, connectorId }: Place, name: string): string {
    return `${this.#root}/${tenantFolderName(tenantId)}/${connectorId}/${name}`;
  }
}
