import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { inspect } from 'node:util';
import { afterAll, beforeAll, describe, expect, onTestFinished } from 'vitest';
import type { FileClient, OpenContext } from '../../../driver.ts';
import { NEVER } from '../../../policies/pipeline.ts';
import { openContext } from '../../../testing/open-context.ts';
import { startFront, type Front } from './front.fixture.ts';
import type { WebdavFiles } from './client.ts';
import { openWebdav } from './open.ts';
import { webdavOptions } from './options.ts';
import { rcloneVersion, startWebdav, USER, type WebdavServer } from './webdav.fixture.ts';

const isMissing = rcloneVersion() === undefined;
const reason = isMissing ? ': this machine has no rclone' : '';

/** `describe`, or one that skips and says why where rclone is not installed. */
export function describeLive(what: string, cases: () => void): void {
  describe.skipIf(isMissing)(`${what}${reason}`, () => {
    cases();
  });
}

/** A server that anybody may use, a front before it, and clients of either, for the tests of one file. */
export type Bench = {
  readonly server: () => WebdavServer;
  readonly front: () => Front;
};

/** Registers the start and the end of a {@link Bench}. */
export function liveBench(): Bench {
  let server: WebdavServer;
  let front: Front;
  beforeAll(async () => {
    if (rcloneVersion() === undefined) {
      process.stderr.write(
        'file/webdav: live cases are skipped: rclone is not installed (apt-get install rclone)\n',
      );
      return;
    }
    server = await startWebdav({ isOpen: true });
    front = await startFront(server.url);
  });
  afterAll(async () => {
    await front?.close();
    await server?.close();
  });
  return { server: () => server, front: () => front };
}

/** A client that is closed with the test; the connector's folder goes as well. */
export async function openAt(
  options: Readonly<Record<string, unknown>>,
  context: Partial<OpenContext> = {},
): Promise<WebdavFiles> {
  const folder = await mkdtemp(join(tmpdir(), 'file-webdav-'));
  onTestFinished(() => rm(folder, { recursive: true, force: true }));
  const client = await openWebdav(webdavOptions.parse(options), openContext({ folder, ...context }));
  onTestFinished(() => client.close());
  return client;
}

/** What an attempt failed with; no secret is anywhere in it. */
export async function failureOf(attempt: Promise<unknown>, ...secrets: readonly string[]): Promise<unknown> {
  const error = await attempt.then(
    () => expect.fail('it did not fail'),
    (reason: unknown) => reason,
  );
  const shown = inspect(error, { depth: 10, showHidden: true });
  for (const secret of [USER.password, ...secrets])
    for (const form of [
      secret,
      Buffer.from(`${USER.username}:${secret}`).toString('base64'),
      encodeURIComponent(secret),
    ])
      expect(shown).not.toContain(form);
  return error;
}

export function bytes(text: string): Uint8Array {
  return Buffer.from(text);
}

export async function textOf(client: FileClient, path: string): Promise<string> {
  return Buffer.from(await client.readBytes(path, undefined, NEVER)).toString();
}

/** The paths of all files below a folder of this machine, sorted. */
export async function filesOnDisk(folder: string): Promise<readonly string[]> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  return entries
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name).slice(folder.length + 1))
    .sort();
}
