import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, expect, it } from 'vitest';
import { testFileDriver } from '../../../testing/file.ts';
import { openContext } from '../../../testing/open-context.ts';
import { gcsDouble } from './gcs.fixture.ts';
import driver from './index.ts';

// Live: an endpoint that wants no credentials, with the bucket as its path, for example http://127.0.0.1:9199/suite.
// What the suite writes stays there, below case-1, case-2 and so on.
const { CONNECTORS_TEST_GCS_URL: live, CONNECTORS_TEST_GCS_WAIVERS: waived } = process.env;
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
  open: () =>
    driver.open(
      driver.options.parse(double?.options ?? { endpoint: url?.origin, bucket: url?.pathname.slice(1) }),
      openContext({ folder: scratch, authType: double ? 'api_key' : 'none' }),
    ),
  ...(waived !== undefined && { waivers: JSON.parse(waived) as Record<string, string> }),
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
