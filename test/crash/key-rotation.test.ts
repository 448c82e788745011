import { describe, expect, it } from 'vitest';
import { noPostgres } from '../../src/testing/postgres.fixture.ts';
import { crashRotation } from './key-rotation.ts';

describe.each(['SQLite', 'PostgreSQL'] as const)('on %s', (engine) => {
  it.skipIf(engine === 'PostgreSQL' && noPostgres !== undefined)(
    'the master key is replaced while all is read, however often that is killed',
    async () => {
      const { failedReads, beforeLastKill, sealed } = await crashRotation({
        engine,
        credentials: 1_000,
        kills: 3,
      });
      expect(failedReads).toEqual([]);
      // The kills fell into the work, or this has shown nothing.
      expect(beforeLastKill).toBeGreaterThan(0);
      expect(sealed).toBe(1_000 - beforeLastKill);
    },
    120_000,
  );
});
