import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { ServerlessConnector } from '../connectors/serverless/connector.ts';
import type {
  JsonValue,
  ServerlessCapabilities,
  ServerlessClient,
  ServerlessDriver,
} from '../connectors/serverless/driver.ts';
import type { ConnectorRegistry } from '../registry/registry.ts';
import { NEVER } from '../policies/pipeline.ts';
import { watchCases } from './cases-seen.ts';
import type { SuiteEngine } from './seen.ts';
import { CONFORMANCE_FUNCTIONS, idleServerlessConnector, serverlessConnector } from './serverless-suite.ts';

/** The driver to prove, and how to open it. */
export type ServerlessDriverCase = {
  readonly driver: Pick<ServerlessDriver, 'id' | 'capabilities' | 'outcomeOf'>;
  /** A client that nobody else uses; called once. Without `deploy` it must have `CONFORMANCE_FUNCTIONS` already. */
  readonly open: () => Promise<ServerlessClient>;
  /** What answers, kept as `seen.json` beside the test: set it where the drivers' matrix shall say so. */
  readonly engine?: SuiteEngine;
};
type Parts = { readonly functions: () => ServerlessConnector; readonly client: () => ServerlessClient };

/**
 * Proves with Vitest that a serverless driver does what its capabilities declare and that what they do not is refused
 * before any I/O. Call it from the driver's own test file.
 */
export function testServerlessDriver({ driver, open, engine }: ServerlessDriverCase): void {
  const { capabilities } = driver;
  describe(`serverless/${driver.id} keeps the contract of a serverless driver`, () => {
    let client: ServerlessClient;
    let functions: ServerlessConnector;
    let registry: ConnectorRegistry;
    beforeAll(async () => {
      client = await open();
      ({ functions, registry } = await serverlessConnector(client, capabilities));
      if (!capabilities.deploy) return;
      for (const [name, code] of Object.entries(CONFORMANCE_FUNCTIONS)) {
        await functions.deployFunction(name, { code, filename: 'index.js' });
      }
    });
    afterAll(() => registry.close());
    const cases = watchCases({});
    const parts: Parts = { functions: () => functions, client: () => client };

    testCalls(parts);
    testEnds(parts, capabilities.limits.resultBytes ?? capabilities.limits.payloadBytes);
    testStored(parts);
    if (capabilities.deploy) testDeploying(parts);
    else testNoDeploying(capabilities);

    it('has the methods that its capabilities say, and no others', () => {
      const { deploy, logs, native } = capabilities;
      const declared = {
        deploy,
        remove: deploy,
        logs,
        start: native !== false,
        follow: native === 'follow',
        outcomeOf: native === 'callback',
      };
      const found = (name: Exclude<keyof typeof declared, 'outcomeOf'>) => typeof client[name] === 'function';
      expect({
        deploy: found('deploy'),
        remove: found('remove'),
        logs: found('logs'),
        start: found('start'),
        follow: found('follow'),
        outcomeOf: typeof driver.outcomeOf === 'function',
      }).toEqual(declared);
    });

    it('refuses what is over its limits before any I/O', async () => {
      const { payloadBytes, timeoutSeconds } = capabilities.limits;
      const { functions: idle, registry } = await idleServerlessConnector(capabilities);
      const large = idle.invoke('echo', 'x'.repeat(payloadBytes));
      await expect(large).rejects.toMatchObject({ code: 'payload_too_large' });
      const long = idle.invoke('echo', null, { timeoutSeconds: timeoutSeconds + 1 });
      await expect(long).rejects.toMatchObject({ code: 'invalid_argument' });
      await registry.close();
    });

    it('passes its own check', async () => {
      expect(await client.check(NEVER)).toBeInstanceOf(Array);
    });
    cases.report(engine);
  });
}

function testCalls({ functions }: Parts): void {
  const payloads: Readonly<Record<string, JsonValue>> = {
    null: null,
    'an empty text': '',
    'text beyond ASCII': 'é😀\u0000\u2028',
    'a number': -1.5e-7,
    'an object': { a: { b: [1, 'two', false, null] }, constructor: 'x', '': 0 },
    'an array of 10,000': Array.from({ length: 10_000 }, (_, i) => i),
  };
  for (const [what, payload] of Object.entries(payloads)) {
    it(`hands ${what} over and back unchanged`, async () => {
      const answer = await functions().invoke('echo', payload);
      expect(answer).toMatchObject({ function: 'echo', status: 'completed' });
      expect(answer.result).toEqual(payload);
      expect(answer.durationMs).toBeGreaterThanOrEqual(0);
    });
  }

  it('gives each of many callers its own answer', async () => {
    const numbers = Array.from({ length: 40 }, (_, i) => i);
    const answers = await Promise.all(numbers.map((n) => functions().invoke('echo', n)));
    expect(answers.map((answer) => answer.result)).toEqual(numbers);
  });

  it('lists its functions by name', async () => {
    const names = (await functions().listFunctions()).map(({ name }) => name);
    expect(names).toEqual(names.toSorted());
    expect(names).toEqual(expect.arrayContaining(Object.keys(CONFORMANCE_FUNCTIONS)));
  });
}

