/**
 * Kills a process that creates connectors, upserts vectors and writes files, and checks that nothing it acknowledged
 * is lost and nothing is torn.
 *
 *     node test/crash/registry.ts [--cycles 100]
 */
import { createHash } from 'node:crypto';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { parseArgs } from 'node:util';
import { ConnectorRegistry } from '../../src/index.ts';
import type { FileConnector, VectorConnector } from '../../src/index.ts';
import { killCycles } from './kill-cycles.ts';

/** Runs so many cycles; answers how many writes were acknowledged. @throws Error naming what was lost or torn. */
export async function crashRegistry(
  cycles: number,
  onCycle?: (cycle: number, acknowledged: number) => void,
): Promise<number> {
  const dataDir = await mkdtemp(join(tmpdir(), 'connector-registry-crash-'));
  let checked = 0;
  try {
    return await killCycles({
      writer: join(import.meta.dirname, 'registry-writer.ts'),
      writerArguments: [dataDir],
      cycles,
      killWithinMs: 400,
      async verify(acknowledged) {
        // Each cycle writes names of its own, so what earlier cycles acknowledged is checked whole at the end.
        const fresh = acknowledged.slice(checked);
        checked = acknowledged.length;
        await verify(dataDir, fresh);
      },
      ...(onCycle && { onCycle }),
    });
  } finally {
    await rm(dataDir, { recursive: true, force: true });
  }
}

async function verify(dataDir: string, acknowledged: readonly string[]): Promise<void> {
  {
    await using registry = await ConnectorRegistry.open({ dataDir });
    const vectors = (await registry.getByName('crash', 'vectors')) as VectorConnector;
    const files = (await registry.getByName('crash', 'files')) as FileConnector;
    await verifyConnectors(registry, acknowledged);
    await verifyVectors(vectors, acknowledged);
    await verifyFiles(files, acknowledged);
    if (!(await registry.test(vectors.connectorId)).ok)
      throw new Error('the vector connector does not pass its test');
  }
  await verifyDatabases(dataDir);
}

async function verifyConnectors(registry: ConnectorRegistry, acknowledged: readonly string[]): Promise<void> {
  for (const [, id = '', name = ''] of linesOf(acknowledged, 'create')) {
    const found = await registry.get(id);
    if (found.name !== name) throw new Error(`connector ${id} is ${found.name}, not ${name}`);
  }
}

async function verifyVectors(vectors: VectorConnector, acknowledged: readonly string[]): Promise<void> {
  const last = new Map(linesOf(acknowledged, 'upsert').map(([, id = '', n = '']) => [id, Number(n)]));
  const found = await vectors.fetchVectors([...last.keys()]);
  if (found.length !== last.size)
    throw new Error(`${last.size - found.length} acknowledged vectors are lost`);
  for (const { id, values, metadata } of found) {
    const n = Number(metadata?.['n']);
    // A later upsert may have been stored without its acknowledgement being heard; an earlier one may not come back.
    if (n < (last.get(id) ?? 0)) throw new Error(`vector ${id} went back from ${last.get(id)} to ${n}`);
    if (values[1] !== n) throw new Error(`vector ${id} is torn: ${values[1]} beside ${n}`);
  }
}

async function verifyFiles(files: FileConnector, acknowledged: readonly string[]): Promise<void> {
  const last = new Map(
    linesOf(acknowledged, 'write').map(([, path = '', n = '', size = '', hash = '']) => [
      path,
      { n, size, hash },
    ]),
  );
  for (const [path, { n, hash }] of last) {
    const content = Buffer.from(await files.readFile(path));
    if (createHash('sha256').update(content).digest('hex') === hash) continue;
    // Not the acknowledged content, so it must be the whole of the write that followed it on this path.
    const [, cycle = ''] = /^c(\d+)\//.exec(path) ?? [];
    const next = Number(n) + 20;
    const expected = Buffer.alloc(1 + ((next * 7919) % 262_144), `${cycle}-${next}.`);
    if (!content.equals(expected)) throw new Error(`file ${path} is neither write ${n} nor write ${next}`);
  }
}

async function verifyDatabases(dataDir: string): Promise<void> {
  for (const name of await readdir(dataDir, { recursive: true })) {
    if (!name.endsWith('.db')) continue;
    const database = new DatabaseSync(join(dataDir, name), { readOnly: true });
    const [row] = database.prepare('pragma integrity_check').all();
    database.close();
    if (row?.['integrity_check'] !== 'ok') throw new Error(`${name}: ${JSON.stringify(row)}`);
  }
}

function linesOf(acknowledged: readonly string[], kind: string): string[][] {
  return acknowledged.filter((line) => line.startsWith(`${kind} `)).map((line) => line.split(' '));
}

if (import.meta.main) {
  const { values } = parseArgs({ options: { cycles: { type: 'string', default: '100' } } });
  const cycles = Number(values.cycles);
  const startMs = performance.now();
  const acknowledged = await crashRegistry(cycles, (cycle, sofar) => {
    if (cycle % 10 === 0)
      console.log(
        `${cycle} of ${cycles} kills, ${sofar.toLocaleString('en')} writes acknowledged, none lost`,
      );
  });
  const seconds = ((performance.now() - startMs) / 1_000).toFixed(0);
  console.log(
    `registry: ${cycles} kills, ${acknowledged.toLocaleString('en')} acknowledged writes, 0 lost, 0 torn, ${seconds} s`,
  );
}
