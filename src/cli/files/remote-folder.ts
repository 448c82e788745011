import type { FileMetadata } from '../../connectors/file/driver.ts';
import { METADATA_NAME } from '../../connectors/file/metadata.ts';
import { byteOrder } from '../../connectors/file/order.ts';
import { filePath, pathProblem } from '../../connectors/file/path.ts';
import { joinedPath } from '../../connectors/file/tree.ts';
import { ConnectorError, isConnectorError } from '../../errors/error.ts';
import { fileDelete, fileRead, fileStat, fileWrite } from '../../operations/file.ts';
import { fileCopy, fileMove } from '../../operations/file-transfer.ts';
import type { CommandSession, ConnectorAnswer } from '../command-session.ts';
import { say } from '../print.ts';
import type { Opened } from './opened.ts';
import { filePages } from './pages.ts';
import type { Remote } from './remote.ts';
import type { Found, Side, WriteOptions } from './side.ts';

/** A folder of a connector. */
export class RemoteFolder implements Side {
  readonly name: string;
  readonly connector: ConnectorAnswer;
  /** Canonical; empty for the root. */
  readonly base: string;
  readonly #session: CommandSession;
  /** What its backend has turned out to lack. */
  readonly #lacks = new Set<string>();

  /** @throws ConnectorError `invalid_argument` for a path that the path rule refuses. */
  constructor(session: CommandSession, { connector, path }: Remote) {
    this.#session = session;
    this.connector = connector;
    this.base = filePath(path, { allowRoot: true });
    this.name = `${connector.name}:${this.base}`;
  }

  /**
   * @throws ConnectorError `backend_error` for a listing that is not in order: what it lacks cannot be told;
   *   `invalid_argument` where it is a file, which lists as a folder that holds nothing.
   */
  async *list(): AsyncGenerator<Found> {
    const prefix = this.base === '' ? '' : `${this.base}/`;
    let last = '';
    for await (const page of filePages(this.#session, { connector: this.connector, path: this.base }, true)) {
      for (const { path: full, size, last_modified: modified, etag, is_directory: isFolder } of page) {
        if (isFolder) continue;
        const path = full.slice(prefix.length);
        if (!full.startsWith(prefix) || pathProblem(path) !== undefined) {
          yield { kind: 'failed', key: '', path: full, error: notBelow(this.name) };
          continue;
        }
        if (byteOrder(path, last) <= 0)
          throw new ConnectorError(
            'backend_error',
            `the listing of ${this.name} is not in the order of its paths`,
          );
        last = path;
        yield { kind: 'file', key: path, path, size, modifiedMs: Date.parse(modified), etag };
      }
    }
    if (last === '') await this.#refuseFile();
  }

  open(path: string): Promise<Opened> {
    const input = this.#session.inputFor({ path: this.#full(path) }, this.connector);
    return this.#session.transport.read(fileRead, { input });
  }

  async write(
    path: string,
    content: AsyncIterable<Uint8Array>,
    { overwrite = true, contentType, metadata }: WriteOptions,
  ): Promise<void> {
    const input = {
      path: this.#full(path),
      content_type: contentType,
      ...(!overwrite && { if_none_match: '*' }),
      ...(metadata && !this.#lacks.has('metadata') && portable(metadata)),
    };
    await this.#session.run(fileWrite, input, { connector: this.connector, content });
  }

  async remove(path: string): Promise<void> {
    await this.#session.run(fileDelete, { path: this.#full(path) }, { connector: this.connector });
  }

  /** Folders of a connector are there as long as they hold a file. */
  async tidy(): Promise<void> {}

  /** Copies or moves a file of the same connector on its backend; false where that cannot. */
  async transferWithin(
    how: 'copy' | 'move',
    from: RemoteFolder,
    fromPath: string,
    path: string,
  ): Promise<boolean> {
    if (from.connector.connector_id !== this.connector.connector_id || this.#lacks.has(how)) return false;
    const operation = how === 'copy' ? fileCopy : fileMove;
    const input = { from: from.#full(fromPath), to: this.#full(path) };
    try {
      await this.#session.run(operation, input, { connector: this.connector });
      return true;
    } catch (error) {
      if (this.learn(error) === how) return false;
      throw error;
    }
  }

  /** What an error says that the backend lacks and that can be done without: the same again will do without it. */
  learn(error: unknown): 'copy' | 'move' | 'metadata' | undefined {
    if (!isConnectorError(error) || error.code !== 'unsupported') return undefined;
    const { capability } = error.details;
    if (capability !== 'copy' && capability !== 'move' && capability !== 'metadata') return undefined;
    if (capability === 'metadata' && !this.#lacks.has(capability))
      say(this.#session.terminal, `${this.connector.name} keeps no metadata of files; it is left out`);
    this.#lacks.add(capability);
    return capability;
  }

  async #refuseFile(): Promise<void> {
    if (this.base === '') return;
    const input = this.#session.inputFor({ path: this.base }, this.connector);
    const isFile = await this.#session.transport.read(fileStat, { input }).then(
      () => true,
      // A folder, or nothing yet.
      () => false,
    );
    if (isFile) throw new ConnectorError('invalid_argument', `${this.name} is a file; files cp copies files`);
  }

  #full(path: string): string {
    return joinedPath(this.base, path);
  }
}

/** Metadata under names that every backend keeps; those of other tools have dashes and capitals, or cannot be kept. */
function portable(metadata: FileMetadata): { readonly metadata?: FileMetadata } {
  const named = Object.entries(metadata).map(
    ([name, text]) => [name.toLowerCase().replaceAll('-', '_'), text] as const,
  );
  const kept = named.filter(([name]) => METADATA_NAME.test(name));
  return kept.length === 0 ? {} : { metadata: Object.fromEntries(kept) };
}

function notBelow(name: string): ConnectorError {
  return new ConnectorError('backend_error', `${name} lists a path that is none of a file below it`);
}
