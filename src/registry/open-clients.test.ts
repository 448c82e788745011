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
  return { clock, open };
}

describe('OpenClients', () => {
  it('opens once however many callers wait', async () => {
    const { open } = clients();
    let opened = 0;
    const opener = async () => {
      opened += 1;
      await Promise.resolve();
      return probe('a');
    };
    const leases = await Promise.all(Array.from({ length: 50 }, () => open.lease('a', opener)));
    expect(opened).toBe(1);
    expect(new Set(leases.map((lease) => lease.client)).size).toBe(1);
  });

  it('tells every waiting caller of a failed opening and tries anew for the next one', async () => {
    const { open } = clients();
    const failing = async () => Promise.reject(new Error('down'));
    const outcomes = await Promise.allSettled([open.lease('a', failing), open.lease('a', failing)]);
    expect(outcomes.map((outcome) => outcome.status)).toEqual(['rejected', 'rejected']);
    const { client } = await open.lease('a', async () => probe('a'));
    expect(client.name).toBe('a');
  });

  it('closes a client that nobody used for the idle time, and not one in use', async () => {
    const { clock, open } = clients();
    const used = await open.lease('used', async () => probe('used'));
    const idle = await open.lease('idle', async () => probe('idle'));
    idle.release();
    await clock.advance(1_500);
    expect([used.client.closed, idle.client.closed]).toEqual([0, 1]);
    expect(open.size).toBe(1);
  });

  it('closes the least recently used idle client when it may open no more', async () => {
    const { open } = clients({ maxOpen: 2 });
    const first = await open.lease('first', async () => probe('first'));
    const second = await open.lease('second', async () => probe('second'));
    first.release();
    second.release();
    (await open.lease('first', async () => probe('again'))).release();
    await open.lease('third', async () => probe('third'));
    expect([first.client.closed, second.client.closed]).toEqual([0, 1]);
  });

  it('refuses to open more when all that may be open are in use', async () => {
    const { open } = clients({ maxOpen: 1 });
    await open.lease('a', async () => probe('a'));
    await expect(open.lease('b', async () => probe('b'))).rejects.toMatchObject({
      code: 'unavailable',
      details: { maxOpen: 1 },
    });
  });

  it('closes a client that must go only when its callers have left', async () => {
    const { open } = clients();
    const lease = await open.lease('a', async () => probe('a'));
    const closing = open.close('a');
    expect(lease.client.closed).toBe(0);
    lease.release();
    await closing;
    expect(lease.client.closed).toBe(1);
  });

  it('closes under callers who stay beyond the grace, and once only', async () => {
    const { clock, open } = clients();
    const lease = await open.lease('a', async () => probe('a'));
    const closing = open.close('a');
    await clock.advance(500);
    await closing;
    lease.release();
    expect(lease.client.closed).toBe(1);
  });

  it('opens the next client of a connector only when the last one has closed', async () => {
    const { open } = clients();
    const order: string[] = [];
    const { promise: gate, resolve: letGo } = Promise.withResolvers<void>();
    const slow: Client = {
      check: async () => [],
      async close() {
        await gate;
        order.push('closed');
      },
    };
    const lease = await open.lease('a', async () => slow);
    lease.release();
    const closing = open.close('a');
    const next = open.lease('a', async () => {
      order.push('opened');
      return probe('a');
    });
    letGo();
    await Promise.all([closing, next]);
    expect(order).toEqual(['closed', 'opened']);
  });

  it('keeps a client open while it is held', async () => {
    const { clock, open } = clients();
    const lease = await open.lease('a', async () => probe('a'));
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
    const { open } = clients();
    const used = async (session: { readonly name: string }) => {
      (await open.lease('a', async () => probe(session.name))).release();
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
    const { clock, open } = clients();
    (await open.lease('a', async () => probe('a'))).release();
    await open.closeAll();
    expect(clock.pendingTimers).toBe(0);
  });
});
