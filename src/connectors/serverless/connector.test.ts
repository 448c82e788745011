import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ConnectorError } from '../../errors/error.ts';
import { echo, functionsOf, gate } from './functions.fixture.ts';

describe('a synchronous call', () => {
  it('answers the result and stores nothing', async () => {
    const { functions } = await functionsOf(echo);
    const answer = await functions.invoke('echo', { a: [1, null] });
    expect(answer).toMatchObject({ function: 'echo', status: 'completed', result: { a: [1, null] } });
    expect(await functions.listInvocations()).toEqual({ invocations: [] });
    await expect(functions.getResult(answer.requestId)).rejects.toMatchObject({ code: 'not_found' });
  });

  it("gives a function's own failure as data", async () => {
    const failing = async () => ({ status: 'failed', error: { name: 'TypeError', message: 'no' } }) as const;
    const { functions } = await functionsOf(failing);
    expect(await functions.invoke('f', null)).toMatchObject({
      status: 'failed',
      error: { name: 'TypeError', message: 'no' },
    });
  });

  it('rejects with a named timeout that the policies did not see as a failure', async () => {
    const { functions, calls } = await functionsOf(
      async () => {
        throw new ConnectorError('timeout', 'too long');
      },
      { spec: { config: { maxRetries: 3 } } },
    );
    const { connectorId } = functions;
    await expect(functions.invoke('f', null)).rejects.toMatchObject({ code: 'timeout', connectorId });
    expect(calls).toHaveLength(1);
    expect(functions.errorCount).toBe(0);
  });

  it('is made once when the platform may have it, and again when it was not sent', async () => {
    let sent: boolean | undefined = undefined;
    const { functions, calls } = await functionsOf(
      async () => {
        throw new ConnectorError('unavailable', 'down', { details: sent === undefined ? {} : { sent } });
      },
      { spec: { config: { maxRetries: 2, retryDelaySeconds: 0.1 } } },
    );
    await expect(functions.invoke('f', null)).rejects.toMatchObject({ code: 'unavailable' });
    expect(calls).toHaveLength(1);
    sent = false;
    await expect(functions.invoke('f', null)).rejects.toMatchObject({ code: 'unavailable' });
    expect(calls).toHaveLength(4);
  });

  it.each([
    ['with a prototype key', '{"__proto__":{"a":1}}'],
    ['that is 100,000 deep', '['.repeat(1e5) + ']'.repeat(1e5)],
  ])('turns a result %s into a failure of the function', async (_what, json) => {
    const { functions } = await functionsOf(async () => ({ status: 'completed', result: JSON.parse(json) }));
    expect(await functions.invoke('f', null)).toMatchObject({
      status: 'failed',
      error: { name: 'ResultError' },
    });
  });

  it('lets go of a caller who gives up', async () => {
    const { functions } = await functionsOf(gate().body);
    const caller = new AbortController();
    const left = functions.invoke('f', 1, { signal: caller.signal });
    caller.abort();
    await expect(left).rejects.toMatchObject({ code: 'cancelled' });
  });
});

describe('arguments', () => {
  const cyclic: unknown[] = [];
  cyclic.push(cyclic);
  const bomb = Array.from({ length: 40 }).reduce<unknown>((inner) => [inner, inner], 1);
  it.each([
    ['undefined', undefined],
    ['a function', () => 1],
    ['NaN', { a: [Number.NaN] }],
    ['a BigInt', 1n],
    ['a cycle', cyclic],
    ['a Date', new Date(0)],
    ['a hole in an array', Array.from({ length: 1 })],
    ['a prototype key', JSON.parse('{"a":{"__proto__":1}}')],
  ])('refuses %s as a payload', async (_what, payload) => {
    const { functions, calls } = await functionsOf(echo);
    await expect(functions.invoke('f', payload)).rejects.toMatchObject({ code: 'invalid_argument' });
    expect(calls).toEqual([]);
  });

  it.each([
    ['text over the limit', 'x'.repeat(1_000)],
    ['a small graph that is endless as text', bomb],
  ])('refuses %s as too large', async (_what, payload) => {
    const { functions } = await functionsOf(echo);
    await expect(functions.invoke('f', payload)).rejects.toMatchObject({ code: 'payload_too_large' });
  });

  it.each(['', 'a'.repeat(141), '../x', 'a/b', 'a?b', '..', '.hidden', 'é'])(
    'refuses the name %j',
    async (name) => {
      const { functions } = await functionsOf(echo);
      await expect(functions.invoke(name, null)).rejects.toMatchObject({ code: 'invalid_argument' });
    },
  );

  it.each([0, -1, 901, Number.NaN, Infinity])('refuses the time limit %d', async (timeoutSeconds) => {
    const { functions } = await functionsOf(echo);
    await expect(functions.invoke('f', null, { timeoutSeconds })).rejects.toMatchObject({
      code: 'invalid_argument',
    });
  });

  it('hands every JSON value over unchanged', async () => {
    const { functions } = await functionsOf(echo);
    const plain = fc.jsonValue({ maxDepth: 4, stringUnit: 'grapheme' }).filter((value) => {
      const text = JSON.stringify(value);
      return Buffer.byteLength(text) <= 1000 && !text.includes('__proto__');
    });
    await fc.assert(
      fc.asyncProperty(plain, async (value) => {
        expect((await functions.invoke('f', value)).result).toEqual(value);
      }),
    );
  });
});

describe('functions', () => {
  it('are listed by name', async () => {
    const { functions } = await functionsOf(echo);
    expect((await functions.listFunctions()).map((f) => f.name)).toEqual(['a', 'b']);
  });

  it('are refused before any call where the platform takes none', async () => {
    const { functions, calls } = await functionsOf(echo);
    await expect(functions.deployFunction('f', { code: '' })).rejects.toMatchObject({ code: 'unsupported' });
    await expect(functions.removeFunction('f')).rejects.toMatchObject({ code: 'unsupported' });
    expect(calls).toEqual([]);
  });
});
