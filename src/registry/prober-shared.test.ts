import { randomBytes } from 'node:crypto';
import { describe, expect, it, vi } from 'vitest';
import { ConnectorError } from '../errors/error.ts';
import { testClock } from '../testing/clock.ts';
import { noPostgres, query } from '../testing/postgres.fixture.ts';
import { usePostgres } from '../testing/postgres-suite.fixture.ts';
import { registryWith, vectors } from './registry.fixture.ts';

/** Time in which each server asks what is due, however the dice fall. */
const ASKED_MS = 6_000;
const SOON = { timeout: 5_000, interval: 10 };
const KEY = randomBytes(32).toString('base64');

type Script = NonNullable<Parameters<typeof registryWith>[0]>;

describe.skipIf(noPostgres !== undefined)('the probers of two servers on one database', () => {
  const postgres = usePostgres();

  async function serverOn(databaseUrl: string, script: Script) {
    const clock = testClock();
    const env = { CONNECTORS_MASTER_KEY: KEY };
    const made = await registryWith(script, { databaseUrl, env, clock, probeSeconds: 600 });
    return { ...made, clock, ask: () => clock.advance(ASKED_MS) };
  }

  /** Two servers, and what makes everything due: when it is, the database says, whose time no test moves. */
  async function both(script: Script = { remote: true }) {
    const url = await postgres.database();
    const [a, b] = [await serverOn(url, script), await serverOn(url, script)];
    /** One that each of them has opened, so that it is connected for as long as one of them is there. */
    const connected = async (name = 'docs') => {
      const { connectorId } = await a.registry.createVectorConnector(vectors(name));
      for (const { registry } of [a, b]) {
        await (await registry.get(connectorId)).connect();
        await registry.getStatistics();
      }
      return connectorId;
    };
    const statuses = async (connectorId: string) =>
      Promise.all([a, b].map(async ({ registry }) => (await registry.get(connectorId)).status));
    const opened = (connectorId: string) =>
      [a, b].map(
        ({ seen }) => seen.opened.filter(({ context }) => context.connectorId === connectorId).length,
      );
    return { a, b, connected, statuses, opened, makeDue: () => query(url, 'update probes set due_at = 0') };
  }

  it('look at each connector once in an interval, whichever of them does', async () => {
    const { a, b, makeDue } = await both();
    const made = await a.registry.createMany(
      Array.from({ length: 50 }, (_, i) => ({ ...vectors(`v${i}`), connectorType: 'vector' as const })),
    );
    for (const connectorId of made) await (await a.registry.get(connectorId)).connect();
    await a.registry.getStatistics();
    const looks = () => [a, b].flatMap(({ seen }) => seen.opened.map(({ context }) => context.connectorId));
    const onceEach = made.toSorted();
    a.seen.opened.length = 0;
    for (let turn = 1; turn <= 3; turn += 1) {
      // All at once, and again after each has asked: then nothing is due.
      await Promise.all([a.ask(), b.ask()]);
      await vi.waitFor(async () => {
        await Promise.all([a.ask(), b.ask()]);
        expect(looks().length).toBeGreaterThanOrEqual(made.length);
      }, SOON);
      await Promise.all([a.ask(), b.ask()]);
      expect(looks().toSorted()).toEqual(onceEach);
      for (const { seen } of [a, b]) seen.opened.length = 0;
      await makeDue();
    }
  });

  it('go on when one of them is gone', async () => {
    const { a, b, connected, makeDue, opened } = await both();
    const connectorId = await connected();
    await a.ask();
    await vi.waitFor(() => expect(opened(connectorId)).toEqual([2, 1]), SOON);
    await a.registry.close();
    await b.ask();
    expect(opened(connectorId)).toEqual([2, 1]);
    await makeDue();
    await b.ask();
    await vi.waitFor(() => expect(opened(connectorId)).toEqual([2, 2]), SOON);
  });

  it('make an error of three looks that failed in a row on any of them, and connected of one that did not', async () => {
    let isDown = false;
    const { a, b, connected, statuses, makeDue, opened } = await both({
      remote: true,
      async open() {
        if (isDown) throw new ConnectorError('unavailable', 'nobody answers');
      },
    });
    const connectorId = await connected();
    isDown = true;
    for (const [one, counts] of [
      [a, [2, 1]],
      [b, [2, 2]],
    ] as const) {
      await one.ask();
      await vi.waitFor(() => expect(opened(connectorId)).toEqual(counts), SOON);
      await one.registry.getStatistics();
      expect(await statuses(connectorId)).toEqual(['connected', 'connected']);
      await makeDue();
    }
    await a.ask();
    await vi.waitFor(async () => {
      await a.registry.getStatistics();
      expect(await statuses(connectorId)).toEqual(['error', 'error']);
    }, SOON);
    isDown = false;
    await makeDue();
    await b.ask();
    await vi.waitFor(async () => {
      await b.registry.getStatistics();
      expect(await statuses(connectorId)).toEqual(['connected', 'connected']);
    }, SOON);
  });

  it('take refused credentials for an error at once, and try them no more', async () => {
    let isRefused = false;
    const { a, b, connected, statuses, makeDue, opened } = await both({
      remote: true,
      async open({ connectorId }) {
        if (isRefused && connectorId === refused) throw new ConnectorError('auth_failed', 'not known');
      },
    });
    const refused = await connected('refused');
    const other = await connected('other');
    isRefused = true;
    await a.ask();
    await vi.waitFor(async () => {
      await a.registry.getStatistics();
      expect(await statuses(refused)).toEqual(['error', 'error']);
    }, SOON);
    expect(opened(refused)).toEqual([2, 1]);
    isRefused = false;
    for (const [one, counts] of [
      [b, [2, 2]],
      [a, [3, 2]],
    ] as const) {
      await makeDue();
      await one.ask();
      await vi.waitFor(() => expect(opened(other)).toEqual(counts), SOON);
    }
    await Promise.all([a.registry.close(), b.registry.close()]);
    expect(opened(refused)).toEqual([2, 1]);
  });

  it('ask an embedded engine on the server that keeps what it stores', async () => {
    let asked = 0;
    const { a, b, makeDue } = await both({
      client: {
        async check() {
          asked += 1;
          return [];
        },
      },
    });
    const here = await a.registry.createVectorConnector(vectors('here'));
    const there = await a.registry.createVectorConnector(vectors('there'));
    await here.connect();
    await (await b.registry.get(there.connectorId)).connect();
    for (const { registry } of [a, b]) await registry.getStatistics();
    for (const [one, times] of [
      [b, 1],
      [a, 2],
      [b, 3],
    ] as const) {
      await one.ask();
      await vi.waitFor(() => expect(asked).toBe(times), SOON);
      if (one === a) await makeDue();
    }
    await Promise.all([a.registry.close(), b.registry.close()]);
    expect(asked).toBe(3);
  });

  it('do not take a test on the wrong server for a failure', async () => {
    const { a, b } = await both({});
    const here = await a.registry.createVectorConnector(vectors());
    await here.connect();
    const there = await b.registry.get(here.connectorId);
    for (let turn = 0; turn < 4; turn += 1)
      expect(await there.healthCheck()).toMatchObject({
        ok: false,
        stages: [{}, {}, { code: 'invalid_state' }],
      });
    for (const { registry } of [a, b]) await registry.getStatistics();
    expect(here.status).toBe('connected');
    expect(there.lastError).toBeNull();
  });
});
