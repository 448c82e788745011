import { randomUUID } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { testFileDriver } from '../../../testing/file.ts';
import { openContext } from '../../../testing/open-context.ts';
import driver from './index.ts';
import { rcloneVersion, startWebdav, USER } from './webdav.fixture.ts';

const { CONNECTORS_TEST_WEBDAV_URL: elsewhere, ...environment } = process.env;
const version = rcloneVersion();

if (elsewhere === undefined && version === undefined) {
  const reason = 'rclone is not installed (apt-get install rclone)';
  describe(`file/webdav keeps the contract of a file driver`, () => {
    it('answers a real server', ({ skip }) => {
      skip(reason);
      expect(version).toBeDefined();
    });
  });
  process.stderr.write(`file/webdav: the conformance suite is skipped: ${reason}\n`);
} else {
  let place: { readonly options: Readonly<Record<string, string>>; close(): Promise<void> };
  let folder: string;
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'file-webdav-'));
    place = elsewhere === undefined ? await ownServer() : await given(elsewhere);
  });
  afterAll(async () => {
    await place.close();
    await rm(folder, { recursive: true });
  });
  testFileDriver({
    driver,
    open: async () => driver.open(driver.options.parse(place.options), openContext({ folder })),
    ...(elsewhere === undefined && {
      engine: { mode: 'live', name: `rclone serve webdav ${version}, over a local folder` },
    }),
  });
}

async function ownServer() {
  const { url, close } = await startWebdav();
  return { options: { endpoint: url, ...USER }, close };
}

/** A new folder on the server that was named, which goes away afterwards. */
async function given(url: string) {
  const { CONNECTORS_TEST_WEBDAV_USERNAME: username, CONNECTORS_TEST_WEBDAV_PASSWORD: password } =
    environment;
  const endpoint = `${url.replace(/\/+$/, '')}/connectors-test-${randomUUID()}`;
  const headers =
    username === undefined
      ? {}
      : { authorization: `Basic ${Buffer.from(`${username}:${password}`).toString('base64')}` };
  await fetch(`${endpoint}/`, { method: 'MKCOL', headers });
  return {
    options: { endpoint, ...(username !== undefined && { username, password: password ?? '' }) },
    close: async () => void (await fetch(`${endpoint}/`, { method: 'DELETE', headers })),
  };
}
