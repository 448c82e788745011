import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll } from 'vitest';
import {
  systemClock,
  type Clock,
  type InvocationOutcome,
  type JsonValue,
  type ServerlessClient,
} from '../../../driver.ts';
import { openContext } from '../../../testing/open-context.ts';
import driver from './index.ts';

const silent = (): void => {};
export const NEVER = new AbortController().signal;

/** A way to the folder for the tests of one file, which is removed after them. */
export function scratchFolder(): () => string {
  const folder = mkdtempSync(join(tmpdir(), 'functions-'));
  afterAll(() => rmSync(folder, { recursive: true, force: true }));
  return () => folder;
}

/** A client of its own for a tenant and a connector below `scratch`. */
export async function openLocal(
  scratch: string,
  {
    tenantId = 'acme',
    connectorId = 'c1',
    options = {},
    warned = silent,
    clock = systemClock,
  }: {
    readonly tenantId?: string;
    readonly connectorId?: string;
    readonly options?: Readonly<Record<string, unknown>>;
    readonly warned?: (message: string) => void;
    readonly clock?: Clock;
  } = {},
): Promise<ServerlessClient> {
  return driver.open(
    driver.options.parse(options),
    openContext({
      tenantId,
      connectorId,
      clock,
      folder: join(scratch, tenantId, connectorId),
      tenantFolder: join(scratch, tenantId),
      log: { debug: silent, info: silent, warn: warned, error: warned },
    }),
  );
}

/** Deploys `code` as a function and calls it once. */
export async function runOnce(
  client: ServerlessClient,
  code: string,
  { event = null, timeoutMs = 20_000 }: { readonly event?: JsonValue; readonly timeoutMs?: number } = {},
): Promise<InvocationOutcome> {
  await client.deploy?.('program', { code }, NEVER);
  return client.invoke('program', event, { requestId: 'request-1', timeoutMs }, NEVER);
}
