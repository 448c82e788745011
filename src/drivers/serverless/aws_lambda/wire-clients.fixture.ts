import { inspect } from 'node:util';
import { afterEach, beforeEach, expect, vi } from 'vitest';
import type { ServerlessClient } from '../../../driver.ts';
import {
  clientTo,
  SECRET,
  wireLambda,
  type Answering,
  type WireLambda,
  type WireOptions,
} from './wire.fixture.ts';

export const NEVER = new AbortController().signal;
export const CALL = { requestId: '2f1c6c3e-9d1b-4a55-8a0e-5c3f0a6f7d11', timeoutMs: 20_000 };

/** What is closed after each test, and a failure of the test where anybody was warned in its course. */
export type Closing = {
  readonly later: (close: () => Promise<unknown>) => void;
  readonly lambda: (answering: Answering, options?: WireOptions) => Promise<WireLambda>;
  readonly opened: (
    answering: Answering,
    options?: Readonly<Record<string, unknown>>,
    context?: Parameters<typeof clientTo>[2],
  ) => Promise<{ readonly server: WireLambda; readonly client: ServerlessClient }>;
};

export function closing(): Closing {
  let toClose: (() => Promise<unknown>)[] = [];
  const warnings: unknown[][] = [];
  beforeEach(() => {
    for (const level of ['warn', 'error', 'log', 'info', 'debug'] as const)
      vi.spyOn(console, level).mockImplementation((...said) => void warnings.push(said));
    vi.spyOn(process, 'emitWarning').mockImplementation((said) => void warnings.push([said]));
  });
  afterEach(async () => {
    const all = toClose.toReversed();
    toClose = [];
    for (const close of all) await close();
    vi.restoreAllMocks();
    if (warnings.length > 0) throw new Error(`somebody was warned: ${inspect(warnings.splice(0))}`);
  });
  const lambda: Closing['lambda'] = async (answering, options) => {
    const server = await wireLambda(answering, options);
    toClose.push(server.close);
    return server;
  };
  return {
    later: (close) => void toClose.push(close),
    lambda,
    async opened(answering, options, context) {
      const server = await lambda(answering);
      const client = await clientTo(server.url, options, context);
      toClose.push(() => client.close());
      return { server, client };
    },
  };
}

/** The error of a failure, in which nothing of the secret is to be found. */
export async function failure(task: Promise<unknown> | undefined): Promise<unknown> {
  const error = await (task ?? Promise.resolve()).then(
    (value) => expect.fail(`no failure but ${inspect(value)}`),
    (error: unknown) => error,
  );
  expect(inspect(error, { depth: 10, showHidden: true })).not.toMatch(
    new RegExp(`${SECRET}|Signature=|AWS4-HMAC`),
  );
  return error;
}
