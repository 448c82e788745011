import { setImmediate as turn } from 'node:timers/promises';
import { expect, it } from 'vitest';
import { readAhead } from './read-ahead.ts';

async function* numbers(count: number, ended: () => void = () => {}): AsyncGenerator<number> {
  try {
    for (let i = 1; i <= count; i++) yield i;
  } finally {
    ended();
  }
}
const turns = async () => {
  for (let i = 0; i < 50; i++) await turn();
};

it('reads up to a limit before anybody asks, and all to several who ask at once', async () => {
  const read: number[] = [];
  let isEnd = false;
  const ahead = readAhead(numbers(20), 5, {
    onItem: (item) => read.push(item),
    onEnd: () => (isEnd = true),
  });
  const first = await ahead.next();
  await turns();
  expect([first.value, read.length, isEnd]).toEqual([1, 6, false]);
  const rest = await Promise.all(Array.from({ length: 20 }, () => ahead.next()));
  expect(rest.map(({ value }) => value)).toEqual([...Array.from({ length: 19 }, (_, i) => i + 2), undefined]);
  expect(isEnd).toBe(true);
});

it('hands a failure over behind the items before it', async () => {
  async function* failing(): AsyncGenerator<number> {
    yield 1;
    throw new Error('broken');
  }
  const ahead = readAhead(failing(), 5, { onItem() {}, onEnd() {} });
  expect(await ahead.next()).toEqual({ value: 1, done: false });
  await turns();
  await expect(ahead.next()).rejects.toThrow('broken');
});

it('ends its source when nobody asks any more', async () => {
  let isEnded = false;
  const ahead = readAhead(
    numbers(20, () => (isEnded = true)),
    5,
    { onItem() {}, onEnd() {} },
  );
  await ahead.next();
  await ahead.return(undefined);
  expect(isEnded).toBe(true);
});
