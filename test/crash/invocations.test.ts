import { expect, it } from 'vitest';
import { crashInvocations } from './invocations.ts';

it('ends every invocation that it accepted once, and runs none again that may not, when it is killed', async () => {
  const { faults, acknowledged, lostAnswers, rerun, ends } = await crashInvocations(5);
  expect(faults).toEqual([]);
  expect(rerun.underKey).toBe(0);
  // The kills fell into work, or this has shown nothing.
  expect(acknowledged).toBeGreaterThan(0);
  expect(lostAnswers).toBeGreaterThan(0);
  expect(rerun.withoutKey + (ends.lost ?? 0)).toBeGreaterThan(0);
}, 120_000);
