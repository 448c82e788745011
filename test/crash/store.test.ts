import { expect, it } from 'vitest';
import { crashStore } from './store.ts';

it('loses nothing of what it acknowledged when it is killed, and tears nothing', async () => {
  const report = await crashStore(5);
  expect(report.lost).toEqual([]);
  expect(report.acknowledged).toBeGreaterThan(0);
});
