import { describe, expect, it, vi } from 'vitest';
import { ConnectorError } from '../errors/error.ts';
import type { ProbeWant } from '../store/store.ts';
import { testClock } from '../testing/clock.ts';
import { silentLog } from './log.ts';
import type { Parts } from './parts.ts';
import { Prober } from './prober.ts';
import { registryWith, vectors } from './registry.fixture.ts';

/** How often it is asked what is due, where the dice fall on the middle. */
const ASKED_MS = 5_000;
/** Between two looks at a connector. */
const INTERVAL_MS = 60_000;

type Script = NonNullable<Parameters<typeof registryWith>[0]>;
type Options = NonNullable<Parameters<typeof registryWith>[1]>;

/** A registry that looks at its connectors once a minute, by a clock that the test moves. */
async function probing(script: Script = { remote: true }, options: Options = {}) {
  const clock = testClock();
  const made = await registryWith(script, {
    clock,
    probeSeconds: 60,
    random: () => 0.5,
    ...options,
  });
  const { seen } = made;
  const opened = (connectorId: string) =>
    seen.opened.filter(({ context }) => context.connectorId === connectorId).length;
  return { ...made, clock, opened };
}

async function answer(isDown: boolean): Promise<void> {
  if (isDown) throw new ConnectorError('unavailable', 'nobody answers');
}

