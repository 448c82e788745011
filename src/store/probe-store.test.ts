import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { sql } from 'kysely';
import { afterAll, describe, expect, it } from 'vitest';
import { noPostgres } from '../testing/postgres.fixture.ts';
import { usePostgres } from '../testing/postgres-suite.fixture.ts';
import type { Engine } from './engine.ts';
import { migrate } from './migrate.ts';
import { openPostgres } from './postgres.ts';
import { dueProbes, probeStore } from './probe-store.ts';
import { openSqlite } from './sqlite.ts';

const CONNECTORS = 100_000;
const CONNECTED = 1_000;
const WANT = { now: new Date(), nextAt: () => new Date(), limit: 20, home: 'here' };

/** So many connectors, one in a hundred connected; those that are looked at are looked at anew. */
async function fill({ writer }: Engine): Promise<void> {
  const db = writer(null);
  await sql`with recursive n (i) as (select 1 union all select i + 1 from n where i < ${sql.lit(CONNECTORS)})
    insert into connectors select 'id-' || i, 'tenant-' || (i % 50), 'name ' || i, 'vector', 1, '{}', 0,
      case when i % ${sql.lit(CONNECTORS / CONNECTED)} = 0 then 'connected' else 'ready' end, 0, 0, null, 0 from n`.execute(
    db,
  );
}

/** How long claiming takes while a twentieth of what is connected is due, in milliseconds, fastest first. */
async function claimTimes(engine: Engine): Promise<readonly number[]> {
  const { claimProbes } = probeStore(engine);
  const now = Date.now();
  const nextAt = () => new Date(now + 60_000);
  // The first look at each.
  while ((await claimProbes({ ...WANT, now: new Date(now), nextAt, limit: 200 })).length > 0);
  const times: number[] = [];
  for (let turn = 1; turn <= 50; turn += 1) {
    const later = now + turn * 60_000;
    await sql`update probes set due_at = ${now} where connector_id like ${`%${turn % 10}00`}`.execute(
      engine.writer(null),
    );
    const startMs = performance.now();
    const claimed = await claimProbes({ ...WANT, now: new Date(now), nextAt: () => new Date(later) });
    times.push(performance.now() - startMs);
    expect(claimed).toHaveLength(20);
  }
  return times.toSorted((a, b) => a - b);
}

function report(name: string, times: readonly number[]): void {
  const at = (share: number) => (times[Math.floor(share * (times.length - 1))] ?? 0).toFixed(1);
  console.log(
    `claiming 20 probes of ${CONNECTED} connected among ${CONNECTORS}, ${name}: p50 ${at(0.5)} ms, p95 ${at(0.95)} ms`,
  );
}

describe('claiming probes in SQLite', () => {
  const folder = mkdtempSync(join(tmpdir(), 'probes-'));
  afterAll(() => rmSync(folder, { recursive: true }));

  it('reads what is connected and nothing else', async () => {
    const sqlite = openSqlite(join(folder, 'registry.db'));
    await migrate(sqlite.writer(null));
    await fill(sqlite);
    const query = dueProbes(sqlite.reader(null), WANT, false).compile();
    const { rows } = await sqlite
      .reader(null)
      .executeQuery<{ detail: string }>({ ...query, sql: `explain query plan ${query.sql}` });
    expect(rows.map(({ detail }) => detail).filter((step) => /SCAN|SEARCH/.test(step))).toEqual([
      'SEARCH connectors USING INDEX connectors_by_status (status=?)',
      'SEARCH probes USING PRIMARY KEY (connector_id=?)',
      'SEARCH probes USING PRIMARY KEY (connector_id=?)',
    ]);
    const times = await claimTimes(sqlite);
    report('SQLite', times);
    expect(times[0]).toBeLessThan(10);
    await sqlite.close();
  });
});

describe.skipIf(noPostgres !== undefined)('claiming probes in PostgreSQL', () => {
  const postgres = usePostgres();

  it('reads what is connected and nothing else', { timeout: 60_000 }, async () => {
    const engine = await openPostgres(await postgres.database());
    await fill(engine);
    const query = dueProbes(engine.reader(null), WANT, true).compile();
    const { rows } = await engine
      .reader(null)
      .executeQuery<{ 'QUERY PLAN': string }>({ ...query, sql: `explain ${query.sql}` });
    const plan = rows.map((row) => row['QUERY PLAN']).join('\n');
    expect(plan).toMatch(/Index Scan on connectors_by_status/);
    expect(plan).toMatch(/Index Scan using probes_pkey/);
    expect(plan).toMatch(/Index Scan using homes_pkey/);
    expect(plan).not.toMatch(/Seq Scan/);
    const times = await claimTimes(engine);
    report('PostgreSQL', times);
    expect(times[0]).toBeLessThan(10);
    await engine.close();
  });
});
