import { mkdir, open, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { crc32 } from 'node:zlib';
import type { JsonValue } from '../connectors/serverless/driver.ts';
import type { InvocationEnd, InvocationRecord } from '../connectors/serverless/invocations.ts';
import { ConnectorError } from '../errors/error.ts';
import type { Folders } from './folders.ts';

/** A result of more bytes than this is a file of its own, so that rows stay small. */
const MAX_ROW_BYTES = 256 * 1024;
const NAME = /^[\w-]{1,128}\.\d+\.(\d+)\.json$/;

type Place = Pick<InvocationRecord, 'tenantId' | 'connectorId'>;

/** Large results of invocations, in the folder of their connector, with which they go. */
export class InvocationResults {
  readonly #folders: Folders;

  constructor(folders: Folders) {
    this.#folders = folders;
  }

  /** The end as its row holds it: with the name of a file, durably written, where its result is large. */
  async put<E extends InvocationEnd>(
    where: Pick<InvocationRecord, 'tenantId' | 'connectorId' | 'requestId' | 'fence'>,
    end: E,
  ): Promise<E> {
    if (end.result === null || typeof end.result === 'number' || typeof end.result === 'boolean') return end;
    const bytes = Buffer.from(JSON.stringify(end.result));
    if (bytes.byteLength <= MAX_ROW_BYTES) return end;
    // The fence is part of the name: a worker that lost its lease cannot write over what the next one has to say.
    const resultFile = `${where.requestId}.${where.fence}.${crc32(bytes)}.json`;
    const folder = this.#folder(where);
    await mkdir(folder, { recursive: true, mode: 0o700 });
    await using file = await open(join(folder, resultFile), 'w', 0o600);
    await file.writeFile(bytes);
    await file.sync();
    await using directory = await open(folder, 'r');
    await directory.sync();
    return { ...end, result: null, resultFile };
  }

  /** The record with its result. @throws ConnectorError `internal` where the file is gone or damaged. */
  async whole<R extends InvocationRecord>(record: R): Promise<R> {
    if (record.resultFile === null) return record;
    const check = NAME.exec(record.resultFile)?.[1];
    const bytes = await readFile(join(this.#folder(record), record.resultFile)).catch(() => undefined);
    if (check === undefined || bytes === undefined || crc32(bytes) !== Number(check))
      throw new ConnectorError('internal', `the stored result of invocation ${record.requestId} is damaged`);
    // The check value says that this is the text that was written above.
    return { ...record, result: JSON.parse(bytes.toString('utf8')) as JsonValue };
  }

  async remove(where: Place, { resultFile }: Pick<InvocationRecord, 'resultFile'>): Promise<void> {
    if (resultFile !== null && NAME.test(resultFile))
      await rm(join(this.#folder(where), resultFile), { force: true });
  }

  #folder({ tenantId, connectorId }: Place): string {
    return join(this.#folders.connector(tenantId, 'serverless', connectorId), 'results');
  }
}
