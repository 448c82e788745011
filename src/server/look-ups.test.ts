import { expect, it, vi } from 'vitest';
import { ConnectorError } from '../errors/error.ts';
import { LookUps } from './look-ups.ts';

const invalid = new ConnectorError('unauthenticated', 'not valid');

/** Look-ups that end when they are told to. */
function pending(lookUps: LookUps) {
  const begun: ((error?: Error) => void)[] = [];
  const run = (address: string) =>
    lookUps.run(
      address,
      () =>
        new Promise<string>((resolve, reject) =>
          begun.push((error) => (error === undefined ? resolve('found') : reject(error))),
        ),
    );
  return { begun, run };
}

async function failing(address: string): Promise<LookUps> {
  const lookUps = new LookUps();
  for (let n = 0; n < 20; n++) await lookUps.failed(address);
  return lookUps;
}

it('answers what is found, and throws what is thrown', async () => {
  const lookUps = new LookUps();
  await expect(lookUps.run('a', async () => 'found')).resolves.toBe('found');
  await expect(lookUps.run('a', () => Promise.reject(invalid))).rejects.toBe(invalid);
});

it('looks up four at once, and the next when one of them is answered', async () => {
  const { begun, run } = pending(new LookUps());
  const all = Array.from({ length: 6 }, (_, n) => run(`address ${n}`));
  await expect.poll(() => begun.length).toBe(4);
  begun[2]?.(invalid);
  await expect(all[2]).rejects.toBe(invalid);
  await expect.poll(() => begun.length).toBe(5);
  for (const end of begun) end();
  await expect.poll(() => begun.length).toBe(6);
  begun[5]?.();
  await expect(all[5]).resolves.toBe('found');
});

it('looks up one at a time for addresses that keep failing, beside those of others', async () => {
  const { begun, run } = pending(await failing('bad'));
  const first = run('bad');
  const second = run('bad');
  const other = run('good');
  await expect.poll(() => begun.length).toBe(2);
  begun[1]?.();
  await expect(other).resolves.toBe('found');
  begun[0]?.(invalid);
  await expect(first).rejects.toMatchObject({ code: 'rate_limited' });
  await expect.poll(() => begun.length).toBe(3);
  begun[2]?.();
  // What is valid passes even then.
  await expect(second).resolves.toBe('found');
});

it('refuses at once where too many wait, and in the end where nothing is answered', async () => {
  const { begun, run } = pending(await failing('bad'));
  vi.useFakeTimers();
  try {
    const waiting = Array.from({ length: 101 }, () => run('bad').catch((error: unknown) => error));
    await vi.advanceTimersByTimeAsync(0);
    await expect(run('bad')).rejects.toMatchObject({ code: 'unavailable', retryAfterMs: 1_000 });
    await vi.advanceTimersByTimeAsync(5_000);
    begun[0]?.();
    const answers = await Promise.all(waiting);
    expect(answers[0]).toBe('found');
    expect(answers.slice(1)).toEqual(
      Array.from({ length: 100 }, () => expect.objectContaining({ code: 'unavailable' })),
    );
    expect(begun).toHaveLength(1);
    await expect(new LookUps().run('bad', async () => 'found')).resolves.toBe('found');
  } finally {
    vi.useRealTimers();
  }
});
