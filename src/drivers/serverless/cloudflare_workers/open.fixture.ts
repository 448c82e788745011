import { tmpdir } from 'node:os';
import { afterAll, onTestFinished } from 'vitest';
import type { ClientInvocation, OpenContext, ServerlessClient } from '../../../driver.ts';
import { isConnectorError, type ConnectorError } from '../../../errors/error.ts';
import { openContext } from '../../../testing/open-context.ts';
import { ACCOUNT, apiDouble, TOKEN, type ApiDouble } from './cloudflare-api.fixture.ts';
import driver from './index.ts';
import { realWorkers, type RealWorkers } from './workers.fixture.ts';

/** One workerd and one double of the API for the tests of a file, and clients that are closed after each test. */
export async function platform(): Promise<{
  readonly real: RealWorkers;
  readonly api: ApiDouble;
  /** Options of a connector that has both. */
  readonly whole: Readonly<Record<string, unknown>>;
  open(options?: object, context?: Partial<OpenContext>): Promise<ServerlessClient>;
}> {
  const real = await realWorkers();
  const api = await apiDouble(real);
  afterAll(async () => {
    await api.close();
    await real.close();
    if (api.wrong.length > 0) throw new Error(`not as published: ${api.wrong.join('; ')}`);
  });
  const whole = {
    endpoint: `${real.url}/functions/{name}`,
    ...{ account_id: ACCOUNT, api_token: TOKEN, api_endpoint: api.url },
  };
  return { real, api, whole, open: (options = whole, context = {}) => opened(options, context) };
}

/** A client that is closed after the test. */
export async function opened(options: object, context: Partial<OpenContext> = {}): Promise<ServerlessClient> {
  const parsed = driver.options.parse(options);
  const client = await driver.open(parsed, openContext({ folder: tmpdir(), ...context }));
  onTestFinished(() => client.close());
  return client;
}

let calls = 0;
/** One invocation, of an id of its own. */
export function invocation(timeoutMs = 30_000): ClientInvocation {
  calls += 1;
  return { requestId: `7b0e1c1a-5c39-4d0e-9a51-${String(calls).padStart(12, '0')}`, timeoutMs };
}

/** What a promise is rejected with, which must be one of ours. */
export async function failureOf(promise: Promise<unknown>): Promise<ConnectorError> {
  const error = await promise.then(
    (value) => new Error(`it succeeded with ${JSON.stringify(value)}`),
    (reason: unknown) => reason,
  );
  if (isConnectorError(error)) return error;
  throw error;
}
