import { crc32 } from 'node:zlib';
import type { FileConnector } from '../connectors/file/connector.ts';
import type { JsonValue } from '../connectors/serverless/driver.ts';
import type {
  InvocationEnd,
  InvocationLease,
  InvocationRecord,
} from '../connectors/serverless/invocations.ts';
import type { Log } from '../contract/driver.ts';
import { ConnectorError } from '../errors/error.ts';
import type { Folders } from './folders.ts';
import { ConnectorResults, LocalResults, type Place, type ResultFiles } from './result-files.ts';

/** A result of more bytes than this is a file of its own, so that rows stay small. */
const MAX_ROW_BYTES = 256 * 1024;
/** What a row names: a file of the data directory, or one of a file connector whose id stands before it. */
const NAME = /^(?:([\w-]{1,64}):)?(([\w-]{1,128})\.\d+\.(\d+)\.json)$/;
/** A file that is younger may be one whose row another server is about to write, in milliseconds. */
const MIN_SWEEP_AGE_MS = 3_600_000;

type Write = (end: InvocationEnd) => Promise<boolean>;
type Named = Pick<InvocationRecord, 'resultFile'>;

/** Where the operator wants results, and the way to any file connector. */
export type ResultsConnector = {
  /** Undefined where none is named: results are read from those that rows name all the same. */
  readonly connectorId: string | undefined;
  /** @throws ConnectorError `not_found` where there is no such file connector any more. */
  readonly find: (connectorId: string) => Promise<FileConnector>;
};

export type InvocationResultsOptions = {
  /** Results of other registries may lie in the same file connector. */
  readonly registryId: string;
  readonly log: Log;
  /** Whether other servers read the rows, and none of this one's files; false by default. */
  readonly isShared?: boolean;
};

/** Large results of invocations: in a file connector where one is named, otherwise in the data directory or in their rows. */
export class InvocationResults {
  readonly #local: LocalResults;
  readonly #log: Log;
  readonly #registryId: string;
  readonly #isShared: boolean;
  #chosen: ResultsConnector | undefined;
  /** Local files whose row is about to be written. */
  readonly #unnamed = new Set<string>();

  constructor(folders: Folders, { registryId, log, isShared = false }: InvocationResultsOptions) {
    this.#registryId = registryId;
    this.#local = new LocalResults(folders);
    this.#log = log;
    this.#isShared = isShared;
  }

  use(chosen: ResultsConnector): void {
    this.#chosen = chosen;
  }

