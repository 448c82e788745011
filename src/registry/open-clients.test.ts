import { setImmediate as nextTurn } from 'node:timers/promises';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { describe, expect, it } from 'vitest';
import type { Client } from '../contract/driver.ts';
import { testClock } from '../testing/clock.ts';
import { silentLog } from './log.ts';
import { OpenClients } from './open-clients.ts';

type Probe = Client & { readonly name: string; closed: number };

function probe(name: string): Probe {
  return {
    name,
    closed: 0,
    check: async () => [],
    async close() {
      this.closed += 1;
    },
  };
}

function clients(options: { maxOpen?: number } = {}) {
  const clock = testClock();
  const open = new OpenClients({
    clock,
    log: silentLog,
    idleCloseMs: 1_000,
    maxOpen: options.maxOpen ?? 10,
    graceMs: 500,
  });
  const use = <C extends Client>(key: string, opener: () => Promise<C>, tenantId = 'acme') =>
    open.lease(key, opener, { tenantId, isUse: true });
  return { clock, open, use };
}

describe('OpenClients', () => {
  it('opens once however many callers wait', async () => {
    const { use } = clients();
    let opened = 0;
    const opener = async () => {
      opened += 1;
      await Promise.resolve();
      return probe('a');
    };
    const leases = await Promise.all(Array.from({ length: 50 }, () => use('a', opener)));
    expect(opened).toBe(1);
    expect(new Set(leases.map((lease) => lease.client)).size).toBe(1);
  });

  it('tells every waiting caller of a failed opening and tries anew for the next one', async () => {
    const { use } = clients();
    const failing = async () => Promise.reject(new Error('down'));
    const outcomes = await Promise.allSettled([use('a', failing), use('a', failing)]);
    expect(outcomes.map((outcome) => outcome.status)).toEqual(['rejected', 'rejected']);
    const { client } = await use('a', async () => probe('a'));
    expect(client.name).toBe('a');
  });

  it('closes a client that nobody used for the idle time, and not one in use', async () => {
    const { clock, open, use } = clients();
    const used = await use('used', async () => probe('used'));
    const idle = await use('idle', async () => probe('idle'));
    idle.release();
    await clock.advance(1_500);
    expect([used.client.closed, idle.client.closed]).toEqual([0, 1]);
    expect(open.size).toBe(1);
  });

  it('closes the least recently used idle client when it may open no more', async () => {
    const { use } = clients({ maxOpen: 2 });
    const first = await use('first', async () => probe('first'));
    const second = await use('second', async () => probe('second'));
    first.release();
    second.release();
    (await use('first', async () => probe('again'))).release();
    await use('third', async () => probe('third'));
    expect([first.client.closed, second.client.closed]).toEqual([0, 1]);
  });

  it('refuses to open more when all that may be open are in use', async () => {
    const { use } = clients({ maxOpen: 1 });
    await use('a', async () => probe('a'));
    await expect(use('b', async () => probe('b'))).rejects.toMatchObject({
      code: 'unavailable',
      details: { maxOpen: 1 },
    });
  });

  it('gives a tenant all that may be open while it is alone, and half of it once another one came', async () => {
    const { open, use } = clients({ maxOpen: 4 });
    const named = (key: string, tenantId?: string) => use(key, async () => probe(key), tenantId);
    const [a, b, c, d] = await Promise.all(['a', 'b', 'c', 'd'].map((key) => named(key)));
    await expect(named('other', 'umbrella')).rejects.toMatchObject({ details: { limit: 4 } });
    a?.release();
    const other = await named('other', 'umbrella');
    other.release();
    b?.release();
    const refused = { code: 'unavailable', details: { limit: 2, maxOpen: 4, asked: false } };
    await expect(named('e')).rejects.toMatchObject(refused);
    c?.release();
    const e = await named('e');
    await expect(named('f')).rejects.toMatchObject(refused);
    // What makes way for it is its own, not what is idle of another.
    d?.release();
    const f = await named('f');
    expect([d?.client.closed, e.client.closed, f.client.closed, other.client.closed]).toEqual([1, 0, 0, 0]);
    expect(open.size).toBe(3);
  });

  it('closes a client that must go only when its callers have left', async () => {
    const { open, use } = clients();
    const lease = await use('a', async () => probe('a'));
    const closing = open.close('a');
    expect(lease.client.closed).toBe(0);
    lease.release();
    await closing;
    expect(lease.client.closed).toBe(1);
  });

  it('closes under callers who stay beyond the grace, and once only', async () => {
    const { clock, open, use } = clients();
    const lease = await use('a', async () => probe('a'));
    const closing = open.close('a');
    await clock.advance(500);
    await closing;
    lease.release();
    expect(lease.client.closed).toBe(1);
  });

  it('opens the next client of a connector only when the last one has closed', async () => {
    const { open, use } = clients();
    const order: string[] = [];
    const { promise: gate, resolve: letGo } = Promise.withResolvers<void>();
    const slow: Client = {
      check: async () => [],
      async close() {
        await gate;
        order.push('closed');
      },
    };
    const lease = await use('a', async () => slow);
    lease.release();
    const closing = open.close('a');
    const next = use('a', async () => {
      order.push('opened');
      return probe('a');
    });
    letGo();
    await Promise.all([closing, next]);
    expect(order).toEqual(['closed', 'opened']);
  });

  it('keeps a client open while it is held', async () => {
    const { clock, open, use } = clients();
    const lease = await use('a', async () => probe('a'));
    const letGo = open.hold('a');
    lease.release();
    await clock.advance(3_000);
    expect(lease.client.closed).toBe(0);
    letGo();
    await clock.advance(3_000);
    expect(lease.client.closed).toBe(1);
  });

  it('keeps whoever opened a client as long as it is open, so that he hears of what changes', async () => {
    setFlagsFromString('--expose-gc');
    const collect = runInNewContext('gc') as () => void;
    const { open, use } = clients();
    const used = async (session: { readonly name: string }) => {
      (await use('a', async () => probe(session.name))).release();
      return new WeakRef(session);
    };
    const session = await used({ name: 'a' });
    await nextTurn();
    collect();
    expect(session.deref()).toEqual({ name: 'a' });
    await open.close('a');
    await nextTurn();
    collect();
    expect(session.deref()).toBeUndefined();
  });

  it('leaves no timer behind when all is closed', async () => {
    const { clock, open, use } = clients();
    (await use('a', async () => probe('a'))).release();
    await open.closeAll();
    expect(clock.pendingTimers).toBe(0);
  });
});