describe('the prober', () => {
  it('is off unless told otherwise', async () => {
    const { registry, seen, clock } = await probing({ remote: true }, { probeSeconds: undefined });
    const connector = await registry.createVectorConnector(vectors());
    await connector.connect();
    await clock.advance(10 * INTERVAL_MS);
    await registry.close();
    expect(seen.opened).toHaveLength(1);
  });

  it('looks at a connected connector once in each interval, on a client of its own that it closes', async () => {
    const { registry, seen, clock } = await probing();
    const connector = await registry.createVectorConnector(vectors());
    await connector.connect();
    await clock.advance(ASKED_MS);
    await vi.waitFor(() => expect(seen).toMatchObject({ opened: { length: 2 }, closed: 1 }));
    await clock.advance(INTERVAL_MS - ASKED_MS);
    expect(seen.opened).toHaveLength(2);
    await clock.advance(ASKED_MS);
    await vi.waitFor(() => expect(seen).toMatchObject({ opened: { length: 3 }, closed: 2 }));
    // Nobody but its caller connected it.
    expect(connector).toMatchObject({ status: 'connected', connectionCount: 1, errorCount: 0 });
  });

  it('leaves alone what nobody uses, what is deprecated, and what has its credentials refused', async () => {
    let isRefused = false;
    const { registry, seen, clock, opened } = await probing({
      remote: true,
      async open() {
        if (isRefused) throw new ConnectorError('auth_failed', 'the key is not known');
      },
    });
    const make = (name: string) => registry.createVectorConnector(vectors(name));
    const [ready, left, old] = [await make('ready'), await make('left'), await make('old')];
    const [refused, used] = [await make('refused'), await make('used')];
    for (const one of [left, old, used]) await one.connect();
    await left.disconnect();
    await registry.update(old.connectorId, { status: 'deprecated' });
    isRefused = true;
    await expect(refused.connect()).rejects.toMatchObject({ code: 'auth_failed' });
    isRefused = false;
    await registry.getStatistics();
    for (let turn = 1; turn <= 3; turn += 1) {
      // Of those that were ever open, the one that is looked at; one was closed by its caller.
      await clock.advance(INTERVAL_MS);
      await vi.waitFor(() => expect(seen.closed).toBe(1 + turn));
    }
    await registry.close();
    const tries = [ready, left, old, refused].map(({ connectorId }) => opened(connectorId));
    expect(tries).toEqual([0, 1, 1, 1]);
    expect(opened(used.connectorId)).toBe(4);
  });

  it('makes an error of three looks in a row that failed, and connected of the next that does not', async () => {
    let isDown = false;
    const { registry, clock, opened } = await probing({ remote: true, open: () => answer(isDown) });
    const moves: string[] = [];
    const connector = await registry.createVectorConnector(vectors());
    await connector.connect();
    registry.on('status_changed', ({ to }) => moves.push(to));
    await clock.advance(ASKED_MS);
    isDown = true;
    for (const [looks, status] of [
      [3, 'connected'],
      [4, 'connected'],
      [5, 'error'],
      [6, 'error'],
    ] as const) {
      await clock.advance(INTERVAL_MS);
      await vi.waitFor(() => expect(opened(connector.connectorId)).toBe(looks));
      await vi.waitFor(() => expect(connector.status).toBe(status));
    }
    expect(connector.lastError).toMatchObject({ code: 'unavailable' });
    isDown = false;
    await clock.advance(INTERVAL_MS);
    await vi.waitFor(() => expect(connector.status).toBe('connected'));
    expect(moves).toEqual(['error', 'connected']);
  });

  it('takes no refusal of a rate limit for a failure of the backend', async () => {
    const { registry, clock } = await probing();
    const config = { rateLimitEnabled: true, rateLimitRequests: 1, rateLimitWindowSeconds: 86_400 };
    const connector = await registry.createVectorConnector({ ...vectors(), config });
    await connector.connect();
    for (let turn = 0; turn < 4; turn += 1) await clock.advance(INTERVAL_MS);
    expect((await connector.healthCheck()).ok).toBe(false);
    await registry.close();
    expect(connector.status).toBe('connected');
  });

  it('asks an embedded engine while it is open, and leaves it to be closed when nobody uses it', async () => {
    let asked = 0;
    const check = async () => {
      asked += 1;
      return [];
    };
    const { registry, seen, clock } = await probing({ client: { check } }, { idleCloseMs: 200_000 });
    const connector = await registry.createVectorConnector(vectors());
    await connector.connect();
    await clock.advance(ASKED_MS);
    await vi.waitFor(() => expect(asked).toBe(1));
    await clock.advance(INTERVAL_MS);
    await vi.waitFor(() => expect(asked).toBe(2));
    await clock.advance(200_000);
    expect(seen).toMatchObject({ opened: { length: 1 }, closed: 1 });
    const before = asked;
    await clock.advance(5 * INTERVAL_MS);
    await registry.close();
    expect(asked).toBe(before);
    expect(seen.opened).toHaveLength(1);
  });

  it('opens an embedded engine that failed to open', async () => {
    let isDown = true;
    const { registry, clock } = await probing({ open: () => answer(isDown) });
    const config = { maxRetries: 0 };
    const connector = await registry.createVectorConnector({ ...vectors(), config });
    await expect(connector.connect()).rejects.toMatchObject({ code: 'unavailable' });
    await registry.getStatistics();
    isDown = false;
    await clock.advance(ASKED_MS);
    await vi.waitFor(() => expect(connector.status).toBe('connected'));
  });

  it('opens no more clients than may be open, and none in the place of one in use', async () => {
    const { promise: counted, resolve: goOn } = Promise.withResolvers<number>();
    const script = { remote: true as const, client: { count: () => counted } };
    const { registry, seen, clock } = await probing(script, { maxOpenClients: 1 });
    const connector = await registry.createVectorConnector(vectors());
    await connector.connect();
    const inUse = connector.countVectors();
    await clock.advance(ASKED_MS);
    await clock.advance(INTERVAL_MS);
    expect(seen).toMatchObject({ opened: { length: 1 }, closed: 0 });
    goOn(0);
    await inUse;
    await clock.advance(INTERVAL_MS);
    await vi.waitFor(() => expect(seen).toMatchObject({ opened: { length: 2 }, closed: 2 }));
    expect(connector.status).toBe('connected');
  });

  it('looks at the connectors of others while those of one tenant take all the time that a look may', async () => {
    let isStalled = false;
    const open = async ({ tenantId }: { readonly tenantId: string }) => {
      if (isStalled && tenantId === 'acme') await new Promise<never>(() => {});
    };
    const { registry, clock, opened } = await probing({ remote: true, open });
    const config = { timeoutSeconds: 900 };
    const stalled: string[] = [];
    for (let i = 0; i < 50; i += 1) {
      const connector = await registry.createVectorConnector({
        ...vectors(`stalled-${i}`),
        connectorId: `a-${i}`,
        config,
      });
      await connector.connect();
      stalled.push(connector.connectorId);
    }
    // What is due at the same time is looked at in the order of the ids.
    const last = { ...vectors('other', 'umbrella'), connectorId: 'z' };
    const other = await registry.createVectorConnector(last);
    await other.connect();
    await registry.getStatistics();
    isStalled = true;
    const looks = () => stalled.map(opened).reduce((sum, count) => sum + count, 0) - stalled.length;
    await clock.advance(ASKED_MS);
    await vi.waitFor(() => expect(looks()).toBe(4));
    expect(opened(other.connectorId)).toBe(1);
    await vi.waitFor(async () => {
      await clock.advance(1_000);
      expect(opened(other.connectorId)).toBe(2);
    });
    // Each of them ends by itself, and makes way for the next.
    expect(looks()).toBe(4);
    await clock.advance(30_000);
    await vi.waitFor(async () => {
      await clock.advance(ASKED_MS);
      expect(looks()).toBeGreaterThan(4);
    });
  });

  it('ends what it looks at when the registry is closed, and takes that for no failure', async () => {
    const { promise: looked, resolve } = Promise.withResolvers<AbortSignal>();
    // One that hears of nothing.
    const check = (signal: AbortSignal) => new Promise<never>(() => resolve(signal));
    const { registry, clock } = await probing({ remote: true, client: { check } });
    const connector = await registry.createVectorConnector(vectors());
    await connector.connect();
    await clock.advance(ASKED_MS);
    const signal = await looked;
    // Time stands still meanwhile.
    await registry.close();
    expect(signal.aborted).toBe(true);
    expect(clock.pendingTimers).toBe(0);
    expect(connector).toMatchObject({ status: 'connected', errorCount: 0 });
  });
});

