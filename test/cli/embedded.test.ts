import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it, onTestFinished } from 'vitest';
import { typing } from './terminal.fixture.ts';

it('`start` shows a first-time user nothing that is not offered', async () => {
  const dataDir = await mkdtemp(join(tmpdir(), 'embedded-'));
  onTestFinished(() => rm(dataDir, { recursive: true }));
  const env = { CONNECTORS_DATA_DIR: dataDir, CONNECTORS_EMBEDDED: 'false', CONNECTORS_PORT: '0' };
  const { code, stdout } = await typing({ env })('start', { signal: AbortSignal.abort() });
  expect(code).toBe(0);
  expect(stdout).toMatch(/is running at[^]*connectors create --help[^]*Ctrl-C stops\.\n$/);
  expect(stdout).not.toContain('demo');
});

it('CONNECTORS_EMBEDDED=false refuses connectors whose data would be here, and says what to use', async () => {
  const dataDir = await mkdtemp(join(tmpdir(), 'embedded-'));
  onTestFinished(() => rm(dataDir, { recursive: true }));
  const env = { CONNECTORS_DATA_DIR: dataDir, CONNECTORS_TENANT: 'acme' };
  expect(await typing({ env })('create jobs --type serverless')).toMatchObject({ code: 0 });
  const run = typing({ env: { ...env, CONNECTORS_EMBEDDED: 'false' } });
  for (const command of ['create more --type serverless', 'functions ls jobs'])
    expect(await run(command)).toMatchObject({
      code: 1,
      stderr: expect.stringMatching(
        /CONNECTORS_EMBEDDED=false.*; use .*aws_lambda.* instead \(invalid_state\)/,
      ),
    });
  expect(await run('delete jobs')).toMatchObject({ code: 0 });
});
