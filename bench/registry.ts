/**
 * The registry itself: `get`, `list`, `create`, `createMany`, and its memory at a million connectors.
 *
 *     node bench/registry.ts [--quick]
 *
 * `--quick` uses a hundredth of the connectors.
 */
import { execFileSync } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { ConnectorRegistry, type ConnectorSpec } from '../src/index.ts';
import { median } from './pairs.ts';
import { report } from './report.ts';

const quick = process.argv.includes('--quick');
const CONNECTORS = quick ? 10_000 : 1_000_000;
const OPEN = quick ? 100 : 1_000;
const TENANTS = 100;
const BATCH = 10_000;
const RUNS = 5;

const [, , mode, existing] = process.argv;
if (mode === '--memory') {
  console.log(await rssMbWithOpenClients(existing));
} else {
  const dataDir = await mkdtemp(join(tmpdir(), 'connector-registry-bench-'));
  try {
    report('registry', await measure(dataDir));
  } finally {
    await rm(dataDir, { recursive: true, force: true });
  }
}

async function measure(folder: string) {
  let registry = await ConnectorRegistry.open({ dataDir: folder });
  const importedPerSecond: number[] = [];
  for (let done = 0; done < CONNECTORS; done += BATCH) {
    const specs = Array.from({ length: BATCH }, (_, n) => spec(done + n));
    const startMs = performance.now();
    await registry.createMany(specs);
    importedPerSecond.push((BATCH / (performance.now() - startMs)) * 1_000);
  }
  const createdPerSecond = await runs(async (run) => {
    const count = quick ? 200 : 1_000;
    const startMs = performance.now();
    for (let n = 0; n < count; n++) await registry.create(spec(CONNECTORS + run * count + n));
    return (count / (performance.now() - startMs)) * 1_000;
  });

  // Opened anew, so that nothing is cached.
  await registry.close();
  const openingStartMs = performance.now();
  registry = await ConnectorRegistry.open({ dataDir: folder });
  const openingMs = performance.now() - openingStartMs;

  const listTenantMs = await runs(async (run) =>
    timed(100, (n) => registry.list({ tenantId: tenant(n + run), limit: 100 })),
  );
  const listAllMs = await runs(async (run) =>
    timed(100, (n) => registry.list({ limit: 100, offset: run + n })),
  );
  const deepPageMs = await runs(async () =>
    timed(1, () => registry.list({ limit: 100, offset: CONNECTORS - 100 })),
  );
  const statisticsMs = await runs(async () => timed(1, () => registry.getStatistics()));
  const tenantStatisticsMs = await runs(async (run) =>
    timed(10, (n) => registry.getStatistics({ tenantId: tenant(n + run) })),
  );

  let uncached = 0;
  const getUncachedPerSecond = await runs(async () => {
    const count = Math.min(10_000, CONNECTORS / (2 * RUNS));
    const startMs = performance.now();
    // A stride that visits each id once, far from the one before.
    for (let n = 0; n < count; n++) {
      await registry.get(id((uncached++ * 7_919 + 13) % CONNECTORS));
      // A server has turns; within one turn the engine keeps every object that a weak reference was made of.
      if (n % 500 === 499) await nextTurn();
    }
    return (count / (performance.now() - startMs)) * 1_000;
  });
  const hot = id(0);
  await registry.get(hot);
  const getCachedPerSecond = await runs(async () => {
    const count = 1_000_000;
    const startMs = performance.now();
    for (let n = 0; n < count; n++) await registry.get(hot);
    return (count / (performance.now() - startMs)) * 1_000;
  });

  await registry.close();

  // In a process of its own: this one still holds what the import left behind.
  const memory = ['--memory', folder, ...(quick ? ['--quick'] : [])];
  const rssMb = Number(
    execFileSync(process.execPath, [import.meta.filename, ...memory], { encoding: 'utf8' }),
  );

  const many = CONNECTORS.toLocaleString('en');
  return [
    atLeast('get of a cached connector', median(getCachedPerSecond), '/s', 1_000_000),
    atLeast('get of one that is only in SQLite', median(getUncachedPerSecond), '/s', 40_000),
    atMost(`list of 100 within a tenant, at ${many}`, median(listTenantMs), 'ms', 1),
    atMost(`list of 100 across all, at ${many}`, median(listAllMs), 'ms', 3),
    { what: `the last page of 100 across all, at ${many}`, figure: median(deepPageMs), unit: 'ms' },
    { what: `statistics of all, at ${many}`, figure: median(statisticsMs), unit: 'ms' },
    { what: `statistics of one tenant, at ${many}`, figure: median(tenantStatisticsMs), unit: 'ms' },
    atLeast('durable create, one after another', median(createdPerSecond), '/s', 3_000),
    atLeast('imported 10,000 at a time', median(importedPerSecond), '/s', 60_000),
    { what: `opening a registry of ${many}`, figure: openingMs, unit: 'ms' },
    atMost(`memory with ${OPEN.toLocaleString('en')} open of ${many}`, rssMb, 'MB RSS', 400),
  ];
}

async function rssMbWithOpenClients(folder: string | undefined): Promise<number> {
  const registry = await ConnectorRegistry.open({ dataDir: folder });
  for (let n = 0; n < OPEN; n++) await (await registry.get(id(n))).connect();
  const { rss } = process.memoryUsage();
  await registry.close();
  return rss / 2 ** 20;
}

function spec(n: number): ConnectorSpec {
  return {
    connectorType: 'file',
    connectorId: id(n),
    tenantId: tenant(n),
    name: `connector-${n}`,
    metadata: { n },
  };
}
function id(n: number): string {
  return `c-${String(n).padStart(8, '0')}`;
}
function tenant(n: number): string {
  return `tenant-${n % TENANTS}`;
}

async function runs(run: (n: number) => Promise<number>): Promise<number[]> {
  const figures: number[] = [];
  for (let n = 0; n < RUNS; n++) figures.push(await run(n));
  return figures;
}
/** Milliseconds of one of `count` runs. */
async function timed(count: number, run: (n: number) => Promise<unknown>): Promise<number> {
  const startMs = performance.now();
  for (let n = 0; n < count; n++) await run(n);
  return (performance.now() - startMs) / count;
}
function atLeast(what: string, figure: number, unit: string, target: number) {
  return { what, figure, unit, target: `≥ ${target.toLocaleString('en')}`, ok: figure >= target };
}
function atMost(what: string, figure: number, unit: string, target: number) {
  return { what, figure, unit, target: `≤ ${target.toLocaleString('en')}`, ok: figure <= target };
}
