import { describe, expect, it } from 'vitest';
import { ConnectorError } from '../../driver.ts';
import { NEVER } from '../../policies/pipeline.ts';
import { testClock } from '../../testing/clock.ts';
import { type FetchedToken, sharedTokens } from './tokens.ts';

const HOUR_MS = 3_600_000;
const silent = (): void => {};
const log = { debug: silent, info: silent, warn: silent, error: silent };

/** Tokens whose fetching the test answers itself. */
function tokensUnderTest() {
  const clock = testClock();
  const asked: (PromiseWithResolvers<FetchedToken> & { readonly signal: AbortSignal })[] = [];
  const tokens = sharedTokens(
    (signal) => {
      const one = { ...Promise.withResolvers<FetchedToken>(), signal };
      signal.addEventListener('abort', () => one.reject(signal.reason));
      asked.push(one);
      return one.promise;
    },
    clock,
    log,
  );
  return { clock, asked, tokens };
}
const token = (name: string, lifeMs = HOUR_MS): FetchedToken => ({ token: name, lifeMs });
const settled = async () => new Promise((resolve) => setImmediate(resolve));

describe('shared tokens', () => {
  it('are fetched anew before they expire, once, while calls go on with the old one', async () => {
    const { clock, asked, tokens } = tokensUnderTest();
    const first = [tokens.current(NEVER), tokens.current(NEVER)];
    asked[0]?.resolve(token('one'));
    expect(await Promise.all(first)).toEqual(['one', 'one']);
    await clock.advance(HOUR_MS - 300_001);
    expect(await tokens.current(NEVER)).toBe('one');
    expect(asked).toHaveLength(1);
    await clock.advance(1);
    expect(await Promise.all([tokens.current(NEVER), tokens.current(NEVER)])).toEqual(['one', 'one']);
    expect(asked).toHaveLength(2);
    asked[1]?.resolve(token('two'));
    await settled();
    expect(await tokens.current(NEVER)).toBe('two');
  });

  it('that are about to end are waited for', async () => {
    const { clock, asked, tokens } = tokensUnderTest();
    const first = tokens.current(NEVER);
    asked[0]?.resolve(token('one'));
    await first;
    await clock.advance(HOUR_MS - 30_000);
    const waiting = tokens.current(NEVER);
    asked[1]?.resolve(token('two'));
    expect(await waiting).toBe('two');
  });

  it('outlive a fetch that fails while they are good, which is tried again later', async () => {
    const { clock, asked, tokens } = tokensUnderTest();
    const first = tokens.current(NEVER);
    asked[0]?.resolve(token('one'));
    await first;
    await clock.advance(HOUR_MS - 200_000);
    await tokens.current(NEVER);
    asked[1]?.reject(new ConnectorError('unavailable', 'down'));
    await settled();
    expect(await tokens.current(NEVER)).toBe('one');
    expect(asked).toHaveLength(2);
    await clock.advance(10_000);
    expect(await tokens.current(NEVER)).toBe('one');
    expect(asked).toHaveLength(3);
  });

  it('are left to the others by a caller that gives up', async () => {
    const { asked, tokens } = tokensUnderTest();
    const giving = new AbortController();
    const reason = new ConnectorError('timeout', 'took too long');
    const [given, kept] = [tokens.current(giving.signal), tokens.current(NEVER)];
    giving.abort(reason);
    await expect(given).rejects.toBe(reason);
    await expect(tokens.current(giving.signal)).rejects.toBe(reason);
    asked[0]?.resolve(token('one'));
    expect(await kept).toBe('one');
  });

  it('are not waited for longer than a minute, nor after the client is closed', async () => {
    const { clock, asked, tokens } = tokensUnderTest();
    const late = tokens.current(NEVER).catch((error: unknown) => error);
    await clock.advance(60_000);
    expect(await late).toMatchObject({ code: 'timeout' });
    const closed = tokens.current(NEVER).catch((error: unknown) => error);
    tokens.close();
    expect(await closed).toMatchObject({ code: 'cancelled' });
    expect(asked).toHaveLength(2);
  });
});
