import {
  nameOf,
  type ByteRange,
  type ClientListOptions,
  type ClientWriteOptions,
  type Clock,
  type EntryKey,
  type FileClient,
  type FileInfo,
  type FilePage,
  type Log,
  type Note,
  type OpenContext,
  type OpenedFile,
  type WriteResult,
} from '../../../driver.ts';
import { joinedPath, networkFailure, reach, treePage } from '../../../driver.ts';
import { Entries, type Entry, type Reading } from './entries.ts';
import { type Exchange, during } from './exchange.ts';
import { Litter } from './litter.ts';
import { serverOf, type SftpOptions } from './options.ts';
import { readBytes, readStream, statFile } from './read.ts';
import { ServerTime } from './server-time.ts';
import { openSession, type Session } from './session.ts';
import { Sessions } from './sessions.ts';
import { sweep } from './sweep.ts';
import { copyFile, deleteFile, moveFile } from './transfer.ts';

import { writeWhole, type Writing } from './write.ts';

/** How long closing waits for the temporary files of aborted writes to be removed. */
const CLOSING_MS = 1_000;

/** @throws ConnectorError `auth_failed`, also for a server that is not the one whose key is required; `not_found` without the root. */
export async function openSftp(options: SftpOptions, context: OpenContext): Promise<FileClient> {
  const { signal, clock, log } = context;
  const { host, port } = serverOf(options);
  const parts = { options, context };
  try {
    await reach(context, { host, port });
    const first = await openSession(parts, signal, (name, step) => context.stage(name, step));
    return new SftpClient(first, (ending) => openSession(parts, ending), {
      clock,
      log,
      isAnyHostTrusted: options.insecure_any_host_key,
    });
  } catch (error) {
    throw networkFailure(error, signal);
  }
}

type Surroundings = { readonly clock: Clock; readonly log: Log; readonly isAnyHostTrusted: boolean };

class SftpClient implements FileClient {
  readonly #sessions: Sessions;
  readonly #entries: Entries;
  readonly #litter: Litter;
  readonly #time: ServerTime;
  readonly #surroundings: Surroundings;
  readonly #ending = new AbortController();
  #sweeping: Promise<void> | undefined;

  constructor(first: Session, open: (signal: AbortSignal) => Promise<Session>, surroundings: Surroundings) {
    const { clock, log } = surroundings;
    this.#surroundings = surroundings;
    this.#litter = new Litter(log);
    this.#time = new ServerTime(clock);
    this.#entries = new Entries(clock, this.#time);
    this.#sessions = new Sessions(first, open, (session) => {
      this.#litter.removeLeft(session);
      this.#sweeping ??= this.#sweep(session);
    });
  }

  list(path: string, options: ClientListOptions, signal: AbortSignal): Promise<FilePage> {
    return this.#sessions.use(signal, async (exchange, session) => {
      const reading = this.#reading(exchange, session);
      const read = (folder: string, after: EntryKey) => this.#entries.after(reading, folder, after);
      const { entries, nextCursor } = await treePage(read, path, options);
      const files = entries.map(([key, entry]) => infoOf(path, key, entry));
      return { files, ...(nextCursor !== undefined && { nextCursor }) };
    });
  }

  stat(path: string, signal: AbortSignal): Promise<FileInfo> {
    return this.#sessions.use(signal, (exchange, session) => statFile(exchange, session, path));
  }

  readBytes(path: string, range: ByteRange | undefined, signal: AbortSignal): Promise<Uint8Array> {
    return this.#sessions.use(signal, (exchange, session) => readBytes(exchange, session, path, range));
  }

  async readStream(path: string, range: ByteRange | undefined, signal: AbortSignal): Promise<OpenedFile> {
    return readStream(await this.#sessions.get(signal), path, range, signal);
  }

  write(
    path: string,
    content: Uint8Array | AsyncIterable<Uint8Array>,
    options: ClientWriteOptions,
    signal: AbortSignal,
  ): Promise<WriteResult> {
    return this.#writing(signal, (writing) => writeWhole(writing, path, content, options));
  }

  delete(path: string, signal: AbortSignal): Promise<boolean> {
    return this.#writing(signal, (writing) => deleteFile(writing, path));
  }

  copy(from: string, to: string, signal: AbortSignal): Promise<WriteResult> {
    return this.#writing(signal, (writing) => copyFile(writing, from, to));
  }

  move(from: string, to: string, signal: AbortSignal): Promise<WriteResult> {
    return this.#writing(signal, (writing) => moveFile(writing, from, to));
  }

  /** Looks whether the root is still there. */
  check(signal: AbortSignal): Promise<readonly Note[]> {
    return this.#sessions.use(signal, async (exchange, session) => {
      exchange.release(await exchange.opendir(session.root));
      return notesOn(session, this.#surroundings.isAnyHostTrusted);
    });
  }

  async close(): Promise<void> {
    this.#ending.abort();
    this.#entries.close();
    await this.#sweeping;
    let cancel = () => {};
    await this.#litter.close(
      new Promise((resolve) => (cancel = this.#surroundings.clock.after(CLOSING_MS, resolve))),
    );
    cancel();
    await this.#sessions.close();
  }

  #writing<T>(signal: AbortSignal, task: (writing: Writing) => Promise<T>): Promise<T> {
    return this.#sessions.use(signal, (exchange, session) =>
      task({ exchange, session, litter: this.#litter, time: this.#time, signal }),
    );
  }

  #reading(exchange: Exchange, session: Session): Reading {
    return { exchange, session, onAbandoned: (path) => void this.#litter.remove(session, path) };
  }

  async #sweep(session: Session): Promise<void> {
    try {
      await during(session.connection, session.clock, this.#ending.signal, (exchange) =>
        sweep(this.#reading(exchange, session)),
      );
    } catch (error) {
      if (this.#ending.signal.aborted) return;
      this.#surroundings.log.warn('unfinished writes of earlier runs could not be looked for', {
        error: networkFailure(error).message,
      });
    }
  }
}

function infoOf(path: string, key: EntryKey, { size, mtime }: Entry): FileInfo {
  const isDirectory = key.endsWith('/');
  const full = joinedPath(path, isDirectory ? key.slice(0, -1) : key);
  return { name: nameOf(full), path: full, size, lastModified: new Date(mtime * 1000), isDirectory };
}

function notesOn({ features }: Session, isAnyHostTrusted: boolean): readonly Note[] {
  const lacking: readonly (readonly [boolean, string])[] = [
    [features.fsync, 'fsync@openssh.com: a write may be lost when the server loses its power soon after'],
    [features.posixRename, 'posix-rename@openssh.com: a file that exists cannot be replaced'],
    [features.hardlink, 'hardlink@openssh.com: ifNoneMatch is refused'],
    [features.copyData, 'copy-data: copies go through this machine'],
  ];
  const notes = lacking
    .filter(([isOffered]) => !isOffered)
    .map(([, what]): Note => ({ level: 'warn', message: `the server does not offer ${what}` }));
  if (features.fsync && !features.folderSync)
    notes.push({
      level: 'warn',
      message:
        'the server syncs no folders: the name of a new file may be lost when it loses its power soon after',
    });
  if (isAnyHostTrusted)
    notes.push({
      level: 'warn',
      message: 'insecure_any_host_key is set: whoever answers at this address is believed',
    });
  return notes;
}
