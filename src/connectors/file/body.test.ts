import { describe, expect, it } from 'vitest';
import { ConnectorError } from '../../errors/error.ts';
import { testClock } from '../../testing/clock.ts';
import { watchedBody } from './body.ts';

/** A source that gives one chunk and then nothing, and says when it was told to stop. */
function stalledSource() {
  let returned = 0;
  let given = 0;
  const source: AsyncIterable<Uint8Array> = {
    [Symbol.asyncIterator]: () => ({
      next: () => (given++ === 0 ? Promise.resolve({ value: new Uint8Array(1) }) : new Promise(() => {})),
      return: async () => {
        returned++;
        return { done: true, value: undefined };
      },
    }),
  };
  return { source, returned: () => returned };
}

function bodyOver(source: AsyncIterable<Uint8Array>, signal = new AbortController().signal) {
  const clock = testClock();
  let ends = 0;
  const body = watchedBody({
    source,
    clock,
    waitMs: 100,
    idleMs: 1000,
    signal,
    named: (error) =>
      new ConnectorError(error instanceof ConnectorError ? error.code : 'backend_error', 'named'),
    onEnd: () => ends++,
  });
  return { body, clock, ends: () => ends };
}

describe('a watched body', () => {
  it('fails with timeout when the backend sends nothing, and stops the source at that moment', async () => {
    const { source, returned } = stalledSource();
    const { body, clock, ends } = bodyOver(source);
    await body.next();
    await clock.advance(999);
    const outcome = expect(body.next()).rejects.toMatchObject({ code: 'timeout' });
    await clock.advance(99);
    expect(ends()).toBe(0);
    await clock.advance(1);
    await outcome;
    expect([ends(), returned(), clock.pendingTimers]).toEqual([1, 1, 0]);
    await expect(body.next()).rejects.toMatchObject({ code: 'timeout' });
  });

  it('fails with timeout when it lies unread, also before its first chunk', async () => {
    const { source, returned } = stalledSource();
    const { body, clock, ends } = bodyOver(source);
    await clock.advance(1000);
    expect([ends(), returned(), clock.pendingTimers]).toEqual([1, 1, 0]);
    await expect(body.next()).rejects.toMatchObject({ code: 'timeout' });
  });

  it('releases its reader and stops the source when the signal is aborted during a wait', async () => {
    const { source, returned } = stalledSource();
    const ending = new AbortController();
    const { body, clock, ends } = bodyOver(source, ending.signal);
    await body.next();
    const outcome = expect(body.next()).rejects.toMatchObject({ code: 'cancelled' });
    ending.abort();
    await outcome;
    expect([ends(), returned(), clock.pendingTimers]).toEqual([1, 1, 0]);
  });

  it('never starts for a caller that was gone before it was opened', async () => {
    const { source, returned } = stalledSource();
    const { body, ends } = bodyOver(source, AbortSignal.abort());
    expect([ends(), returned()]).toEqual([1, 1]);
    await expect(body.next()).rejects.toMatchObject({ code: 'cancelled' });
  });

  it('ends once, whether it is consumed or its reader leaves, and leaves no timer', async () => {
    const two = async function* () {
      yield new Uint8Array(1);
      yield new Uint8Array(2);
    };
    const consumed = bodyOver(two());
    const sizes: number[] = [];
    for await (const chunk of consumed.body) sizes.push(chunk.length);
    expect([sizes, consumed.ends(), consumed.clock.pendingTimers]).toEqual([[1, 2], 1, 0]);

    const left = bodyOver(two());
    for await (const chunk of left.body) {
      expect(chunk).toHaveLength(1);
      break;
    }
    expect([left.ends(), left.clock.pendingTimers]).toEqual([1, 0]);
    expect(await left.body.next()).toEqual({ done: true, value: undefined });
  });

  it('names what the source threw', async () => {
    const broken = async function* () {
      yield new Uint8Array(1);
      throw new Error('the disk went away');
    };
    const { body, ends, clock } = bodyOver(broken());
    await body.next();
    await expect(body.next()).rejects.toMatchObject({ code: 'backend_error', message: 'named' });
    expect([ends(), clock.pendingTimers]).toEqual([1, 0]);
  });
});
