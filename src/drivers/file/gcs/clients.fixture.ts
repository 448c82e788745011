import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, afterEach } from 'vitest';
import type { FileClient, OpenContext } from '../../../driver.ts';
import { openContext } from '../../../testing/open-context.ts';
import { gcsDouble, type GcsDouble } from './gcs.fixture.ts';
import driver from './index.ts';

type Closing = { close(): Promise<unknown> };
export type Given = Readonly<Record<string, unknown>>;

/** A double that the tests of one file share, and clients of it that are closed after each test. */
export type Clients = {
  readonly double: GcsDouble;
  readonly folder: string;
  /** Opens a client; the options are those of a connector that may do everything, and what is given. */
  readonly start: (options?: Given, context?: Partial<OpenContext>) => Promise<FileClient>;
  /** Closes it after the test. */
  readonly closing: <T extends Closing>(one: T) => T;
};

export async function clientsOfDouble(options: { readonly anonymous?: boolean } = {}): Promise<Clients> {
  const folder = mkdtempSync(path.join(tmpdir(), 'gcs-'));
  const double = await gcsDouble(options);
  const open: Closing[] = [];
  const closing = <T extends Closing>(one: T): T => {
    open.push(one);
    return one;
  };
  afterEach(async () => {
    for (const one of open.splice(0).toReversed()) await one.close();
  });
  afterAll(async () => {
    await double.close();
    rmSync(folder, { recursive: true, force: true });
  });
  return {
    double,
    folder,
    closing,
    start: async (given = {}, context = {}) => {
      const parsed = driver.options.parse(
        Object.fromEntries(
          Object.entries({ ...double.options, ...given }).filter(([, value]) => value !== undefined),
        ),
      );
      return closing(await driver.open(parsed, openContext({ folder, authType: 'api_key', ...context })));
    },
  };
}

/** What a promise is rejected with; undefined where it is not. */
export async function failureOf(attempt: Promise<unknown>): Promise<unknown> {
  return attempt.then(
    () => undefined,
    (error: unknown) => error,
  );
}

/** The bytes of text. */
export const bytes = (text: string): Uint8Array => new Uint8Array(Buffer.from(text));
