import { expect, it } from 'vitest';
import { crashRegistry } from './registry.ts';

it('loses nothing that was acknowledged before a kill -9', async () => {
  expect(await crashRegistry(3)).toBeGreaterThan(0);
}, 120_000);
