/**
 * The memory of the command line while it imports many vectors from stdin: how far it grows above where it began.
 * Run: node bench/import-memory.ts [--quick]
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { setTimeout as wait } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { ConnectorRegistry } from '../src/index.ts';
import { report } from './report.ts';

const RECORDS = process.argv.includes('--quick') ? 20_000 : 1_000_000;
const DIMENSION = 64;
const SAMPLE_EVERY_MS = 100;
const TARGET_MB = 200;

const scratch = mkdtempSync(join(tmpdir(), 'bench-import-'));
try {
  const dataDir = join(scratch, 'data');
  const registry = await ConnectorRegistry.open({ dataDir });
  await registry.createVectorConnector({ tenantId: 'acme', name: 'many', vectorDimension: DIMENSION });
  await registry.close();

  const cli = fileURLToPath(new URL('../src/cli/main.ts', import.meta.url));
  const args = [cli, '--data-dir', dataDir, '--tenant', 'acme', 'vectors', 'import', 'many', '-'];
  const startMs = performance.now();
  const child = spawn(process.execPath, args, {
    stdio: ['pipe', 'ignore', 'inherit'],
    env: { ...process.env, CONNECTORS_STATE_DIR: join(scratch, 'state') },
  });
  const exited = once(child, 'exit');
  const samples: number[] = [];
  const sampling = setInterval(() => {
    const mb = residentMb(child.pid ?? 0);
    if (mb !== undefined) samples.push(mb);
  }, SAMPLE_EVERY_MS);
  const beganMb = await settledMb(samples);
  await pipeline(Readable.from(lines()), child.stdin);
  const [code] = (await exited) as [number | null];
  clearInterval(sampling);
  if (code !== 0) throw new Error(`the import ended with ${String(code)}`);
  const seconds = (performance.now() - startMs) / 1_000;
  const grownMb = Math.max(...samples) - beganMb;
  report('import-memory', [
    {
      what: `${RECORDS.toLocaleString('en-US')} × ${DIMENSION} imported by the command: memory above its start`,
      figure: grownMb,
      unit: 'MB',
      target: `<= ${TARGET_MB}`,
      ok: grownMb <= TARGET_MB,
      note: `began at ${beganMb.toFixed(0)} MB; ${Math.round(RECORDS / seconds).toLocaleString('en-US')} records/s`,
    },
  ]);
} finally {
  rmSync(scratch, { recursive: true, force: true });
}

/** The memory of a command that has loaded all that it needs and waits for its input: it no longer grows. */
async function settledMb(samples: readonly number[]): Promise<number> {
  for (;;) {
    await wait(SAMPLE_EVERY_MS);
    const latest = samples.slice(-10);
    if (latest.length === 10 && Math.max(...latest) - Math.min(...latest) < 1) return Math.max(...latest);
  }
}

function* lines(): Generator<string> {
  for (let i = 0; i < RECORDS; i += 1_000)
    yield Array.from({ length: 1_000 }, (_, j) => line(i + j)).join('');
}

function line(i: number): string {
  const values = Array.from({ length: DIMENSION }, (_, d) => Math.fround(Math.sin(i * 31 + d * 7)));
  return `${JSON.stringify({ id: `record-${i}`, values, metadata: { group: i % 100 } })}\n`;
}

/** Of a running process, on Linux. */
function residentMb(pid: number): number | undefined {
  try {
    const [, kb] = /VmRSS:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, 'utf8')) ?? [];
    return kb === undefined ? undefined : Number(kb) / 1024;
  } catch {
    return undefined;
  }
}
