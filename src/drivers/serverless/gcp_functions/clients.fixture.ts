import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, afterEach } from 'vitest';
import type { ClientInvocation, OpenContext, ServerlessClient } from '../../../driver.ts';
import { openContext } from '../../../testing/open-context.ts';
import { GoogleDouble } from './google.fixture.ts';
import driver from './index.ts';

type Closing = { close(): Promise<unknown> };
export type Given = Readonly<Record<string, unknown>>;

/** A double of Google that the tests of one file share, and clients that are closed after each test. */
export type Clients = {
  readonly google: GoogleDouble;
  readonly folder: string;
  /** Opens a client with these options alone, as a tenant's connector. */
  readonly start: (options: Given, context?: Partial<OpenContext>) => Promise<ServerlessClient>;
  /** Closes it after the test. */
  readonly closing: <T extends Closing>(one: T) => T;
};

export async function clientsOfDouble(): Promise<Clients> {
  const folder = mkdtempSync(path.join(tmpdir(), 'gcp-functions-'));
  const google = await new GoogleDouble().listen();
  const open: Closing[] = [];
  const closing = <T extends Closing>(one: T): T => {
    open.push(one);
    return one;
  };
  afterEach(async () => {
    for (const one of open.splice(0).toReversed()) await one.close();
  });
  afterAll(async () => {
    await google.close();
    rmSync(folder, { recursive: true, force: true });
  });
  return {
    ...{ google, folder, closing },
    start: async (options, context = {}) =>
      closing(
        await driver.open(driver.options.parse(options), openContext({ folder, trusted: false, ...context })),
      ),
  };
}

/** What a promise is rejected with; undefined where it is not. */
export async function failureOf(attempt: Promise<unknown>): Promise<unknown> {
  return attempt.then(
    () => undefined,
    (error: unknown) => error,
  );
}

export const INVOCATION: ClientInvocation = {
  requestId: '5b0f7c1e-7c0a-4bd0-9d0c-0f6c7e7a1b2c',
  timeoutMs: 10_000,
};
