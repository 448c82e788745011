import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it, onTestFinished } from 'vitest';
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

/** A client whose processes never become ready. */
async function stuckClient() {
  const runtime = {
    ...(await denoRuntime()),
    prefix: ['/bin/sh', '-c', 'exec /bin/sleep 60', 'sh'],
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
  mkdirSync(join(scratch(), 'functions'), { recursive: true });
  writeFileSync(join(scratch(), 'functions', 'f.ts'), 'export const handler = () => 1;');
  const { client, pool } = await stuckClient();
  const caller = new AbortController();
  const call = client.invoke('f', null, { requestId: 'r', timeoutMs: 20_000 }, caller.signal);
  await pool.acquired.promise;
  caller.abort();
  await expect(call).rejects.toMatchObject({ code: 'cancelled' });
});
