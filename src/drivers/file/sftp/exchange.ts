import { type Clock, isConnectorError, networkFailure, type ConnectorError } from '../../../driver.ts';
import type { Connection, Sftp } from './connection.ts';
import { lackingExtension, statusFailure } from './errors.ts';

/** What a server says of a file or folder. */
export type Attributes = {
  readonly size: number;
  /** Seconds since the epoch. */
  readonly mtime: number;
  isDirectory(): boolean;
  isFile(): boolean;
  isSymbolicLink(): boolean;
};
/** A name in a folder with its attributes, as the folder's listing carries them. */
export type Listed = { readonly filename: string; readonly attrs: Attributes };
/** A file or folder that the server holds open for us. */
export type Handle = Buffer;

type Done<T> = (error: unknown, value: T) => void;

/**
 * The requests of one call over a connection that many calls share: any number at once, all of which end when the
 * call's signal is aborted or the connection is lost. End it when the call is over.
 */
export class Exchange {
  readonly #connection: Connection;
  readonly #sftp: Sftp;
  readonly #signal: AbortSignal;
  readonly #clock: Clock;
  readonly #pending = new Set<(error: ConnectorError) => void>();
  readonly #unwatch: () => void;
  /** When the oldest request that nothing has followed was sent, and what had been read by then. */
  #askedAtMs = 0;
  #bytesReadThen = 0;
  #onEnd = (_failure: ConnectorError): void => {};

