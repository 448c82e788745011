/**
 * Vector backends: the connector against the official client that is called directly, on the same engine and the same
 * data, in turns; and the command line's import against a loop written by hand. Run: node bench/backends.ts [--quick]
 *
 * PostgreSQL is PGlite behind its socket, Chroma the server that its package carries: both on this machine, beside
 * the benchmark. `CONNECTORS_TEST_PG_URL` names another PostgreSQL with pgvector.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createWriteStream, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { finished } from 'node:stream/promises';
import { fileURLToPath } from 'node:url';
import { ConnectorRegistry, type VectorConnector } from '../src/index.ts';
import type { VectorRecord } from '../src/connectors/vector/driver.ts';
import { startChroma } from '../src/drivers/vector/chroma/chroma.fixture.ts';
import { startPostgres } from '../src/drivers/vector/pgvector/pgvector.fixture.ts';
import { bareChroma, barePostgres, type BareClient } from './bare-clients.ts';
import { median } from './pairs.ts';
import { report, type Row } from './report.ts';
import { clustered, DIMENSION } from './vector-data.ts';

const QUICK = process.argv.includes('--quick');
const RECORDS = QUICK ? 1_000 : 10_000;
const QUERIES = QUICK ? 20 : 200;
const RUNS = QUICK ? 1 : 3;
const BATCH = 1_000;

type Engine = {
  readonly provider: 'pgvector' | 'chroma';
  readonly url: string;
  /** The connector's options for a server that wants no credentials. */
  readonly options: Readonly<Record<string, unknown>>;
  bare(name: string): Promise<BareClient>;
};

const scratch = mkdtempSync(join(tmpdir(), 'bench-backends-'));
const registry = await ConnectorRegistry.open({ dataDir: join(scratch, 'data') });
const given = process.env['CONNECTORS_TEST_PG_URL'];
const postgres = given === undefined ? await startPostgres() : undefined;
const chroma = await startChroma();
const rows: Row[] = [];
try {
  const postgresUrl = given ?? postgres?.url ?? '';
  const engines: readonly Engine[] = [
    {
      provider: 'pgvector',
      url: postgresUrl,
      options: { ssl: 'disable' },
      bare: (name) => barePostgres(postgresUrl, name, DIMENSION),
    },
    { provider: 'chroma', url: chroma.url, options: {}, bare: (name) => bareChroma(chroma.url, name) },
  ];
  const records = clustered(RECORDS);
  const queries = clustered(QUERIES, 7).map(({ values }) => values);
  const file = join(scratch, 'records.ndjson');
  await writeNdjson(file, records);
  for (const engine of engines) {
    rows.push(...(await calls(engine, records, queries)));
    rows.push(await imports(engine, file));
  }
  report('backends', rows);
} finally {
  await registry.close();
  await chroma.close();
  await postgres?.close();
  rmSync(scratch, { recursive: true, force: true });
}

/** Batch upserts and searches, one at a time and 8 at once, by the connector and by the bare client. */
async function calls(
  engine: Engine,
  records: readonly VectorRecord[],
  queries: readonly (readonly number[] | Float32Array)[],
): Promise<readonly Row[]> {
  const times: Record<string, [number[], number[]]> = {
    upsert: [[], []],
    search: [[], []],
    'search, 8 callers': [[], []],
  };
  for (let run = 0; run < RUNS; run++) {
    const connector = await connectorFor(engine, `calls-${run}`);
    const bare = await engine.bare(`bare_calls_${run}`);
    const sides = [
      async () => {
        await measure(0, 'upsert', () => inBatches(records, (batch) => connector.upsertVectors(batch)));
        await measure(0, 'search', () => inTurn(queries, (query) => connector.search(query)));
        await measure(0, 'search, 8 callers', () => crowd(queries, (query) => connector.search(query)));
      },
      async () => {
        await measure(1, 'upsert', () => inBatches(records, (batch) => bare.upsert(batch)));
        await measure(1, 'search', () => inTurn(queries, (query) => bare.search(query, 10)));
        await measure(1, 'search, 8 callers', () => crowd(queries, (query) => bare.search(query, 10)));
      },
    ];
    for (const side of run % 2 === 0 ? sides : sides.reverse()) await side();
    await connector.deleteVectors({ all: true });
    await connector.disconnect();
    await bare.close();
  }
  return Object.entries(times).map(([what, [through, direct]]) => {
    const ratio = median(direct) / median(through);
    const each = what === 'upsert' ? RECORDS : QUERIES;
    return {
      what: `${engine.provider}: ${what}, connector against bare client`,
      figure: ratio,
      unit: 'ratio',
      target: '>= 0.9',
      ok: ratio >= 0.9,
      note: `${rate(each, median(through))} against ${rate(each, median(direct))}`,
    };
  });

  async function measure(side: 0 | 1, what: string, work: () => Promise<void>): Promise<void> {
    const startMs = performance.now();
    await work();
    times[what]?.[side].push(performance.now() - startMs);
  }
}

