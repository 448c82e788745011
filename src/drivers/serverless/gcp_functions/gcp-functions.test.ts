import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { openContext } from '../../../testing/open-context.ts';
import { CONFORMANCE_FUNCTIONS } from '../../../testing/serverless-suite.ts';
import { testServerlessDriver } from '../../../testing/serverless.ts';
import { functionsFront } from './front.fixture.ts';
import { startFunctions } from './functions.fixture.ts';
import { GoogleDouble } from './google.fixture.ts';
import driver from './index.ts';

// The functions are real: a process of @google-cloud/functions-framework each. What stands before them at Google (TLS and
// the check of ID tokens), the token endpoints and the Cloud Run Admin API are doubles of ours.
const NAMES = Object.keys(CONFORMANCE_FUNCTIONS);
const functions = await startFunctions(NAMES);
const google = await new GoogleDouble().listen();
const front = await functionsFront(functions.ports, {
  audienceOf: (given) => google.tokens.audienceOf(given),
});
const open = await functionsFront(functions.ports, { tls: false });
for (const name of NAMES) google.services.set(name, { uri: `${front.url}/${name}` });
const scratch = mkdtempSync(path.join(tmpdir(), 'gcp-functions-'));
afterAll(async () => {
  await Promise.all([functions.close(), google.close(), front.close(), open.close()]);
  rmSync(scratch, { recursive: true, force: true });
});

describe('found by the Cloud Run Admin API and called with ID tokens', () => {
  testServerlessDriver({
    driver,
    engine: { mode: 'live', name: '@google-cloud/functions-framework 5' },
    open: () =>
      driver.open(
        driver.options.parse({ ...google.options, ca: front.ca }),
        openContext({ folder: scratch, authType: 'iam', trusted: false }),
      ),
  });

  it('asks what the protos describe, once for each function, and never without a token', () => {
    expect(google.violations).toEqual([]);
    const asked = google.requests.flatMap((line) => /services\/([a-z]+)/.exec(line)?.[1] ?? []);
    expect(asked).toHaveLength(NAMES.length + 1);
    expect(new Set(asked)).toEqual(new Set([...NAMES, 'absent']));
    expect(front.refused).toEqual([]);
    expect(front.passed.length).toBeGreaterThan(50);
    expect(google.tokens.issued.filter((how) => how === 'key id')).toHaveLength(NAMES.length);
    expect(google.tokens.issued.filter((how) => how === 'key')).toHaveLength(1);
  });
});

describe('below one endpoint, without credentials', () => {
  testServerlessDriver({
    driver,
    open: () =>
      driver.open(
        driver.options.parse({
          endpoint: `${open.url}/`,
          functions: Object.fromEntries(NAMES.map((name) => [name, {}])),
        }),
        openContext({ folder: scratch, authType: 'none', trusted: false }),
      ),
  });

  it('sends no credentials', () => {
    expect(open.passed.length).toBeGreaterThan(50);
    expect(open.passed.filter(({ headers }) => headers.authorization !== undefined)).toEqual([]);
  });
});
