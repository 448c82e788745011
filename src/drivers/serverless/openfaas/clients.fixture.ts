import { inspect } from 'node:util';
import { expect } from 'vitest';
import type { OpenContext, ServerlessClient } from '../../../driver.ts';
import { openContext } from '../../../testing/open-context.ts';
import { GatewayDouble, type GatewayDoubleOptions } from './gateway-double.fixture.ts';
import { conformanceFunctions } from './functions-double.fixture.ts';
import driver from './index.ts';

export const REQUEST_ID = '0b6d2a64-7a0c-4b0e-9d0f-3a6f7f9c1e55';
export const INVOCATION = { requestId: REQUEST_ID, timeoutMs: 60_000 };
/** A credential that must be seen nowhere. */
export const SECRET = 'worthless-4f1c';

/** A client of the driver; the folder is nothing that it touches. */
export async function clientTo(
  endpoint: string,
  options: Readonly<Record<string, unknown>> = {},
  context: Partial<OpenContext> = {},
): Promise<ServerlessClient> {
  const parsed = driver.options.parse({ endpoint, ...options });
  return driver.open(parsed, openContext({ folder: '/nonexistent', trusted: false, ...context }));
}

/** What a test opens, to be closed together. */
export class Opened {
  readonly #closing: (() => Promise<unknown>)[] = [];
  readonly #doubles: GatewayDouble[] = [];

  async gateway(options: Partial<GatewayDoubleOptions> = {}): Promise<GatewayDouble> {
    const double = await GatewayDouble.start({ functions: conformanceFunctions(), ...options });
    this.#doubles.push(double);
    this.closeLater(() => double.close());
    return double;
  }

  async client(...args: Parameters<typeof clientTo>): Promise<ServerlessClient> {
    const client = await clientTo(...args);
    this.closeLater(() => client.close());
    return client;
  }

  /** A client of a gateway of its own. */
  async both(
    gatewayOptions: Partial<GatewayDoubleOptions> = {},
    ...[options, context]: [Readonly<Record<string, unknown>>?, Partial<OpenContext>?]
  ) {
    const gateway = await this.gateway(gatewayOptions);
    return { gateway, client: await this.client(gateway.url, options, context) };
  }

  closeLater(close: () => Promise<unknown>): void {
    this.#closing.push(close);
  }

  /** Closes all; requests that no gateway knows fail the test. */
  async close(): Promise<void> {
    for (const close of this.#closing.splice(0).toReversed()) await close();
    for (const double of this.#doubles.splice(0)) double.assertNoProblems();
  }
}

/** What an attempt fails with, which tells no secret however it is looked at. */
export async function failureOf(attempt: Promise<unknown>): Promise<unknown> {
  const failure: unknown = await attempt.then(
    (value) => expect.fail(`it succeeded with ${inspect(value)}`),
    (error: unknown) => error,
  );
  const shown = inspect(failure, { depth: 12, showHidden: true });
  expect(shown).not.toContain(SECRET);
  expect(shown).not.toContain(Buffer.from(`admin:${SECRET}`).toString('base64'));
  expect(shown).not.toMatch(/signature=|Bearer /);
  return failure;
}
