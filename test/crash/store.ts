/**
 * Kills a process that writes to a store, again and again, and looks for what it had acknowledged:
 * `node test/crash/store.ts --cycles 100`.
 *
 * kill -9 proves that no write is acknowledged before the kernel has it, and that none is torn. It says nothing about a
 * power cut: the kernel lives on, so `synchronous=off` would pass as well.
 */
import { spawn } from 'node:child_process';
import { randomInt } from 'node:crypto';
import { once } from 'node:events';
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { isDeepStrictEqual, parseArgs } from 'node:util';
import { SqlStore } from '../../src/store/sql-store.ts';
import { after, look, NOTHING, type Model, type Write } from './store-model.ts';

export type CrashReport = {
  readonly cycles: number;
  readonly acknowledged: number;
  /** Kills that hit between the announcement of a write and its acknowledgement. */
  readonly torn: number;
  readonly lost: readonly string[];
  readonly slowestOpenMs: number;
};

type Models = Readonly<Record<string, Model>>;
const TENANTS = ['one', 'two', 'three'];

/** Kills a writer `cycles` times; `lost` names every difference between what was acknowledged and what is there. */
export async function crashStore(cycles: number): Promise<CrashReport> {
  const folder = mkdtempSync(join(tmpdir(), 'crash-store-'));
  const file = join(folder, 'registry.db');
  let models: Models = Object.fromEntries(TENANTS.map((tenant) => [tenant, NOTHING]));
  let [acknowledged, torn, slowestOpenMs] = [0, 0, 0];
  const lost: string[] = [];
  try {
    for (let cycle = 0; cycle < cycles; cycle++) {
      const said = readSaid(await writeUntilKilled(folder, file, models));
      const began = performance.now();
      const integrity = integrityOf(file);
      if (integrity !== 'ok') lost.push(`cycle ${cycle}: integrity check says ${String(integrity)}`);
      const store = await SqlStore.open({ file });
      slowestOpenMs = Math.max(slowestOpenMs, performance.now() - began);
      const next: Record<string, Model> = {};
      for (const [tenant, before] of Object.entries(models)) {
        const { done, open } = said[tenant] ?? { done: [] };
        const sure = done.reduce(after, before);
        const possible = open ? after(sure, open) : sure;
        const found = await look(store, tenant, { ...sure.calls, ...possible.calls });
        if (!isDeepStrictEqual(found, sure) && !isDeepStrictEqual(found, possible)) {
          lost.push(
            `cycle ${cycle}, tenant ${tenant}: after ${done.length} writes, in ${JSON.stringify(open)}`,
          );
        }
        acknowledged += done.length;
        torn += open ? 1 : 0;
        next[tenant] = found;
      }
      models = next;
      // Half of the cycles start from a clean stop, half from the state that the kill left and a look at it.
      await store.close();
      if (cycle % 2) rmSync(`${file}.sum`, { force: true });
    }
    return { cycles, acknowledged, torn, lost, slowestOpenMs };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** What the writer said before it was killed: at a random time, every fifth time while it still opens the store. */
async function writeUntilKilled(folder: string, file: string, models: Models): Promise<string> {
  const [said, start] = [join(folder, 'said'), join(folder, 'models')];
  writeFileSync(start, JSON.stringify(models));
  const output = openSync(said, 'w');
  const writer = new URL('./store-writer.ts', import.meta.url).pathname;
  const child = spawn(process.execPath, [writer, file, start], {
    stdio: ['ignore', output, 'inherit', 'ipc'],
  });
  closeSync(output);
  const ended = once(child, 'exit');
  if (randomInt(5) > 0) await Promise.race([once(child, 'message'), ended]);
  const timer = setTimeout(() => child.kill('SIGKILL'), randomInt(400));
  await ended;
  clearTimeout(timer);
  if (child.signalCode !== 'SIGKILL') throw new Error(`the writer ended by itself with ${child.exitCode}`);
  return readFileSync(said, 'utf8');
}

type Said = Readonly<Record<string, { readonly done: readonly Write[]; readonly open?: Write }>>;

function readSaid(text: string): Said {
  const said: Record<string, { done: Write[]; open?: Write }> = {};
  // The last line may be cut off by the kill; it is an announcement of what never began, or an acknowledgement not given.
  for (const line of text.split('\n').slice(0, -1)) {
    const [tenant = '', write] = JSON.parse(line) as readonly [string, Write?];
    const lane = (said[tenant] ??= { done: [] });
    if (write) lane.open = write;
    else if (lane.open) {
      lane.done.push(lane.open);
      delete lane.open;
    }
  }
  return said;
}

function integrityOf(file: string): unknown {
  const db = new DatabaseSync(file);
  try {
    return db.prepare('pragma integrity_check').get()?.['integrity_check'];
  } finally {
    db.close();
  }
}

if (import.meta.main) {
  const { values } = parseArgs({ options: { cycles: { type: 'string', default: '100' } } });
  const report = await crashStore(Number(values.cycles));
  console.log(JSON.stringify(report, null, 2));
  if (report.lost.length > 0) process.exitCode = 1;
}