describe('the times of the prober', () => {
  /** A prober on a store that answers what the test says. */
  function alone(claimProbes: (want: ProbeWant) => Promise<readonly never[]>, random = () => 0.5) {
    const clock = testClock();
    const log = { ...silentLog, warn: vi.fn<typeof silentLog.warn>() };
    // What it needs of the parts where nothing is due.
    const parts = { store: { claimProbes }, homes: { here: 'here' }, clock, random, log } as unknown as Parts;
    const prober = new Prober(60_000);
    prober.start(parts, () => Promise.reject(new Error('nothing is due')));
    return { prober, parts, clock, log };
  }

  it('vary by a fifth, for each connector and each time that it asks', async () => {
    for (const [random, asksMs, dueMs] of [
      [0, 4_000, 48_000],
      [0.5, 5_000, 60_000],
      [1, 6_000, 72_000],
    ] as const) {
      const wants: ProbeWant[] = [];
      const answer = async (want: ProbeWant) => {
        wants.push(want);
        return [];
      };
      const { clock } = alone(answer, () => random);
      const startMs = clock.now();
      await clock.advance(asksMs - 1);
      expect(wants).toEqual([]);
      await clock.advance(1);
      expect(wants.map(({ now, nextAt }) => [now.getTime(), nextAt().getTime()])).toEqual([
        [startMs + asksMs, startMs + asksMs + dueMs],
      ]);
    }
    let turn = 0;
    const wants: ProbeWant[] = [];
    const { clock } = alone(
      async (want) => {
        wants.push(want);
        return [];
      },
      () => (turn = (turn + 0.3) % 1),
    );
    await clock.advance(6_000);
    const times = Array.from({ length: 3 }, () => wants[0]?.nextAt().getTime());
    expect(new Set(times).size).toBe(3);
  });

  it('go on after a store that does not answer, and say so', async () => {
    const claim = vi.fn<() => Promise<never>>(() => Promise.reject(new Error('away')));
    const { clock, log } = alone(claim);
    await clock.advance(5_000);
    await clock.advance(5_000);
    expect(claim).toHaveBeenCalledTimes(2);
    expect(log.warn).toHaveBeenCalledWith('what health checks are due was not found out', {
      error: 'Error: away',
    });
  });

  it('end with the grace where the store never answers', async () => {
    const { prober, parts, clock } = alone(() => new Promise<never>(() => {}));
    await clock.advance(5_000);
    let isClosed = false;
    const closing = prober.close(parts, 1_000).then(() => (isClosed = true));
    await clock.advance(999);
    expect(isClosed).toBe(false);
    await clock.advance(1);
    await closing;
    expect(clock.pendingTimers).toBe(0);
  });
});
