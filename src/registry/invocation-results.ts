import { mkdir, open, readdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { crc32 } from 'node:zlib';
import type { JsonValue } from '../connectors/serverless/driver.ts';
import type {
  InvocationEnd,
  InvocationLease,
  InvocationRecord,
} from '../connectors/serverless/invocations.ts';
import { ConnectorError } from '../errors/error.ts';
import type { Folders } from './folders.ts';

/** A result of more bytes than this is a file of its own, so that rows stay small. */
const MAX_ROW_BYTES = 256 * 1024;
const NAME = /^([\w-]{1,128})\.\d+\.(\d+)\.json$/;

type Place = Pick<InvocationRecord, 'tenantId' | 'connectorId'>;
type Write = (end: InvocationEnd) => Promise<boolean>;

/** Large results of invocations, in the folder of their connector, with which they go. */
export class InvocationResults {
  readonly #folders: Folders;
  /** Files whose row is about to be written. */
  readonly #unnamed = new Set<string>();

  constructor(folders: Folders) {
    this.#folders = folders;
  }

  /**
   * Stores an end: where its result is large, with the name of a file that is durable before the row is written.
   *
   * @param write stores the row; false where nothing is stored, so that the file is nobody's.
   */
  async keep(lease: InvocationLease, end: InvocationEnd, write: Write): Promise<boolean> {
    if (end.result === null || typeof end.result === 'number' || typeof end.result === 'boolean')
      return write(end);
    const bytes = Buffer.from(JSON.stringify(end.result));
    if (bytes.byteLength <= MAX_ROW_BYTES) return write(end);
    // The fence is part of the name: a worker that lost its lease cannot write over what the next one has to say.
    const resultFile = `${lease.requestId}.${lease.fence}.${crc32(bytes)}.json`;
    this.#unnamed.add(resultFile);
    try {
      await writeDurably(this.#folder(lease), resultFile, bytes);
      const isStored = await write({ ...end, result: null, resultFile });
      if (!isStored) await this.remove(lease, { resultFile });
      return isStored;
    } finally {
      this.#unnamed.delete(resultFile);
    }
  }

  /** The record with its result. @throws ConnectorError `internal` where the file is gone or damaged. */
  async whole<R extends InvocationRecord>(record: R): Promise<R> {
    if (record.resultFile === null) return record;
    const check = NAME.exec(record.resultFile)?.[2];
    const bytes = await readFile(join(this.#folder(record), record.resultFile)).catch(() => undefined);
    if (check === undefined || bytes === undefined || crc32(bytes) !== Number(check))
      throw new ConnectorError('internal', `the stored result of invocation ${record.requestId} is damaged`);
    // The check value says that this is the text that was written above.
    return { ...record, result: JSON.parse(bytes.toString('utf8')) as JsonValue };
  }

  /**
   * Removes the files of a connector that no row names: what a crash between a file and its row left.
   *
   * @param nameOf the file that an invocation's row names.
   */
  async sweep(where: Place, nameOf: (requestId: string) => Promise<string | null>): Promise<void> {
    const files = await readdir(this.#folder(where)).catch(() => []);
    for (const resultFile of files) {
      const requestId = NAME.exec(resultFile)?.[1];
      // Asked first: once a file is no longer about to be named, its row tells.
      if (requestId === undefined || this.#unnamed.has(resultFile)) continue;
      if ((await nameOf(requestId)) !== resultFile) await this.remove(where, { resultFile });
    }
  }

  async remove(where: Place, { resultFile }: Pick<InvocationRecord, 'resultFile'>): Promise<void> {
    if (resultFile !== null && NAME.test(resultFile))
      await rm(join(this.#folder(where), resultFile), { force: true });
  }

  #folder({ tenantId, connectorId }: Place): string {
    return join(this.#folders.connector(tenantId, 'serverless', connectorId), 'results');
  }
}

async function writeDurably(folder: string, name: string, bytes: Uint8Array): Promise<void> {
  await mkdir(folder, { recursive: true, mode: 0o700 });
  await using file = await open(join(folder, name), 'w', 0o600);
  await file.writeFile(bytes);
  await file.sync();
  await using directory = await open(folder, 'r');
  await directory.sync();
}
