import type { Readable, Writable } from 'node:stream';
import { systemClock, type Clock } from '../../contract/clock.ts';
import { asConnectorError, ConnectorError, invalidField, isConnectorError } from '../../errors/error.ts';
import { codeRow } from '../../errors/codes.ts';
import { NEVER, type Call } from '../../policies/pipeline.ts';
import type { CallOptions, ConnectorActivity, ConnectorRecord } from '../base.ts';
import { DriverConnector, type ClientSession, type SessionCall } from '../session.ts';
import { watchedBody } from './body.ts';
import { bytesOf, checkSize, contentStream, type FileContent } from './content.ts';
import type {
  ByteRange,
  FileCapabilities,
  FileClient,
  FileInfo,
  FileMetadata,
  FilePage,
  OpenedFile,
  PresignedUrl,
  PresignOptions,
  WriteResult,
} from './driver.ts';
import { checkedMetadata } from './metadata.ts';
import { filePath, pathProblem } from './path.ts';
import { readableOver, writableInto } from './streams.ts';

export const MAX_LIST_LIMIT = 1000;
export const MAX_PRESIGN_SECONDS = 7 * 86_400;
// A header's value: anything else could end the header and begin another.
const CONTENT_TYPE = /^[\w!#$&^.+-]{1,126}\/[\w!#$&^.+-]{1,126}(?:;[ -~]{1,200})?$/;
/** How long an opened body may lie unread before it is ended and its handle freed. */
export const BODY_IDLE_MS = 300_000;

export type ListFilesOptions = CallOptions & {
  readonly recursive?: boolean;
  readonly limit?: number;
  readonly cursor?: string | undefined;
};
export type ReadFileOptions = CallOptions & { readonly range?: ByteRange | undefined };
export type WriteFileOptions = CallOptions & {
  readonly contentType?: string | undefined;
  readonly ifNoneMatch?: '*' | undefined;
  /** The etag that the file must have now, as an earlier answer gave it. */
  readonly ifMatch?: string | undefined;
  /** The writer's own words about the file; see `FileMetadata`. */
  readonly metadata?: FileMetadata | undefined;
  /** Told of the bytes that the backend's client has taken of the content, as they grow. */
  readonly onProgress?: ((bytes: number) => void) | undefined;
};
/** Signs an address of our own server for a path from the root; `undefined` where no server is known. */
export type SignUrl = (key: string, options: PresignOptions) => PresignedUrl | undefined;

export type FileConnectorParts = {
  readonly record: ConnectorRecord;
  readonly activity?: ConnectorActivity | undefined;
  readonly session: ClientSession<FileClient>;
  readonly capabilities: FileCapabilities;
  readonly clock?: Clock;
  readonly signUrl?: SignUrl | undefined;
};

/**
 * One tenant's files, wherever they lie.
 *
 * Paths are relative to the connector's root and checked by {@link filePath} before anything else happens; one leading
 * `/` means the root. Every method rejects with `invalid_argument` for a refused path, `unsupported` before any I/O for
 * what the driver does not declare, and the policies' `timeout`, `rate_limited`, `circuit_open` and `cancelled`.
 */
export class FileConnector extends DriverConnector<FileClient> {
  /** What the driver declares; `unsupported` names one of these. */
  readonly fileCapabilities: FileCapabilities;
  readonly #clock: Clock;
  readonly #signUrl: SignUrl | undefined;

  constructor({ record, activity, session, capabilities, clock = systemClock, signUrl }: FileConnectorParts) {
    super(record, session, activity);
    this.fileCapabilities = capabilities;
    this.#clock = clock;
    this.#signUrl = signUrl;
  }

  /** The provider. */
  get storageType(): string {
    return this.provider;
  }

  /** The folder inside the root that all paths are relative to, canonical; empty for the root. */
  get basePath(): string {
    const { base_path: base } = this.settings;
    return typeof base === 'string' ? filePath(base, { allowRoot: true, field: 'base_path' }) : '';
  }

  /**
   * The files below a folder, in order of the UTF-8 bytes of their full paths, at most `limit` (1 to 1,000) to a page.
   *
   * Recursive pages hold files alone; others hold the folder's own files and folders, a folder taking the place of its
   * path with a trailing `/`. A page may be shorter than `limit`, even empty: only a missing `nextCursor` is the end.
   * A folder that does not exist holds nothing. What changes between two pages is seen if it lies after the cursor.
   */
  async listFiles(
    path = '/',
    { recursive = false, limit = MAX_LIST_LIMIT, cursor, signal }: ListFilesOptions = {},
  ): Promise<FilePage> {
    if (!Number.isInteger(limit) || limit < 1 || limit > MAX_LIST_LIMIT) {
      throw invalidField('limit', `is a whole number from 1 to ${MAX_LIST_LIMIT}`);
    }
    if (cursor !== undefined && (typeof cursor !== 'string' || cursor.length > 4096)) {
      throw invalidField('cursor', 'is the nextCursor of an earlier page');
    }
    const key = this.#key(path, { allowRoot: true });
    const page = await this.#run({ operation: 'file.list', idempotent: true, signal }, path, (client, call) =>
      client.list(key, { recursive, limit, cursor }, call.signal),
    );
    const files = page.files.map((file) => this.#shown(file));
    // A name that the path rule refuses could not be read through this connector, and might mislead who copies it.
    return { ...page, files: files.filter((file) => pathProblem(file.path) === undefined) };
  }

  /**
   * The whole file, or the bytes of `range`, in memory.
   *
   * @throws ConnectorError `not_found`; `invalid_argument` for a range that starts at or after the end (one that ends
   *   after it is cut); `payload_too_large` for more than the driver reads at once: use {@link openFile}.
   */
  async readFile(path: string, { range, signal }: ReadFileOptions = {}): Promise<Uint8Array> {
    const key = this.#key(path);
    this.#checkRange(range);
    return this.#run({ operation: 'file.read', idempotent: true, signal }, path, (client, call) =>
      client.readBytes(key, range, call.signal),
    );
  }

  /**
   * The file's facts and its bytes (or those of `range`) as a stream in constant memory; `info.size` is the whole's.
   *
   * Consume the body or end it (leaving a `for await` does); it also ends when the signal is aborted, when the backend
   * sends nothing for `timeout_seconds`, and when it lies unread for five minutes.
   *
   * @throws ConnectorError as {@link readFile}; the body's `next` then rejects with `timeout` or `cancelled`.
   */
  async openFile(path: string, { range, signal = NEVER }: ReadFileOptions = {}): Promise<OpenedFile> {
    const key = this.#key(path);
    this.#checkRange(range);
    return this.#run({ operation: 'file.open', idempotent: true, signal }, path, async (client, call) => {
      const ending = new AbortController();
      const opened = await client.readStream(key, range, AbortSignal.any([call.signal, ending.signal]));
      const release = this.session.hold();
      const body = watchedBody({
        source: opened.body,
        clock: this.#clock,
        waitMs: this.config.timeoutSeconds * 1000,
        idleMs: BODY_IDLE_MS,
        // Until the answer is out, the call's own signal: a caller that was released by a timeout never gets the body.
        signal: signal === NEVER ? call.signal : AbortSignal.any([call.signal, signal]),
        named: (error) => naming(error, path).onConnector(this.connectorId, this.connectorType, this.name),
        onEnd: () => {
          ending.abort();
          release();
        },
      });
      return { info: this.#shown(opened.info), body };
    });
  }

  /** A Node stream of the file; it opens at the first read, and destroying it frees everything. */
  createReadStream(path: string, { range, signal }: ReadFileOptions = {}): Readable {
    return readableOver(
      async (ending) => (await this.openFile(path, { range, signal: ending })).body,
      signal,
    );
  }

  /**
   * Replaces the file as a whole, durably, or leaves it as it was.
   *
   * A stream's time limit counts from its latest chunk, and it cannot be repeated after a failure; it is ended however
   * the write ends. `ifNoneMatch: '*'` writes only where there is no file, `ifMatch` only over the content with that etag.
   *
   * @throws ConnectorError `already_exists` under `ifNoneMatch`, or where a folder has the name; `conflict` under
   *   `ifMatch`, also where there is no file; `payload_too_large`.
   */
  async writeFile(
    path: string,
    content: FileContent,
    { contentType, ifNoneMatch, ifMatch, metadata, onProgress, signal }: WriteFileOptions = {},
  ): Promise<WriteResult> {
    const bytes = bytesOf(content);
    const stream =
      typeof content === 'string' || content instanceof Uint8Array ? undefined : contentStream(content);
    try {
      const key = this.#key(path);
      if (ifNoneMatch !== undefined) this.#require('createOnly');
      if (ifMatch !== undefined) this.#require('ifMatch');
      if (ifMatch !== undefined && ifNoneMatch !== undefined)
        throw invalidField('ifMatch', 'and ifNoneMatch exclude each other');
      if (contentType !== undefined) this.#require('contentType');
      if (contentType !== undefined && !CONTENT_TYPE.test(contentType))
        throw invalidField('contentType', 'is a media type of at most 255 characters, such as text/plain');
      if (metadata !== undefined) this.#require('metadata');
      const options = {
        ...{ contentType, ifNoneMatch, ifMatch },
        metadata: metadata && checkedMetadata(metadata),
      };
      const { fileBytes } = this.fileCapabilities.limits;
      if (bytes !== undefined) checkSize(bytes.byteLength, fileBytes);
      const idempotent = bytes !== undefined && ifNoneMatch === undefined && ifMatch === undefined;
      const call = { operation: 'file.write', idempotent, signal };
      const result = await this.#run(call, path, async (client, attempt) => {
        const source = bytes ?? stream?.read(attempt, fileBytes, onProgress) ?? new Uint8Array();
        try {
          return await client.write(key, source, options, attempt.signal);
        } catch (error) {
          throw stream?.isStarted ? unrepeatable(error) : error;
        }
      });
      if (bytes !== undefined) onProgress?.(bytes.byteLength);
      return this.#shown(result);
    } finally {
      stream?.end();
    }
  }

  /** A Node stream into the file; `finish` means that the whole is durable, destroying it leaves the old file. */
  createWriteStream(path: string, { signal, ...options }: WriteFileOptions = {}): Writable {
    return writableInto(
      (content, ending) => this.writeFile(path, content, { ...options, signal: ending }),
      signal,
    );
  }

  /** Removes the file; `deleted` is false where there was none. Folders are not files and stay. */
  async deleteFile(path: string, { signal }: CallOptions = {}): Promise<{ readonly deleted: boolean }> {
    const key = this.#key(path);
    const call = { operation: 'file.delete', idempotent: true, signal };
    return { deleted: await this.#run(call, path, (client, { signal }) => client.delete(key, signal)) };
  }

  /** The file's facts. @throws ConnectorError `not_found`, also for a folder. */
  async statFile(path: string, { signal }: CallOptions = {}): Promise<FileInfo> {
    const key = this.#key(path);
    const call = { operation: 'file.stat', idempotent: true, signal };
    return this.#shown(await this.#run(call, path, (client, { signal }) => client.stat(key, signal)));
  }

  /** Writes the content of `from` to `to`, replacing what is there, without its passing through here where possible. */
  async copyFile(from: string, to: string, { signal }: CallOptions = {}): Promise<WriteResult> {
    return this.#transfer('copy', from, to, { idempotent: true, signal });
  }

  /** Renames a file, replacing what is at `to`. */
  async moveFile(from: string, to: string, { signal }: CallOptions = {}): Promise<WriteResult> {
    return this.#transfer('move', from, to, { idempotent: false, signal });
  }

  /**
   * An address that lets whoever holds it read or write this one file for `expiresInSeconds` (at most 7 days), without
   * asking anybody again: an administrator's later word does not end it, a change of the credentials that signed it does.
   *
   * `contentType` and `maxBytes` bind what is put. Backends that sign nothing have it signed and answered by our server.
   *
   * @throws ConnectorError `unsupported` for a condition that the backend cannot tie an address to, and where neither the
   *   backend signs nor a server of ours is known by its address.
   */
  async presign(
    path: string,
    {
      method = 'GET',
      expiresInSeconds = 3600,
      contentType,
      maxBytes,
      signal,
    }: Partial<PresignOptions> & CallOptions = {},
  ): Promise<PresignedUrl> {
    const key = this.#key(path);
    checkPresign({ method, expiresInSeconds, contentType, maxBytes });
    const options = { method, expiresInSeconds, contentType, maxBytes };
    const { presignedBy, presignConditions } = this.fileCapabilities;
    for (const condition of ['contentType', 'maxBytes'] as const)
      if (options[condition] !== undefined && !presignConditions.includes(condition))
        throw lacking('presign', `addresses of this provider cannot be tied to ${condition}`);
    if (presignedBy === 'server') {
      const signed = this.#signUrl?.(key, options);
      if (signed === undefined) throw lacking('presign', NO_SERVER, { needs: 'server' });
      return signed;
    }
    const call = { operation: 'file.presign', idempotent: true, signal };
    return this.#run(call, path, (client, { signal }) => {
      if (client.presign === undefined) throw lacking('presign');
      return client.presign(key, options, signal);
    });
  }

  async #transfer(
    how: 'copy' | 'move',
    from: string,
    to: string,
    options: Pick<SessionCall, 'idempotent' | 'signal'>,
  ): Promise<WriteResult> {
    const fromKey = this.#key(from, { field: 'from' });
    const toKey = this.#key(to, { field: 'to' });
    this.#require(how);
    const result = await this.#run({ operation: `file.${how}`, ...options }, from, (client, { signal }) => {
      const transfer = client[how];
      if (transfer === undefined) throw lacking(how);
      return transfer.call(client, fromKey, toKey, signal);
    });
    return this.#shown(result);
  }

  /** The path as the client knows it: canonical, below the base path, within what the backend allows. */
  #key(path: string, options: { readonly allowRoot?: boolean; readonly field?: string } = {}): string {
    const canonical = filePath(path, options);
    const { basePath } = this;
    const { pathBytes } = this.fileCapabilities.limits;
    const key = basePath === '' || canonical === '' ? basePath + canonical : `${basePath}/${canonical}`;
    if (Buffer.byteLength(key) > pathBytes) {
      throw invalidField(
        options.field ?? 'path',
        `is at most ${pathBytes} bytes together with the base path`,
      );
    }
    return key;
  }

  #shown<T extends { readonly path: string }>(answer: T): T {
    const { basePath } = this;
    return basePath === '' ? answer : { ...answer, path: answer.path.slice(basePath.length + 1) };
  }

  #require(
    capability: 'createOnly' | 'ifMatch' | 'contentType' | 'metadata' | 'copy' | 'move' | 'ranges',
  ): void {
    if (!this.fileCapabilities[capability]) throw lacking(capability);
  }

  #checkRange(range: ByteRange | undefined): void {
    if (range === undefined) return;
    const { start, end = start } = range;
    if (!Number.isSafeInteger(start) || !Number.isSafeInteger(end) || start < 0 || end < start) {
      throw invalidField('range', 'has a start of at least 0 and an end that is not before it');
    }
    this.#require('ranges');
  }

  #run<T>(call: SessionCall, path: string, run: (client: FileClient, call: Call) => Promise<T>): Promise<T> {
    return this.session.run(call, async (client, attempt) => {
      try {
        return await run(client, attempt);
      } catch (error) {
        throw naming(error, path);
      }
    });
  }
}