function testEnds({ functions }: Parts, resultBytes: number): void {
  it('answers what a function threw as data', async () => {
    expect(await functions().invoke('fails', null)).toMatchObject({
      status: 'failed',
      error: { name: 'TypeError', message: 'on purpose' },
    });
  });

  it('answers not_found for a function that is not there', async () => {
    await expect(functions().invoke('absent', null)).rejects.toMatchObject({ code: 'not_found' });
  });

  it('ends a function that runs longer than its time, and serves the next call', async () => {
    const late = functions().invoke('endless', null, { timeoutSeconds: 0.5 });
    await expect(late).rejects.toMatchObject({ code: 'timeout' });
    expect(await functions().invoke('echo', 1)).toMatchObject({ result: 1 });
  });

  it('refuses a result over the limit', async () => {
    const large = functions().invoke('large', resultBytes);
    await expect(large).rejects.toMatchObject({ code: 'payload_too_large' });
    expect((await functions().invoke('large', 1000)).result).toHaveLength(1000);
  });

  it('lets go of a caller who gives up', async () => {
    const caller = new AbortController();
    const left = functions().invoke('endless', null, { signal: caller.signal });
    caller.abort();
    await expect(left).rejects.toMatchObject({ code: 'cancelled' });
  });
}

function testStored({ functions }: Parts): void {
  it('makes one call for one idempotency key', async () => {
    const options = { idempotencyKey: 'once' };
    const [first, second] = await Promise.all([
      functions().invoke('random', null, options),
      functions().invoke('random', null, options),
    ]);
    expect(second).toEqual(first);
    expect(await functions().invoke('random', null, options)).toEqual(first);
  });

  it.each([
    ['echo', 'completed'],
    ['fails', 'failed'],
    ['endless', 'timed_out'],
  ] as const)('keeps how %s ended for whoever asks later', async (name, status) => {
    const accepted = await functions().invoke(name, 7, { async: true, timeoutSeconds: 1 });
    expect(accepted.status).toBe('queued');
    const { requestId } = accepted;
    const ended = await functions().waitForResult(requestId);
    expect(ended).toMatchObject({ function: name, requestId, status });
    expect(await functions().getResult(requestId)).toEqual(ended);
  });
}

function testDeploying({ functions }: Parts): void {
  const source = (answer: number) => ({
    code: `export const handler = () => ${answer};`,
    filename: 'index.js',
  });
  const call = async () => (await functions().invoke('changing', null)).result;

  it('runs a deployed function, then the one that replaced it', async () => {
    await functions().deployFunction('changing', source(1));
    expect(await call()).toBe(1);
    const info = await functions().deployFunction('changing', source(2));
    expect(info.name).toBe('changing');
    expect(await call()).toBe(2);
  });

  it('keeps the old function when the new one does not build', async () => {
    await functions().deployFunction('changing', source(3));
    const broken = functions().deployFunction('changing', {
      code: 'export const handler = (',
      filename: 'index.js',
    });
    await expect(broken).rejects.toMatchObject({ code: 'invalid_argument' });
    expect(await call()).toBe(3);
  });

  it('removes a function once', async () => {
    await functions().deployFunction('changing', source(4));
    expect(await functions().removeFunction('changing')).toBe(true);
    expect(await functions().removeFunction('changing')).toBe(false);
    await expect(call()).rejects.toMatchObject({ code: 'not_found' });
    expect((await functions().listFunctions()).map(({ name }) => name)).not.toContain('changing');
  });
}

function testNoDeploying(capabilities: ServerlessCapabilities): void {
  it('refuses deploying before any I/O', async () => {
    const { functions: idle, registry } = await idleServerlessConnector(capabilities);
    const refused = { code: 'unsupported', details: { capability: 'deploy' } };
    await expect(idle.deployFunction('echo', { code: '' })).rejects.toMatchObject(refused);
    await expect(idle.removeFunction('echo')).rejects.toMatchObject(refused);
    await registry.close();
  });
}
