/**
 * Files through the connector, its policies and the local driver, against the same work on bare `node:fs`.
 *
 * Every ratio is the median of five pairs, each pair measured back to back in the same process.
 */
import { mkdtemp, open, readFile, rename, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { FileConnector } from '../src/connectors/file/connector.ts';
import type { FileClient } from '../src/connectors/file/driver.ts';
import type { ClientSession } from '../src/connectors/session.ts';
import { systemClock } from '../src/contract/clock.ts';
import driver from '../src/drivers/file/local/index.ts';
import { openLocal } from '../src/drivers/file/local/client.ts';
import { NEVER } from '../src/policies/pipeline.ts';
import { standardPolicies } from '../src/policies/standard.ts';
import { plainSession, recordOf } from '../src/testing/file-suite.ts';
import { grownMb, median, pairs, ratioRow, row } from './pairs.ts';
import { report, type Row } from './report.ts';

const isQuick = process.argv.includes('--quick');
const PAIRS = isQuick ? 3 : 5;
const LARGE_BYTES = (isQuick ? 64 : 256) * 2 ** 20;
/** A read of that many bytes takes a tenth of a second, too short to be compared alone. */
const READS = 4;
const SMALL_CALLS = isQuick ? 200 : 1000;
const NAMES = isQuick ? 10_000 : 100_000;
const CHUNK = Buffer.alloc(64 * 1024, 'connector');
const SMALL = Buffer.alloc(1024, 'small');

const folder = await mkdtemp(join(process.env['BENCH_DIR'] ?? tmpdir(), 'bench-files-'));
const silent = { debug: () => {}, info: () => {}, warn: () => {}, error: () => {} };
const client = await openLocal({}, { folder: join(folder, 'root'), log: silent });
const files = new FileConnector({
  record: recordOf(''),
  session: sessionWithPolicies(client),
  capabilities: driver.capabilities,
});
const bare = (name: string) => join(folder, 'root', 'bare', name);

try {
  await files.writeFile('bare/first', 'makes the folder');
  await files.writeFile('ours/first', 'makes the folder');
  report('files', [...(await large()), ...(await small()), ...(await listing())]);
} finally {
  await client.close();
  await rm(folder, { recursive: true });
}

async function large(): Promise<readonly Row[]> {
  const mb = LARGE_BYTES / 2 ** 20;
  const writeOurs = () => files.writeFile('ours/large', source());
  const readOurs = async () => drain((await files.openFile('ours/large')).body);
  // On their own and first: sampling takes time, and a process that has grown before would not grow again.
  const writeGrownMb = await grownMb(writeOurs);
  const readGrownMb = await grownMb(readOurs);
  const write = await pairs(PAIRS, () => bareStreamWrite(bare('large')), writeOurs);
  const read = await pairs(
    PAIRS,
    () => times(READS, () => bareStreamRead(bare('large'))),
    () => times(READS, readOurs),
  );
  return [
    ratioRow(`${mb} MB written, against node:fs with the same fsync`, write, 0.85, mb, 'MB/s'),
    ratioRow(`${mb} MB read, against node:fs`, read, 0.85, mb * READS, 'MB/s'),
    row(`RSS growth while ${mb} MB are written`, writeGrownMb, 'MB', { atMost: 64 }),
    row(`RSS growth while ${mb} MB are read`, readGrownMb, 'MB', { atMost: 64 }),
  ];
}

async function small(): Promise<readonly Row[]> {
  await bareWrite(bare('small'));
  await files.writeFile('ours/small', SMALL);
  const write = await pairs(
    PAIRS,
    () => times(SMALL_CALLS / 4, () => bareWrite(bare('small'))),
    () => times(SMALL_CALLS / 4, () => files.writeFile('ours/small', SMALL)),
  );
  const read = await pairs(
    PAIRS,
    () => times(SMALL_CALLS * 4, () => readFile(bare('small'))),
    () => times(SMALL_CALLS * 4, () => files.readFile('ours/small')),
  );
  return [
    ratioRow('1 KB written durably, against node:fs with the same fsyncs', write, 0.9, SMALL_CALLS / 4, '/s'),
    ratioRow('1 KB read, against node:fs', read, 0.8, SMALL_CALLS * 4, '/s'),
  ];
}

async function listing(): Promise<readonly Row[]> {
  await files.writeFile('many/first', '');
  const many = join(folder, 'root', 'many');
  for (let i = 0; i < NAMES; i++) await (await open(join(many, `file-${i}.txt`), 'w')).close();
  const pageMs: number[] = [];
  let listed = 0;
  let cursor: string | undefined;
  const pages = async (count: number) => {
    for (let i = 0; i < count && (i === 0 || cursor !== undefined); i++) {
      const startMs = performance.now();
      const page = await files.listFiles('many', { cursor });
      pageMs.push(performance.now() - startMs);
      listed += page.files.length;
      cursor = page.nextCursor;
    }
  };
  await pages(NAMES / 10_000);
  const before = liveHeapMb();
  await pages(NAMES / 2000);
  const held = liveHeapMb() - before;
  await pages(Infinity);
  if (listed !== NAMES + 1) throw new Error(`${listed} of ${NAMES + 1} names were listed`);
  const tookMs = pageMs.reduce((sum, ms) => sum + ms, 0);
  return [
    row(`${NAMES} names of one folder listed by pages of 1,000`, tookMs, 'ms'),
    row('median of those pages', median(pageMs), 'ms'),
    row('slowest of those pages', Math.max(...pageMs), 'ms'),
    row('live heap that half of those pages added', held, 'MB', { atMost: 4 }),
  ];
}

function sessionWithPolicies(target: FileClient): ClientSession<FileClient> {
  const options = { key: 'bench', timeoutMs: 30_000, maxRetries: 3, retryDelayMs: 1000 };
  const policy = standardPolicies(options, { clock: systemClock });
  return {
    ...plainSession(target),
    run: ({ operation, idempotent, signal = NEVER }, run) =>
      policy((call) => run(target, call))({ operation, idempotent, attempt: 1, signal, progress: () => {} }),
  };
}

async function* source(): AsyncGenerator<Uint8Array> {
  for (let done = 0; done < LARGE_BYTES; done += CHUNK.length) yield CHUNK;
}

/** The strongest plain way that was found: large writes of gathered chunks, one fsync, rename, fsync of the folder. */
async function bareStreamWrite(path: string): Promise<void> {
  const file = await open(`${path}.tmp`, 'w');
  const gathered = Buffer.alloc(2 ** 20);
  let used = 0;
  for await (const chunk of source()) {
    gathered.set(chunk, used);
    used += chunk.length;
    if (used === gathered.length) {
      await file.write(gathered);
      used = 0;
    }
  }
  await file.write(gathered, 0, used);
  await publish(file, path);
}

async function bareWrite(path: string): Promise<void> {
  const file = await open(`${path}.tmp`, 'w');
  await file.write(SMALL);
  await publish(file, path);
}

async function publish(file: Awaited<ReturnType<typeof open>>, path: string): Promise<void> {
  await file.sync();
  await file.close();
  await rename(`${path}.tmp`, path);
  const parent = await open(join(path, '..'), 'r');
  await parent.sync();
  await parent.close();
}

/** Chunks of the same size as ours, each in memory of its own, because a reader may keep them. */
async function bareStreamRead(path: string): Promise<void> {
  const file = await open(path, 'r');
  await drain(file.createReadStream({ highWaterMark: 512 * 1024 }));
}

async function drain(body: AsyncIterable<Uint8Array>): Promise<void> {
  let total = 0;
  for await (const chunk of body) total += chunk.length;
  if (total !== LARGE_BYTES) throw new Error(`${total} of ${LARGE_BYTES} bytes were read`);
}

/** What is left of the heap after a full collection. */
function liveHeapMb(): number {
  setFlagsFromString('--expose-gc');
  runInNewContext('gc')();
  return process.memoryUsage().heapUsed / 2 ** 20;
}

async function times(count: number, run: () => Promise<unknown>): Promise<void> {
  for (let i = 0; i < count; i++) await run();
}
