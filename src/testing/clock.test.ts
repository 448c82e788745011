import { expect, it } from 'vitest';
import { sleep } from '../contract/clock.ts';
import { testClock } from './clock.ts';

it('runs what is due in the order of time, also what a timer sets', async () => {
  const clock = testClock();
  const seen: [string, number][] = [];
  const note = (name: string) => () => seen.push([name, clock.now() - Date.UTC(2026, 0, 1)]);
  clock.after(30, note('c'));
  clock.after(10, () => {
    note('a')();
    clock.after(10, note('b'));
  });
  clock.inBackground(31, note('late'));
  await clock.advance(30);
  expect(seen).toEqual([
    ['a', 10],
    ['b', 20],
    ['c', 30],
  ]);
  expect(clock.pendingTimers).toBe(1);
});

it('keeps the order in which equals were set', async () => {
  const clock = testClock();
  const seen: number[] = [];
  for (const n of [1, 2, 3]) clock.after(5, () => seen.push(n));
  await clock.advance(5);
  expect(seen).toEqual([1, 2, 3]);
});

it('lets a loop of waits run to its end within one advance', async () => {
  const clock = testClock();
  let rounds = 0;
  const loop = (async () => {
    while (rounds < 5) {
      await sleep(clock, 100);
      rounds += 1;
    }
  })();
  await clock.advance(499);
  expect(rounds).toBe(4);
  await clock.advance(1);
  await loop;
  expect(rounds).toBe(5);
});

it('forgets a timer that was cancelled', async () => {
  const clock = testClock();
  let ran = false;
  const cancel = clock.after(1, () => {
    ran = true;
  });
  cancel();
  await clock.advance(10);
  expect(ran).toBe(false);
  expect(clock.pendingTimers).toBe(0);
});
