/**
 * Replaces the master key of a registry whose servers are read from all the while, kills what seals the credentials anew
 * again and again, and checks that no read fails and that the old key is not needed in the end.
 *
 *     node test/crash/key-rotation.ts [--cycles 50] [--credentials 10000]
 *
 * On SQLite one process at a time has the data directory: there the kills come first, and the reads while a server does
 * the rest. On PostgreSQL two servers are read from all through.
 */
import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { ConnectorRegistry } from '../../src/index.ts';
import { keyRing } from '../../src/secrets/key-ring.ts';
import { type RunningServer, serverLogger, startServer } from '../../src/server/index.ts';
import { noPostgres, startPostgres } from '../../src/testing/postgres.fixture.ts';
import { guardedDrivers, secretOf } from './guarded-driver.ts';
import { killCycles } from './kill-cycles.ts';

const MAIN = fileURLToPath(new URL('../../src/cli/main.ts', import.meta.url));
const READS_PER_SECOND = 100;
const TENANT = 'crash';
/** From the first acknowledgement to a kill, and how much is acknowledged at once: little, so that something is left for the next. */
const PACES = { SQLite: { killWithinMs: 5, limit: 4 }, PostgreSQL: { killWithinMs: 30, limit: 20 } };

export type RotationRun = {
  readonly engine: 'SQLite' | 'PostgreSQL';
  readonly credentials: number;
  readonly kills: number;
};

export type RotationFigures = {
  /** Credentials that those which were killed had sealed anew. */
  readonly beforeLastKill: number;
  /** What the last run, which was not killed, sealed anew, and how long its command took. */
  readonly sealed: number;
  readonly seconds: number;
  readonly reads: number;
  readonly failedReads: readonly string[];
  readonly slowestReadMs: number;
  /** How long it took to refuse a start with the old key alone. */
  readonly refusedMs: number;
};

type Place = { readonly databaseUrl: string } | { readonly dataDir: string };

/** @throws Error naming what was lost, torn or still needs the old key. */
export async function crashRotation(run: RotationRun): Promise<RotationFigures> {
  const postgres = run.engine === 'PostgreSQL' ? await startPostgres() : undefined;
  const folder = await mkdtemp(join(tmpdir(), 'connector-registry-rotation-'));
  try {
    const place = postgres ? { databaseUrl: await postgres.database() } : { dataDir: join(folder, 'data') };
    return await rotateOn(place, { ...run, commandDir: join(folder, 'command') });
  } finally {
    await postgres?.close();
    await rm(folder, { recursive: true, force: true });
  }
}

async function rotateOn(
  place: Place,
  { engine, credentials, kills, commandDir }: RotationRun & { readonly commandDir: string },
): Promise<RotationFigures> {
  const [oldKey, newKey] = [randomBytes(32).toString('base64'), randomBytes(32).toString('base64')];
  const both = { CONNECTORS_MASTER_KEY: `${newKey},${oldKey}` };
  const newId = keyRing([newKey], 'the new key').current.id;
  const open = (env: Readonly<Record<string, string>>) =>
    ConnectorRegistry.open({ ...place, env, drivers: guardedDrivers });

  const ids = Array.from({ length: credentials }, (_, i) => `connector-${String(i).padStart(6, '0')}`);
  {
    await using first = await open({ CONNECTORS_MASTER_KEY: oldKey });
    await first.createMany(ids.map(specOf));
  }
  const isShared = 'databaseUrl' in place;
  const { killWithinMs, limit } = PACES[engine];
  let beforeLastKill = 0;
  const killAll = async (registry: () => Promise<ConnectorRegistry>) => {
    if (kills === 0) return;
    const lines = await killCycles({
      writer: join(import.meta.dirname, 'key-rotator.ts'),
      writerArguments: ['databaseUrl' in place ? place.databaseUrl : place.dataDir, String(limit)],
      env: both,
      cycles: kills,
      killWithinMs,
      async verify(acknowledged) {
        const said = acknowledged.reduce((sum, line) => sum + Number(line.split(' ')[1]), 0);
        const seen = await registry();
        const uses = await seen.keyring.list();
        if (!isShared) await seen.close();
        const sealed = uses.find(({ keyId }) => keyId === newId)?.credentials ?? 0;
        const all = uses.reduce((sum, one) => sum + one.credentials, 0);
        if (all !== credentials) throw new Error(`${credentials - all} credentials are lost`);
        if (sealed < said || sealed < beforeLastKill)
          throw new Error(`${sealed} are sealed with the new key after ${said} were acknowledged`);
        beforeLastKill = sealed;
      },
    });
    if (lines === 0) throw new Error('nothing was sealed anew before a kill');
  };

  if (!isShared) await killAll(() => open(both));
  const registries = await Promise.all((isShared ? [1, 2] : [1]).map(() => open(both)));
  const servers = await Promise.all(
    registries.map((registry) =>
      startServer({ registry, port: 0, logger: serverLogger({ level: 'silent' }) }),
    ),
  );
  const [registry] = registries;
  if (!registry) throw new Error('no registry');
  const { key } = await registry.keys.create({ tenantId: null, role: 'admin' });
  const readers = await startReads(servers, registry, ids);
  const startMs = performance.now();
  let done: { readonly resealed: number; readonly remaining: number; readonly seconds: number };
  try {
    if (isShared) await killAll(async () => registry);
    done = await commandRotates(
      isShared
        ? { ...both, CONNECTORS_DATABASE_URL: place.databaseUrl, CONNECTORS_DATA_DIR: commandDir }
        : { CONNECTORS_URL: servers[0]?.url ?? '', CONNECTORS_API_KEY: key },
    );
  } finally {
    await readers.stop();
    for (const server of servers) await server.close();
    for (const one of registries) await one.close();
  }
  const lastedMs = performance.now() - startMs;
  if (done.remaining > 0) throw new Error(`${done.remaining} credentials still need the old key`);
  if (readers.reads < (lastedMs / 1_000) * READS_PER_SECOND * 0.9)
    throw new Error(`only ${readers.reads} reads in ${Math.round(lastedMs)} ms`);

  const refusedAtMs = performance.now();
  const refused = await open({ CONNECTORS_MASTER_KEY: oldKey }).then(
    () => 'nothing',
    (error: unknown) => String(error),
  );
  if (!refused.includes(newId)) throw new Error(`a start with the old key alone is refused with ${refused}`);
  const refusedMs = performance.now() - refusedAtMs;
  await using last = await open({ CONNECTORS_MASTER_KEY: newKey });
  for (const id of ids) {
    const connector = await last.get(id);
    if (!(await connector.healthCheck()).ok) throw new Error(`${id} does not open with the new key alone`);
  }
  return {
    beforeLastKill,
    sealed: done.resealed,
    seconds: done.seconds,
    reads: readers.reads,
    failedReads: readers.failed,
    slowestReadMs: readers.slowestMs,
    refusedMs,
  };
}

