import {
  asConnectorError,
  ConnectorError,
  type ByteRange,
  type ClientListOptions,
  type ClientWriteOptions,
  type FileClient,
  type FileInfo,
  type FilePage,
  type Log,
  type Note,
  type OpenedFile,
  type WriteResult,
} from '../../../driver.ts';
import { noSuchFile } from './errors.ts';
import { listPage } from './list.ts';
import { readBytes, readStream } from './read.ts';
import { infoOf, look, type Server } from './resources.ts';
import { isSweepDue, sweep } from './sweep.ts';
import { refuseTemporary } from './temporary.ts';
import { Turns } from './turns.ts';
import { change } from './verbs.ts';
import { copyFile, deleteFile, moveFile, writeWhole, type Writer } from './write.ts';

/** How long an unfinished file is tried to be removed, when its write has failed already. */
const REMOVAL_MS = 5_000;

export type WebdavParts = {
  readonly server: Server;
  /** The connector's own folder, which keeps when the root was swept last. */
  readonly folder: string;
  readonly log: Log;
  readonly notes: readonly Note[];
};

/** Files in a folder of a WebDAV server. */
export class WebdavFiles implements FileClient {
  readonly #server: Server;
  readonly #log: Log;
  readonly #notes: readonly Note[];
  readonly #writer: Writer;
  readonly #ending = new AbortController();
  readonly #background = new Set<Promise<void>>();

  constructor({ server, folder, log, notes }: WebdavParts) {
    this.#server = server;
    this.#log = log;
    this.#notes = notes;
    this.#writer = { server, turns: new Turns(), abandon: (path) => this.#behind(this.#remove(path)) };
    this.#behind(this.#sweep(folder));
  }

  async list(path: string, options: ClientListOptions, signal: AbortSignal): Promise<FilePage> {
    refuseTemporary(path);
    return listPage(this.#server, path, options, signal);
  }

  async stat(path: string, signal: AbortSignal): Promise<FileInfo> {
    refuseTemporary(path);
    const entry = await look(this.#server, path, signal);
    if (entry === undefined || entry.isCollection) throw noSuchFile();
    return infoOf(entry);
  }

  async readBytes(path: string, range: ByteRange | undefined, signal: AbortSignal): Promise<Uint8Array> {
    refuseTemporary(path);
    return readBytes(this.#server, path, range, signal);
  }

  async readStream(path: string, range: ByteRange | undefined, signal: AbortSignal): Promise<OpenedFile> {
    refuseTemporary(path);
    return readStream(this.#server, path, range, signal);
  }

  async write(
    path: string,
    content: Uint8Array | AsyncIterable<Uint8Array>,
    _options: ClientWriteOptions,
    signal: AbortSignal,
  ): Promise<WriteResult> {
    refuseTemporary(path);
    return writeWhole(this.#writer, path, content, signal);
  }

  async delete(path: string, signal: AbortSignal): Promise<boolean> {
    refuseTemporary(path);
    return deleteFile(this.#server, path, signal);
  }

  async copy(from: string, to: string, signal: AbortSignal): Promise<WriteResult> {
    refuseTemporary(from);
    refuseTemporary(to);
    return copyFile(this.#writer, from, to, signal);
  }

  async move(from: string, to: string, signal: AbortSignal): Promise<WriteResult> {
    refuseTemporary(from);
    refuseTemporary(to);
    return moveFile(this.#writer, from, to, signal);
  }

  /** Asks for the root's own properties. */
  async check(signal: AbortSignal): Promise<readonly Note[]> {
    await requireRoot(this.#server, signal);
    return this.#notes;
  }

  async close(): Promise<void> {
    this.#ending.abort();
    await Promise.all(this.#background);
    this.#server.http.close();
  }

  #behind(task: Promise<void>): void {
    const done = task.finally(() => this.#background.delete(done));
    this.#background.add(done);
  }

  /** Not within the call, which has its answer, and whose signal may have been aborted. */
  async #remove(path: string): Promise<void> {
    const timeUp = new AbortController();
    const cancel = this.#server.http.clock.inBackground(REMOVAL_MS, () => timeUp.abort());
    try {
      await change(this.#server, 'DELETE', path, timeUp.signal);
    } catch (error) {
      this.#log.warn('an unfinished write could not be removed', { error: messageOf(error) });
    } finally {
      cancel();
    }
  }

  async #sweep(folder: string): Promise<void> {
    const { signal } = this.#ending;
    try {
      if (!(await isSweepDue(folder, this.#server.http.clock))) return;
      const removed = await sweep(this.#server, signal);
      if (removed > 0) this.#log.info('unfinished writes of earlier times were removed', { removed });
    } catch (error) {
      if (signal.aborted) return;
      this.#log.warn('unfinished writes could not be looked for', { error: messageOf(error) });
    }
  }
}

/** @throws ConnectorError `not_found` where the root is no folder. */
export async function requireRoot(server: Server, signal: AbortSignal): Promise<void> {
  const entry = await look(server, '', signal);
  if (!entry?.isCollection) throw noSuchRoot();
}

export function noSuchRoot(): ConnectorError {
  return new ConnectorError(
    'not_found',
    'there is no folder at the path of the endpoint; create it, or name another',
  );
}

function messageOf(error: unknown): string {
  return asConnectorError(error, 'internal').message;
}
