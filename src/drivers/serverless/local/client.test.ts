import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, expect, it, onTestFinished } from 'vitest';
import { systemClock } from '../../../driver.ts';
import { openContext } from '../../../testing/open-context.ts';
import { Bundles } from './bundles.ts';
import { LocalFunctions } from './client.ts';
import { denoRuntime } from './deno.ts';
import { FunctionFolder } from './folder.ts';
import { scratchFolder } from './local.fixture.ts';
import { FunctionLogs } from './logs.ts';
import { SandboxPool } from './pool.ts';

const scratch = scratchFolder();
const limits = { processes: 1, processesOfTenant: 1, idleMs: 60_000, startMs: 20_000 };

/** A pool that tells when a call has its process. */
class ToldPool extends SandboxPool {
  readonly acquired = Promise.withResolvers<void>();
  override async acquire(...wanted: Parameters<SandboxPool['acquire']>) {
    const member = await super.acquire(...wanted);
    this.acquired.resolve();
    return member;
  }
}

beforeAll(() => {
  mkdirSync(join(scratch(), 'functions'), { recursive: true });
  writeFileSync(join(scratch(), 'functions', 'f.ts'), 'export const handler = () => 1;');
});

/** A client whose processes run this command instead of Deno. */
async function clientOf(command: string) {
  const runtime = {
    ...(await denoRuntime()),
    prefix: ['/bin/sh', '-c', command, 'sh'],
  };
  const context = openContext({ folder: scratch() });
  const folder = await FunctionFolder.open(join(scratch(), 'functions'));
  const pool = new ToldPool(runtime, 1000, limits, systemClock);
  const client = new LocalFunctions({
    folder,
    bundles: new Bundles(folder, join(scratch(), 'bundles'), context.log),
    logs: new FunctionLogs({ ...context, folder: join(scratch(), 'logs') }),
    pool,
    runtime,
    launch: { memoryMb: 64, allowNet: false, envNames: [] },
    env: {},
    maxResultBytes: 1000,
    context,
    closed: () => pool.retire(() => true),
  });
  onTestFinished(() => client.close());
  return { client, pool };
}

it('answers a caller who gives up while the process starts that he did, which says nothing about the platform', async () => {
  const { client, pool } = await clientOf('exec /bin/sleep 60');
  const caller = new AbortController();
  const call = client.invoke('f', null, { requestId: 'r', timeoutMs: 20_000 }, caller.signal);
  await pool.acquired.promise;
  caller.abort();
  await expect(call).rejects.toMatchObject({ code: 'cancelled' });
});

it('says of a process that does not start that nothing has run, so that a call under a key may be made again', async () => {
  const { client } = await clientOf('exit 1');
  const call = client.invoke('f', null, { requestId: 'r', timeoutMs: 20_000 }, new AbortController().signal);
  await expect(call).rejects.toMatchObject({ code: 'unavailable', details: { sent: false } });
});