function lacking(
  capability: string,
  message = `this provider does not support ${capability}`,
  details: Readonly<Record<string, unknown>> = {},
): ConnectorError {
  return new ConnectorError('unsupported', message, { details: { capability, ...details } });
}

const NO_SERVER =
  'this provider signs no addresses, and no server of the registry is known that could: open the registry with publicUrl, or run the server';

function checkPresign({ method, expiresInSeconds, contentType, maxBytes }: PresignOptions): void {
  if (method !== 'GET' && method !== 'PUT') throw invalidField('method', 'is GET or PUT');
  if (!Number.isInteger(expiresInSeconds) || expiresInSeconds < 1 || expiresInSeconds > MAX_PRESIGN_SECONDS)
    throw invalidField('expiresInSeconds', `is a whole number from 1 to ${MAX_PRESIGN_SECONDS}`);
  if (method === 'GET' && contentType !== undefined) throw invalidField('contentType', 'is for PUT alone');
  if (method === 'GET' && maxBytes !== undefined) throw invalidField('maxBytes', 'is for PUT alone');
  if (contentType !== undefined && !CONTENT_TYPE.test(contentType))
    throw invalidField('contentType', 'is a media type of at most 255 characters, such as text/plain');
  if (maxBytes !== undefined && (!Number.isSafeInteger(maxBytes) || maxBytes < 1))
    throw invalidField('maxBytes', 'is a whole number of at least 1');
}

/** The error with the file that it is about, as the caller spelled it. */
function naming(error: unknown, path: string): ConnectorError {
  const known = asConnectorError(error, 'backend_error');
  if (known.code !== 'not_found' && known.code !== 'already_exists') return known;
  return new ConnectorError(known.code, `${known.message}: ${path}`, {
    cause: known.cause ?? known,
    details: { ...known.details, path },
  });
}

/** A failure after which a stream is half gone: never one that retry would repeat. */
function unrepeatable(error: unknown): unknown {
  if (!isConnectorError(error) || codeRow(error.code).recovery !== 'always') return error;
  return new ConnectorError('unavailable', `${error.message}, and a stream cannot be sent again`, {
    cause: error,
    details: error.details,
  });
}