function specOf(connectorId: string) {
  return {
    tenantId: TENANT,
    connectorId,
    name: connectorId,
    connectorType: 'vector' as const,
    provider: 'guarded',
    vectorDimension: 3,
    config: { credentials: { api_key: secretOf(connectorId) } },
  };
}

/** The command as an operator types it. */
async function commandRotates(env: Readonly<Record<string, string>>) {
  const startMs = performance.now();
  const child = spawn(process.execPath, [MAIN, 'keyring', 'rotate', '--json'], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { PATH: process.env['PATH'], ...env },
  });
  let answer = '';
  let said = '';
  child.stdout.on('data', (chunk: Buffer) => (answer += chunk.toString()));
  child.stderr.on('data', (chunk: Buffer) => (said += chunk.toString()));
  await once(child, 'close');
  if (child.exitCode !== 0) throw new Error(`the command ended with ${child.exitCode}: ${said}`);
  const seconds = (performance.now() - startMs) / 1_000;
  // What the command prints is its own operation's answer.
  const { resealed, remaining } = JSON.parse(answer) as { resealed: number; remaining: number };
  return { resealed, remaining, seconds };
}

/** Has connectors opened with their credentials, again and again, each time anew. */
async function startReads(
  servers: readonly RunningServer[],
  registry: ConnectorRegistry,
  ids: readonly string[],
) {
  const { key } = await registry.keys.create({ tenantId: TENANT, role: 'admin' });
  const seen = { reads: 0, slowestMs: 0, failed: [] as string[] };
  const pending = new Set<Promise<void>>();
  const read = async () => {
    const id = ids[Math.floor(Math.random() * ids.length)] ?? '';
    const url = servers[seen.reads++ % servers.length]?.url ?? '';
    const startMs = performance.now();
    try {
      const response = await fetch(`${url}/api/v1/connectors/${id}/test`, {
        method: 'POST',
        headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json' },
        body: '{}',
      });
      const text = await response.text();
      const isOk = response.ok && (JSON.parse(text) as { ok?: unknown }).ok === true;
      if (!isOk) seen.failed.push(`${id}: ${response.status} ${text.slice(0, 300)}`);
    } catch (error) {
      seen.failed.push(`${id}: ${String(error)}`);
    }
    seen.slowestMs = Math.max(seen.slowestMs, performance.now() - startMs);
  };
  const begunMs = performance.now();
  const timer = setInterval(() => {
    // By the time that has gone by, since timers are late where a machine is busy.
    const due = Math.floor(((performance.now() - begunMs) / 1_000) * READS_PER_SECOND);
    while (seen.reads < due) {
      const one = read().finally(() => pending.delete(one));
      pending.add(one);
    }
  }, 5);
  return Object.assign(seen, {
    async stop() {
      clearInterval(timer);
      await Promise.all(pending);
    },
  });
}

if (import.meta.main) {
  const { values } = parseArgs({
    options: {
      cycles: { type: 'string', default: '50' },
      credentials: { type: 'string', default: '10000' },
    },
  });
  const credentials = Number(values.credentials);
  let failed = false;
  for (const engine of ['SQLite', 'PostgreSQL'] as const) {
    if (engine === 'PostgreSQL' && noPostgres !== undefined) continue;
    for (const kills of [0, Number(values.cycles)]) {
      const figures = await crashRotation({ engine, credentials, kills });
      failed ||= figures.failedReads.length > 0;
      console.log(
        `rotation on ${engine}: ${credentials.toLocaleString('en')} credentials, ${kills} kills ` +
          `(${figures.beforeLastKill.toLocaleString('en')} sealed anew by then), then ` +
          `${figures.sealed.toLocaleString('en')} in ${figures.seconds.toFixed(1)} s; ` +
          `${figures.reads.toLocaleString('en')} reads, ${figures.failedReads.length} failed, slowest ${figures.slowestReadMs.toFixed(0)} ms; ` +
          `the old key alone is refused in ${figures.refusedMs.toFixed(0)} ms`,
      );
      for (const line of figures.failedReads.slice(0, 5)) console.log(`  ${line}`);
    }
  }
  process.exit(failed ? 1 : 0);
}
