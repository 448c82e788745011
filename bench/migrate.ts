/**
 * Moving a registry: connectors with a credential each, from a data directory to PostgreSQL and back.
 *
 *     node bench/migrate.ts [--quick]
 */
import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ConnectorRegistry } from '../src/index.ts';
import { transfer } from '../src/store/transfer.ts';
import { noPostgres, startPostgres } from '../src/testing/postgres.fixture.ts';
import { report, type Row } from './report.ts';

const QUICK = process.argv.includes('--quick');
const CONNECTORS = QUICK ? 1_000 : 50_000;
const TARGET = 10_000;

const folder = mkdtempSync(join(tmpdir(), 'bench-migrate-'));
const rows: Row[] = [];
try {
  await fill(join(folder, 'from'));
  await measure('data directory to data directory', join(folder, 'from'), join(folder, 'to'));
  if (noPostgres === undefined) {
    const postgres = await startPostgres();
    try {
      const database = await postgres.database();
      await measure('data directory to PostgreSQL', join(folder, 'from'), database);
      await measure('PostgreSQL to data directory', database, join(folder, 'back'));
    } finally {
      await postgres.close();
    }
  }
  rows.push({ what: 'memory in the end', figure: process.memoryUsage().rss / 2 ** 20, unit: 'MB' });
  report('migrate', rows);
} finally {
  rmSync(folder, { recursive: true, force: true });
}

async function fill(dataDir: string): Promise<void> {
  const env = { CONNECTORS_MASTER_KEY: randomBytes(32).toString('base64') };
  await using registry = await ConnectorRegistry.open({ dataDir, env });
  for (let from = 0; from < CONNECTORS; from += 10_000) {
    await registry.createMany(
      Array.from({ length: Math.min(10_000, CONNECTORS - from) }, (_, i) => ({
        tenantId: `tenant-${(from + i) % 100}`,
        name: `connector-${from + i}`,
        connectorType: 'vector' as const,
        provider: 'qdrant',
        config: { endpoint: 'https://example.com', credentials: { api_key: `secret-${from + i}` } },
      })),
    );
  }
}

async function measure(what: string, from: string, to: string): Promise<void> {
  const startMs = performance.now();
  const { tables } = await transfer({ from, to });
  const seconds = (performance.now() - startMs) / 1_000;
  const connectors = tables.find(({ table }) => table === 'connectors')?.rows ?? 0;
  const figure = connectors / seconds;
  rows.push({
    what: `${what}, copied and compared`,
    figure,
    unit: 'connectors/s',
    target: `>= ${TARGET.toLocaleString('en-US')}`,
    ok: figure >= TARGET,
    note: `${connectors.toLocaleString('en-US')} with a credential each`,
  });
}
