import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, expect, it } from 'vitest';
import { NEVER } from '../../../policies/pipeline.ts';
import { testFileDriver } from '../../../testing/file.ts';
import { openContext } from '../../../testing/open-context.ts';
import { gcsDouble } from './gcs.fixture.ts';
import driver from './index.ts';

// Live: an endpoint that wants no credentials, with a bucket of the suite's own as its path, for example
// http://127.0.0.1:9199/suite; it is emptied. The other variable is JSON: what an emulator cannot do, by the beginnings
// of the cases' names, and why.
const { CONNECTORS_TEST_GCS_URL: live, CONNECTORS_TEST_GCS_WAIVERS: waived = '{}' } = process.env;
const UNSIGNED = 'nothing can be signed without the key of a service account';
const double = live === undefined ? await gcsDouble() : undefined;
if (double) process.stdout.write('gcs: by wire alone, because CONNECTORS_TEST_GCS_URL names no bucket\n');
const url = live === undefined ? undefined : new URL(live);

const scratch = mkdtempSync(path.join(tmpdir(), 'gcs-'));
afterAll(async () => {
  await double?.close();
  rmSync(scratch, { recursive: true, force: true });
});

testFileDriver({
  driver,
  async open() {
    const client = await driver.open(
      driver.options.parse(double?.options ?? { endpoint: url?.origin, bucket: url?.pathname.slice(1) }),
      openContext({ folder: scratch, authType: double ? 'api_key' : 'none' }),
    );
    for (;;) {
      const { files } = await client.list('', { recursive: true, limit: 1000 }, NEVER);
      if (files.length === 0) return client;
      for (const { path } of files) await client.delete(path, NEVER);
    }
  },
  ...(!double && {
    waivers: {
      'signs an address': UNSIGNED,
      'ties what is put': UNSIGNED,
      ...(JSON.parse(waived) as Record<string, string>), // whoever runs it has written it
    },
  }),
  ...(double && {
    engine: {
      mode: 'wire',
      name: "Google's discovery document of storage v1, as @googleapis/storage 21.2 carries it",
    },
  }),
});

if (double) {
  it('says and is told nothing that the published contract does not have', () => {
    expect(double.requests.length).toBeGreaterThan(500);
    expect(double.violations).toEqual([]);
    expect(double.uploads.open).toBe(0);
  });
}
