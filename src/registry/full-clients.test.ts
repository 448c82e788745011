import { expect, it } from 'vitest';
import { testClock } from '../testing/clock.ts';
import { registryWith, vectors } from './registry.fixture.ts';

/** A registry that may have two clients open, and a tenant that uses them both. */
async function full() {
  const { promise: counted, resolve: end } = Promise.withResolvers<number>();
  const clock = testClock();
  const client = { count: () => counted };
  const made = await registryWith({ client }, { clock, maxOpenClients: 2 });
  const config = { maxRetries: 0 };
  const make = (name: string, tenantId: string) =>
    made.registry.createVectorConnector({ ...vectors(name, tenantId), config });
  const [one, two] = [await make('one', 'acme'), await make('two', 'acme')];
  const inUse = [one.countVectors(), two.countVectors()];
  return {
    ...made,
    make,
    async end() {
      end(0);
      await Promise.all(inUse);
    },
  };
}

it('holds it against no backend that another tenant has all clients in use', async () => {
  const { make, end } = await full();
  const other = await make('other', 'umbrella');
  const message =
    'vector connector "other": all 2 clients that may be open at once are in use; try again when calls have ended, or raise maxOpenClients';
  for (let i = 0; i < 10; i += 1) {
    await expect(other.search([1, 0, 0])).rejects.toThrow(message);
  }
  for (let i = 0; i < 3; i += 1) {
    const { stages } = await other.healthCheck();
    expect(stages.at(-1)).toEqual({ name: 'backend', status: 'failed', ms: 0, code: 'unavailable', message });
  }
  expect(other).toMatchObject({ status: 'ready', errorCount: 0, lastError: null });
  await end();
  expect(await other.search([1, 0, 0])).toEqual([]);
});

it('leaves half of them to others once there are any', async () => {
  const { make, end } = await full();
  const other = await make('other', 'umbrella');
  await expect(other.search([1, 0, 0])).rejects.toMatchObject({ code: 'unavailable', retryAfterMs: 1_000 });
  await end();
  const [three, four] = [await make('three', 'acme'), await make('four', 'acme')];
  await Promise.all([three.search([1, 0, 0]), other.search([1, 0, 0])]);
  await expect(Promise.all([three.search([1, 0, 0]), four.search([1, 0, 0])])).rejects.toMatchObject({
    code: 'unavailable',
    details: { limit: 1, maxOpen: 2 },
  });
});
