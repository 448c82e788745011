import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, it, onTestFinished } from 'vitest';
import driver from '../../src/drivers/serverless/local/index.ts';
import { openContext } from '../../src/testing/index.ts';

it('summarizes a passage in the sandbox', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'summarize-'));
  const context = openContext({ folder: join(folder, 'c1'), tenantFolder: folder });
  const { signal } = context;
  const client = await driver.open(driver.options.parse({}), context);
  onTestFinished(async () => {
    await client.close();
    rmSync(folder, { recursive: true });
  });
  await client.deploy?.(
    'summarize',
    { path: fileURLToPath(new URL('./summarize.ts', import.meta.url)) },
    signal,
  );
  const text =
    '# Connectors\n\nA connector reaches one backend. The backend may be a bucket. Connectors are named; a connector is of a tenant.';
  const outcome = await client.invoke('summarize', { text }, { requestId: 'r', timeoutMs: 20_000 }, signal);
  expect(outcome).toMatchObject({
    status: 'completed',
    result: {
      firstSentence: 'A connector reaches one backend.',
      words: 20,
      topWords: [
        { word: 'backend', count: 2 },
        { word: 'connector', count: 2 },
        { word: 'bucket', count: 1 },
        { word: 'connectors', count: 1 },
        { word: 'named', count: 1 },
      ],
    },
  });
});
