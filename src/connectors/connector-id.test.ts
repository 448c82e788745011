import { expect, it } from 'vitest';
import { newConnectorId } from './connector-id.ts';

it('makes ids of version 7 that sort by their time', () => {
  const times = [0, 1, 1_700_000_000_000, 1_700_000_000_001, 2 ** 48 - 1];
  const ids = times.map(newConnectorId);
  for (const id of ids)
    expect(id).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
  expect(ids.toSorted()).toEqual(ids);
});

it('never makes one twice', () => {
  const ids = Array.from({ length: 10_000 }, () => newConnectorId(5));
  expect(new Set(ids).size).toBe(ids.length);
});
