import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { ConnectorError, type FileClient, invalidField, type OpenContext } from '../../src/driver.ts';
import { sqliteError } from './errors.ts';
import { listPage } from './list.ts';
import type { SqliteOptions } from './options.ts';
import { fileInfo, isTaken, readRow, rowSql } from './rows.ts';

const SCHEMA = `
  PRAGMA journal_mode = WAL;
  PRAGMA synchronous = FULL;
  CREATE TABLE IF NOT EXISTS file (
    version INTEGER PRIMARY KEY AUTOINCREMENT,
    path TEXT NOT NULL UNIQUE,
    content_type TEXT,
    modified_ms INTEGER NOT NULL,
    body BLOB NOT NULL
  ) STRICT`;

/** A client over `files.db` in the connector's own folder. */
export async function sqliteFiles(
  options: SqliteOptions,
  { folder, clock }: OpenContext,
): Promise<FileClient> {
  const maxBytes = options.max_file_mb * 2 ** 20;
  await mkdir(folder, { recursive: true, mode: 0o700 });
  const db = guarded(() => {
    const opened = new DatabaseSync(join(folder, 'files.db'));
    opened.exec(SCHEMA);
    return opened;
  });
  const find = db.prepare(`${rowSql} WHERE path = ?`);
  const slice = db.prepare('SELECT substr(body, ?, ?) AS bytes FROM file WHERE path = ?');
  const remove = db.prepare('DELETE FROM file WHERE path = ?');
  // Replacing gives the row a new version, which no file has had before: that is what an etag is.
  const put = db.prepare('REPLACE INTO file (path, content_type, modified_ms, body) VALUES (?, ?, ?, ?)');

  const stat = (path: string) => {
    const row = guarded(() => find.get(path));
    if (row === undefined)
      throw new ConnectorError('not_found', 'there is no such file', { details: { path } });
    return fileInfo(readRow(row));
  };
  const read: FileClient['readBytes'] = async (path, range) => {
    const { size } = stat(path);
    const { start, end } = { start: 0, end: size - 1, ...range };
    if (range !== undefined && start >= size)
      throw invalidField('range', `starts before the end, at ${size}`);
    const row = guarded(() => slice.get(start + 1, Math.min(end, size - 1) - start + 1, path));
    return row?.['bytes'] instanceof Uint8Array ? row['bytes'] : new Uint8Array();
  };

  return {
    list: async (path, page) => guarded(() => listPage(db, path, page)),
    stat: async (path) => stat(path),
    readBytes: read,
    async readStream(path, range, signal) {
      const info = stat(path);
      return { info, body: once(await read(path, range, signal)) };
    },
    async write(path, content, { contentType, ifNoneMatch }, signal) {
      const body = await collect(content, maxBytes, signal);
      return guarded(() => {
        // Nothing is awaited from here on, so no other write of this process comes between the check and the write.
        if (isTaken(db, path, ifNoneMatch)) {
          throw new ConnectorError('already_exists', 'there is a file or folder of this name', {
            details: { path },
          });
        }
        const { lastInsertRowid } = put.run(path, contentType ?? null, clock.now(), body);
        return { path, size: body.length, etag: `"${lastInsertRowid}"` };
      });
    },
    delete: async (path) => guarded(() => remove.run(path).changes > 0),
    async check() {
      guarded(() => db.exec('SELECT 1 FROM file LIMIT 1'));
      return [];
    },
    async close() {
      db.close();
    },
  };
}

/** What `task` answers; a failure of SQLite in the registry's terms. */
function guarded<T>(task: () => T): T {
  try {
    return task();
  } catch (error) {
    throw sqliteError(error);
  }
}

async function* once(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  yield bytes;
}

/** The whole content as one buffer, refused as soon as it is over the limit. */
async function collect(
  content: Uint8Array | AsyncIterable<Uint8Array>,
  maxBytes: number,
  signal: AbortSignal,
): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of content instanceof Uint8Array ? [content] : content) {
    if (signal.aborted)
      throw new ConnectorError('cancelled', 'the caller ended the call', { cause: signal.reason });
    size += chunk.length;
    if (size > maxBytes) {
      throw new ConnectorError('payload_too_large', `a file is at most ${maxBytes} bytes`, {
        details: { maxBytes },
      });
    }
    // A copy, because a source may fill the same memory again.
    chunks.push(Uint8Array.from(chunk));
  }
  return Buffer.concat(chunks, size);
}