  /**
   * Stores an end: where its result is large, with the name of a file that is durable before the row is written. Where the
   * file connector does not take it, it is kept as if none were named, so that an outage of that one ends no invocation.
   *
   * @param write stores the row; false where nothing is stored, so that the file is nobody's.
   */
  async keep(lease: InvocationLease, end: InvocationEnd, write: Write): Promise<boolean> {
    if (end.result === null || typeof end.result === 'number' || typeof end.result === 'boolean')
      return write(end);
    const bytes = Buffer.from(JSON.stringify(end.result));
    if (bytes.byteLength <= MAX_ROW_BYTES) return write(end);
    // The fence is part of the name: a worker that lost its lease cannot write over what the next one has to say.
    const name = `${lease.requestId}.${lease.fence}.${crc32(bytes)}.json`;
    const named = async (resultFile: string) => {
      const isStored = await write({ ...end, result: null, resultFile });
      if (!isStored) await this.remove(lease, { resultFile });
      return isStored;
    };
    const connectorId = await this.#toConnector(lease, name, bytes);
    if (connectorId !== undefined) return named(`${connectorId}:${name}`);
    if (this.#isShared) return write(end);
    this.#unnamed.add(name);
    try {
      await this.#local.write(lease, name, bytes);
      return await named(name);
    } finally {
      this.#unnamed.delete(name);
    }
  }

  /**
   * The record with its result.
   *
   * @throws ConnectorError `internal` where the file is gone or damaged, `unavailable` where its connector cannot be asked.
   */
  async whole<R extends InvocationRecord>(record: R): Promise<R> {
    const { requestId, resultFile } = record;
    if (resultFile === null) return record;
    const [, connectorId, name = '', , check] = NAME.exec(resultFile) ?? [];
    let bytes: Uint8Array | undefined;
    try {
      bytes = await (await this.#files(connectorId)).read(record, name);
    } catch (cause) {
      // Of the connector of the operator, a tenant learns nothing.
      const message = `the stored result of invocation ${requestId} cannot be read at the moment`;
      throw new ConnectorError('unavailable', message, { cause, retryAfterMs: 1_000 });
    }
    if (check === undefined || bytes === undefined || crc32(bytes) !== Number(check))
      throw new ConnectorError('internal', `the stored result of invocation ${requestId} is damaged`);
    // The check value says that this is the text that was written above.
    return { ...record, result: JSON.parse(Buffer.from(bytes).toString('utf8')) as JsonValue };
  }

  /** What a connector does not remove now is removed by a later {@link sweepConnector}. */
  async remove(where: Place, { resultFile }: Named): Promise<void> {
    const [, connectorId, name] = NAME.exec(resultFile ?? '') ?? [];
    if (name === undefined) return;
    const removed = this.#files(connectorId).then((files) => files.remove(where, name));
    await (connectorId === undefined ? removed : this.#bestEffort(removed));
  }

  /**
   * Removes the files of a connector in the data directory that no row names: what a crash between a file and its row left.
   *
   * @param nameOf the file that an invocation's row names.
   */
  async sweep(where: Place, nameOf: (requestId: string) => Promise<string | null>): Promise<void> {
    for (const resultFile of await this.#local.names(where)) {
      const [, connectorId, , requestId] = NAME.exec(resultFile) ?? [];
      // Asked first: once a file is no longer about to be named, its row tells.
      if (requestId === undefined || connectorId !== undefined || this.#unnamed.has(resultFile)) continue;
      if ((await nameOf(requestId)) !== resultFile) await this.remove(where, { resultFile });
    }
  }

  /**
   * The same in the file connector that is named.
   *
   * @param nameOf the file that an invocation's row names; null where the row or its connector is gone.
   */
  async sweepConnector(
    now: Date,
    nameOf: (connectorId: string, requestId: string) => Promise<string | null>,
  ): Promise<void> {
    const { connectorId: chosen, find } = this.#chosen ?? {};
    if (chosen === undefined || find === undefined) return;
    const files = new ConnectorResults(await find(chosen), this.#registryId);
    for await (const { path, connectorId, name, lastModified } of files.list()) {
      const requestId = NAME.exec(name)?.[3];
      if (requestId === undefined || now.getTime() - lastModified.getTime() < MIN_SWEEP_AGE_MS) continue;
      // Whichever connector the row names: the same files may be reached by the one that was named before.
      const [, , named] = NAME.exec((await nameOf(connectorId, requestId)) ?? '') ?? [];
      if (named !== name) await files.removeAt(path);
    }
  }

  /** Removes the results of a connector that is gone, or of all of a tenant, from the file connector that is named. */
  async forget(where: Pick<Place, 'tenantId'> & Partial<Place>): Promise<void> {
    const { connectorId: chosen, find } = this.#chosen ?? {};
    if (chosen === undefined || find === undefined) return;
    await this.#bestEffort(
      (async () => {
        const files = new ConnectorResults(await find(chosen), this.#registryId);
        for await (const { path } of files.list(where)) await files.removeAt(path);
      })(),
    );
  }

  /** The id of the connector that took it. */
  async #toConnector(where: Place, name: string, bytes: Uint8Array): Promise<string | undefined> {
    const connectorId = this.#chosen?.connectorId;
    if (connectorId === undefined) return undefined;
    try {
      await (await this.#files(connectorId)).write(where, name, bytes);
      return connectorId;
    } catch (error) {
      this.#log.warn('a result was not stored in the file connector for results', { error: String(error) });
      return undefined;
    }
  }

  async #files(connectorId: string | undefined): Promise<ResultFiles> {
    if (connectorId === undefined) return this.#local;
    if (!this.#chosen) throw new ConnectorError('invalid_state', 'no file connector can be asked yet');
    return new ConnectorResults(await this.#chosen.find(connectorId), this.#registryId);
  }

  async #bestEffort(removed: Promise<void>): Promise<void> {
    await removed.catch((error: unknown) =>
      this.#log.warn('results were not removed from their file connector', { error: String(error) }),
    );
  }
}
