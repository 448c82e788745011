import { opendir } from 'node:fs/promises';
import type {
  ByteRange,
  ClientListOptions,
  ClientWriteOptions,
  FileClient,
  FileInfo,
  FilePage,
  Log,
  Note,
  OpenContext,
  OpenedFile,
  WriteResult,
} from '../../../driver.ts';
import { Entries } from './entries.ts';
import { fileInfo } from './entry.ts';
import { fileError } from './errors.ts';
import type { Confinement } from './folder.ts';
import { listPage } from './list.ts';
import type { LocalOptions } from './options.ts';
import { readBytes, readStream } from './read.ts';
import { confinementHere, makeRoot, Root } from './root.ts';
import { sweep } from './sweep.ts';
import { deleteFile, moveFile, probe, statFile, writeWhole } from './write.ts';

/**
 * A client over the connector's own folder, made where it is missing, or over the folder that an administrator named.
 *
 * @throws ConnectorError `invalid_argument` when the named folder does not exist, `unsupported` where files cannot be
 *   confined.
 */
export async function openLocal(
  { root: named }: LocalOptions,
  { folder, log }: Pick<OpenContext, 'folder' | 'log'>,
  confinement: Confinement = confinementHere(),
): Promise<FileClient> {
  try {
    if (named === undefined) await makeRoot(folder);
    return new LocalClient(await Root.open(named ?? folder, confinement), log);
  } catch (error) {
    throw fileError(error);
  }
}

class LocalClient implements FileClient {
  readonly #root: Root;
  readonly #entries: Entries;
  readonly #ending = new AbortController();
  readonly #sweeping: Promise<void>;

  constructor(root: Root, log: Log) {
    this.#root = root;
    this.#entries = new Entries(root);
    this.#sweeping = sweepInBackground(root, log, this.#ending.signal);
  }

  list(path: string, options: ClientListOptions, signal: AbortSignal): Promise<FilePage> {
    return listPage({ root: this.#root, entries: this.#entries }, path, options, signal);
  }

  async stat(path: string): Promise<FileInfo> {
    return fileInfo(path, await statFile(this.#root, path));
  }

  readBytes(path: string, range: ByteRange | undefined, signal: AbortSignal): Promise<Uint8Array> {
    return readBytes(this.#root, path, range, signal);
  }

  readStream(path: string, range: ByteRange | undefined, signal: AbortSignal): Promise<OpenedFile> {
    return readStream(this.#root, path, range, signal);
  }

  write(
    path: string,
    content: Uint8Array | AsyncIterable<Uint8Array>,
    options: ClientWriteOptions,
    signal: AbortSignal,
  ): Promise<WriteResult> {
    return writeWhole(this.#root, path, content, options, signal);
  }

  delete(path: string): Promise<boolean> {
    return deleteFile(this.#root, path);
  }

  async copy(from: string, to: string, signal: AbortSignal): Promise<WriteResult> {
    const { body } = await readStream(this.#root, from, undefined, signal);
    try {
      return await writeWhole(this.#root, to, body, {}, signal);
    } finally {
      await body[Symbol.asyncIterator]().return?.();
    }
  }

  move(from: string, to: string): Promise<WriteResult> {
    return moveFile(this.#root, from, to);
  }

  /** Lists the root and writes a file into it that is removed again. */
  async check(signal: AbortSignal): Promise<readonly Note[]> {
    try {
      await this.#root.use('', {}, async (folder) => (await opendir(folder.at(''))).close());
      await probe(this.#root, signal);
    } catch (error) {
      throw fileError(error);
    }
    if (this.#root.confinement === 'handles') return [];
    const message =
      'this system has no /proc/self/fd: paths are checked before and after use, so another local program that swaps a folder for a link at the right moment could lead a call out of the root';
    return [{ level: 'warn', message }];
  }

  async close(): Promise<void> {
    this.#ending.abort();
    await this.#sweeping;
    await this.#root.close();
  }
}

async function sweepInBackground(root: Root, log: Log, signal: AbortSignal): Promise<void> {
  try {
    const removed = await sweep(root, signal);
    if (removed > 0) log.info('unfinished writes of an earlier run were removed', { removed });
  } catch (error) {
    log.warn('unfinished writes of earlier runs could not be looked for', {
      error: fileError(error).message,
    });
  }
}