  constructor(connection: Connection, clock: Clock, signal: AbortSignal) {
    this.#connection = connection;
    this.#sftp = connection.sftp;
    this.#signal = signal;
    this.#clock = clock;
    this.#unwatch = connection.watch({ lost: (failure) => this.#failAll(failure) });
    signal.addEventListener('abort', this.#onAbort, { once: true });
  }

  end(): void {
    this.#unwatch();
    this.#signal.removeEventListener('abort', this.#onAbort);
  }

  /** Runs `task` as soon as the signal is aborted or the connection lost, for what is held beyond one request. */
  onEnd(task: (failure: ConnectorError) => void): void {
    this.#onEnd = task;
  }

  lstat(path: string): Promise<Attributes> {
    return this.#ask<Attributes>((done) => this.#sftp.lstat(path, done));
  }
  fstat(handle: Handle): Promise<Attributes> {
    return this.#ask<Attributes>((done) => this.#sftp.fstat(handle, done));
  }
  realpath(path: string): Promise<string> {
    return this.#ask<string>((done) => this.#sftp.realpath(path, done));
  }
  /** `wx` makes the file and fails where there is one. */
  open(path: string, mode: 'r' | 'wx'): Promise<Handle> {
    return this.#ask<Handle>(
      (done) => this.#sftp.open(path, mode, done),
      (handle) => this.release(handle),
    );
  }
  opendir(path: string): Promise<Handle> {
    return this.#ask<Handle>(
      (done) => this.#sftp.opendir(path, done),
      (handle) => this.release(handle),
    );
  }
  readdir(handle: Handle): Promise<readonly Listed[]> {
    return this.#ask<readonly Listed[]>((done) => this.#sftp.readdir(handle, done));
  }
  /** How many bytes were read into the buffer: fewer than asked for, or 0 at the end of the file. */
  read(handle: Handle, into: Buffer, from: number, length: number, position: number): Promise<number> {
    return this.#ask<number>((done) =>
      this.#sftp.read(handle, into, from, length, position, (error, bytes) => done(error, bytes)),
    );
  }
  write(handle: Handle, bytes: Buffer, position: number): Promise<void> {
    return this.#ask<void>((done) => this.#sftp.write(handle, bytes, 0, bytes.length, position, told(done)));
  }
  close(handle: Handle): Promise<void> {
    return this.#ask<void>((done) => this.#sftp.close(handle, told(done)));
  }
  unlink(path: string): Promise<void> {
    return this.#ask<void>((done) => this.#sftp.unlink(path, told(done)));
  }
  mkdir(path: string): Promise<void> {
    return this.#ask<void>((done) => this.#sftp.mkdir(path, told(done)));
  }
  /** SFTP's own, which fails where the new name is taken. */
  rename(from: string, to: string): Promise<void> {
    return this.#ask<void>((done) => this.#sftp.rename(from, to, told(done)));
  }
  /** POSIX's, which replaces what has the new name. */
  posixRename(from: string, to: string): Promise<void> {
    return this.#askExtension('posix-rename@openssh.com', (done) =>
      this.#sftp.ext_openssh_rename(from, to, told(done)),
    );
  }
  /** Fails where the new name is taken. */
  hardlink(from: string, to: string): Promise<void> {
    return this.#askExtension('hardlink@openssh.com', (done) =>
      this.#sftp.ext_openssh_hardlink(from, to, told(done)),
    );
  }
  fsync(handle: Handle): Promise<void> {
    return this.#askExtension('fsync@openssh.com', (done) =>
      this.#sftp.ext_openssh_fsync(handle, told(done)),
    );
  }
  copyData(from: Handle, to: Handle, position: number, length: number): Promise<void> {
    return this.#askExtension('copy-data', (done) =>
      this.#sftp.ext_copy_data(from, position, length, to, position, told(done)),
    );
  }

  /** Closes a handle without waiting for it: nothing that anybody could use is said in the answer. */
  release(handle: Handle): void {
    if (this.#connection.failure === undefined) this.#sftp.close(handle, () => {});
  }

  #askExtension(extension: string, send: (done: Done<void>) => void): Promise<void> {
    return this.#ask<void>((done) => {
      try {
        send(done);
      } catch (error) {
        // ssh2 refuses, before it sends anything, what the server did not announce.
        done(lackingExtension('extension', extension, 'which this needs', error), undefined);
      }
    });
  }

  /** `undo` is given an answer that came when nobody waited for it any more. */
  #ask<T>(send: (done: Done<T>) => void, undo?: (value: T) => void): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      const lost = this.#connection.failure;
      if (this.#signal.aborted) return reject(networkFailure(this.#signal.reason, this.#signal));
      if (lost !== undefined) return reject(lost);
      this.#note();
      let isSettled = false;
      const fail = (error: ConnectorError) => {
        isSettled = true;
        this.#pending.delete(fail);
        reject(error);
      };
      this.#pending.add(fail);
      send((error, value) => {
        if (isSettled) {
          if (!error) undo?.(value);
        } else if (error) this.#refuse(error, fail);
        else {
          isSettled = true;
          this.#pending.delete(fail);
          resolve(value);
        }
      });
    });
  }

  #refuse(error: unknown, fail: (error: ConnectorError) => void): void {
    if (isConnectorError(error)) return fail(error);
    const { code, message } = error as { readonly code?: unknown; readonly message?: unknown };
    if (typeof code === 'number') return fail(statusFailure(code, String(message), this.#connection.mask));
    // ssh2 answers what was pending in the moment before it says that the channel has ended.
    queueMicrotask(() => fail(this.#connection.failure ?? networkFailure(error, this.#signal)));
  }

  #note(): void {
    const { bytesRead } = this.#connection;
    if (this.#pending.size > 0 && bytesRead === this.#bytesReadThen) return;
    this.#askedAtMs = this.#clock.monotonicMs();
    this.#bytesReadThen = bytesRead;
  }

  readonly #onAbort = (): void => {
    const isWaiting = this.#pending.size > 0;
    this.#failAll(networkFailure(this.#signal.reason, this.#signal));
    if (isWaiting) this.#connection.doubt(this.#clock.monotonicMs() - this.#askedAtMs, this.#bytesReadThen);
  };

  #failAll(failure: ConnectorError): void {
    for (const fail of [...this.#pending]) fail(failure);
    this.#onEnd(failure);
  }
}

/** A request whose answer is that it was done. */
function told(done: Done<void>): (error?: unknown) => void {
  return (error) => done(error, undefined);
}

/** Runs `task` with an exchange of its own. */
export async function during<T>(
  connection: Connection,
  clock: Clock,
  signal: AbortSignal,
  task: (exchange: Exchange) => Promise<T>,
): Promise<T> {
  if (connection.failure !== undefined) throw connection.failure;
  const exchange = new Exchange(connection, clock, signal);
  try {
    return await task(exchange);
  } finally {
    exchange.end();
  }
}