/** `connectors vectors import` of a file against a program that reads the same file and calls the bare client. */
async function imports(engine: Engine, file: string): Promise<Row> {
  const through: number[] = [];
  const direct: number[] = [];
  for (let run = 0; run < RUNS; run++) {
    const dataDir = join(scratch, `import-${engine.provider}-${run}`);
    const own = await ConnectorRegistry.open({ dataDir });
    await connectorFor(engine, 'imported', own);
    await own.close();
    const state = { CONNECTORS_STATE_DIR: join(scratch, 'state') };
    const cli = fileURLToPath(new URL('../src/cli/main.ts', import.meta.url));
    const command = [cli, '--data-dir', dataDir, '--tenant', 'acme', 'vectors', 'import', 'imported', file];
    through.push(await timeOf(command, state));
    const loop = fileURLToPath(new URL('./bare-clients.ts', import.meta.url));
    direct.push(await timeOf([loop, engine.provider, engine.url, `bare_import_${run}`, file], {}));
  }
  const ratio = median(direct) / median(through);
  return {
    what: `${engine.provider}: import of ${RECORDS} × ${DIMENSION} by the command against a loop by hand`,
    figure: ratio,
    unit: 'ratio',
    target: '>= 0.7',
    ok: ratio >= 0.7,
    note: `${median(through).toFixed(0)} ms against ${median(direct).toFixed(0)} ms, start of the process included`,
  };
}

async function timeOf(args: readonly string[], env: NodeJS.ProcessEnv): Promise<number> {
  const startMs = performance.now();
  const child = spawn(process.execPath, args, {
    stdio: ['ignore', 'ignore', 'inherit'],
    env: { ...process.env, ...env },
  });
  const [code] = (await once(child, 'exit')) as [number | null];
  if (code !== 0) throw new Error(`${args.join(' ')} ended with ${String(code)}`);
  return performance.now() - startMs;
}

function connectorFor(
  { provider, url, options }: Engine,
  name: string,
  where = registry,
): Promise<VectorConnector> {
  return where.createVectorConnector({
    ...{ tenantId: 'acme', name: `${provider}-${name}`.replace(/^.*-imported$/, 'imported'), provider },
    vectorDimension: DIMENSION,
    config: { endpoint: url, options },
  });
}

async function writeNdjson(file: string, records: readonly VectorRecord[]): Promise<void> {
  const out = createWriteStream(file);
  for (const { id, values, metadata } of records)
    out.write(`${JSON.stringify({ id, values: Array.from(values), metadata })}\n`);
  out.end();
  await finished(out);
}

async function inBatches(
  records: readonly VectorRecord[],
  upsert: (batch: readonly VectorRecord[]) => Promise<unknown>,
): Promise<void> {
  for (let at = 0; at < records.length; at += BATCH) await upsert(records.slice(at, at + BATCH));
}

async function inTurn<Q>(queries: readonly Q[], search: (query: Q) => Promise<unknown>): Promise<void> {
  for (const query of queries) await search(query);
}

async function crowd<Q>(queries: readonly Q[], search: (query: Q) => Promise<unknown>): Promise<void> {
  let next = 0;
  const caller = async (): Promise<void> => {
    for (let query = queries[next++]; query !== undefined; query = queries[next++]) await search(query);
  };
  await Promise.all(Array.from({ length: 8 }, caller));
}

function rate(count: number, ms: number): string {
  return `${Math.round((count / ms) * 1_000).toLocaleString('en-US')}/s`;
}
