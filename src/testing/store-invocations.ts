import { describe, expect, it } from 'vitest';
import {
  type DueAfter,
  DUE_PER_TENANT,
  type InvocationClaim,
  type InvocationEnd,
  type InvocationRecord,
} from '../connectors/serverless/invocations.ts';
import { CREATED, invocation, type StoreSuite } from './store-suite.ts';

/** Invocations, from being queued to being forgotten. */
export function testInvocations(suite: StoreSuite): void {
  const { store, fresh, stored } = suite;
  const call = async (patch: Partial<InvocationRecord> = {}) => {
    const { record } = await stored({ connectorType: 'serverless' });
    return invocation(record, { requestId: fresh('request'), ...patch });
  };
  const added = async (patch: Partial<InvocationRecord> = {}) => {
    const one = await call(patch);
    expect(await store().addInvocation(one)).toEqual({ record: one, isNew: true });
    return one;
  };
  const found = ({ tenantId, connectorId, requestId }: InvocationRecord) =>
    store().getInvocation(tenantId, connectorId, requestId);
  const claim = async (
    { tenantId, connectorId }: InvocationRecord,
    limit: number,
    now: Date,
    leaseEnd: Date,
    maxConcurrency = 99,
  ) => store().claimInvocations([{ tenantId, connectorId, limit, maxConcurrency }], now, leaseEnd);
  const claimed = async (...given: Parameters<typeof claim>) => (await claim(...given)).claimed;
  const shared = { suite, call, added, found, claimed, claim };
  describe('invocations', () => {
    testKeeping(shared);
    testKeys(shared);
    testLeases(shared);
    testEnds(shared);
    testListing(shared);
    testForgetting(shared);
  });
}

type Shared = {
  readonly suite: StoreSuite;
  readonly call: (patch?: Partial<InvocationRecord>) => Promise<InvocationRecord>;
  readonly added: (patch?: Partial<InvocationRecord>) => Promise<InvocationRecord>;
  readonly found: (one: InvocationRecord) => Promise<InvocationRecord | undefined>;
  readonly claim: (
    one: InvocationRecord,
    limit: number,
    now: Date,
    leaseEnd: Date,
    maxConcurrency?: number,
  ) => Promise<InvocationClaim>;
  readonly claimed: (...given: Parameters<Shared['claim']>) => Promise<InvocationClaim['claimed']>;
};

function testKeeping({ suite: { store, fresh, stored, connector }, added, found, claimed }: Shared): void {
  it('come back as they were added, and as they ended', async () => {
    const one = await added({ payload: { ключ: [1, 'two', { __proto__: null }] } });
    expect(await found(one)).toEqual(one);
    expect(await store().endInvocation(one, ENDED)).toBe(true);
    expect(await found(one)).toEqual({ ...one, ...ENDED, dueAt: null });
  });

  it('that ended stay as they ended', async () => {
    const one = await added();
    await store().endInvocation(one, ENDED);
    expect(await store().endInvocation(one, { ...ENDED, status: 'failed', result: 'late' })).toBe(false);
    expect(await store().deferInvocation(one, DEFERRED)).toBe(false);
    expect(await found(one)).toEqual({ ...one, ...ENDED, dueAt: null });
  });

  it('cannot be added below a connector that is gone or of another tenant', async () => {
    const one = await added({ idempotencyKey: 'mine' });
    const tenantId = fresh('tenant');
    const requestId = fresh('request');
    for (const foreign of [
      { ...one, requestId, tenantId },
      { ...one, requestId, tenantId, idempotencyKey: null },
      { ...one, requestId, connectorId: fresh('id') },
    ]) {
      await expect(store().addInvocation(foreign)).rejects.toMatchObject({ code: 'not_found' });
    }
    expect(await found({ ...one, requestId })).toBeUndefined();
  });

  it('are out of reach for another tenant and from another connector', async () => {
    const one = await added();
    const tenantId = fresh('tenant');
    const { connectorId, requestId } = one;
    const foreign = { ...one, tenantId };
    expect(await store().endInvocation(foreign, ENDED)).toBe(false);
    expect(await store().deferInvocation(foreign, DEFERRED)).toBe(false);
    expect(await store().renewInvocations([foreign], LATER)).toEqual([]);
    expect(await store().cancelInvocation(tenantId, connectorId, requestId, ENDED)).toBeUndefined();
    expect(await claimed(foreign, 9, NOW, LATER)).toEqual([]);
    expect(await store().listInvocations(tenantId, connectorId, { limit: 9 })).toEqual([]);
    expect(await found(foreign)).toBeUndefined();
    const sibling = (await stored()).record.connectorId;
    expect(await found({ ...one, connectorId: sibling })).toBeUndefined();
    expect(await found(one)).toEqual(one);
  });

  it('are cancelled whoever holds them, once', async () => {
    const one = await added();
    const [held] = await claimed(one, 1, NOW, LATER);
    const { tenantId, connectorId, requestId } = one;
    const cancelled = { ...ENDED, status: 'cancelled', result: null } as const;
    const answer = await store().cancelInvocation(tenantId, connectorId, requestId, cancelled);
    expect(answer).toMatchObject({ record: { status: 'cancelled' }, before: { status: 'running' } });
    expect(await store().endInvocation(held ?? one, ENDED)).toBe(false);
    expect(await found(one)).toMatchObject({ status: 'cancelled', result: null });
    const again = await store().cancelInvocation(tenantId, connectorId, requestId, ENDED);
    expect(again?.record).toEqual(again?.before);
    expect(again?.record).toMatchObject({ status: 'cancelled' });
  });

  it('are those of a connector that another tenant cannot claim', async () => {
    const { record } = await stored({ connectorType: 'serverless', tenantId: fresh('tenant') });
    const one = invocation(record, { requestId: fresh('request') });
    await store().addInvocation(one);
    const { connectors } = await store().dueInvocations(NOW, new Map());
    expect(connectors.filter(({ connectorId }) => connectorId === one.connectorId)).toEqual([
      { tenantId: one.tenantId, connectorId: one.connectorId },
    ]);
  });

  it('are looked at a part of each tenant at a time, those of one with few before all of one with many', async () => {
    const [many, few] = [fresh('tenant'), fresh('tenant')];
    const made = Array.from({ length: DUE_PER_TENANT + 2 }, (_, n) =>
      connector({ connectorType: 'serverless', tenantId: n === 0 ? few : many }),
    );
    await store().insertConnectors(made);
    for (const { record } of made)
      await store().addInvocation(invocation(record, { requestId: fresh('request') }));
    const look = async (after: DueAfter = new Map()) => {
      const { connectors, after: next } = await store().dueInvocations(NOW, after);
      const ours = connectors.filter(({ tenantId }) => tenantId === many || tenantId === few);
      return { ours, first: ours.findIndex(({ tenantId }) => tenantId === few), next };
    };
    const { ours, first, next } = await look();
    expect([ours.length, next.has(many), next.has(few)]).toEqual([DUE_PER_TENANT + 1, true, false]);
    expect(first).toBeLessThan(2);
    const rest = await look(next);
    expect([rest.ours.length, rest.next.has(many)]).toEqual([2, false]);
    const found = new Set([...ours, ...rest.ours].map(({ connectorId }) => connectorId));
    expect(found.size).toBe(made.length);
  });
}

function testKeys({ suite: { store, fresh }, call, added, found }: Shared): void {
  it('under a key that is known answer the first one and store nothing', async () => {
    const first = await added({ idempotencyKey: 'once' });
    const second = { ...first, requestId: fresh('request'), payload: 'other' };
    expect(await store().addInvocation(second)).toEqual({ record: first, isNew: false });
    expect(await found(second)).toBeUndefined();
    await added({ idempotencyKey: 'once' });
    const elsewhere = { ...first, requestId: fresh('request'), functionName: 'other' };
    expect(await store().addInvocation(elsewhere)).toEqual({ record: elsewhere, isNew: true });
  });

  it('without a key are each their own', async () => {
    const first = await added();
    const second = { ...first, requestId: fresh('request') };
    expect(await store().addInvocation(second)).toEqual({ record: second, isNew: true });
  });

  it('under one key from many callers at once are one', async () => {
    const one = await call({ idempotencyKey: 'race' });
    const answers = await Promise.all(
      Array.from({ length: 100 }, () => store().addInvocation({ ...one, requestId: fresh('request') })),
    );
    expect(new Set(answers.map(({ record }) => record.requestId)).size).toBe(1);
    expect(answers.filter(({ isNew }) => isNew)).toHaveLength(1);
  });

  it('that never ran are begun anew under their key, and only with the same payload', async () => {
    const one = await added({ idempotencyKey: 'again' });
    await store().endInvocation(one, { ...ENDED, status: 'failed', result: null, durationMs: null });
    const wanted = { ...one, requestId: fresh('request') };
    const other = await store().addInvocation({ ...wanted, payloadHash: 'another' });
    expect(other).toMatchObject({ isNew: false, record: { status: 'failed' } });
    const again = await store().addInvocation(wanted);
    expect(again).toEqual({ record: { ...one, fence: one.fence + 1 }, isNew: true });
    expect(await found(one)).toEqual(again.record);
    expect(await store().endInvocation(one, ENDED)).toBe(false);
  });

  it('that are lost are not begun anew', async () => {
    const one = await added({ idempotencyKey: 'lost' });
    await store().endInvocation(one, { ...ENDED, status: 'lost', result: null, durationMs: null });
    const again = await store().addInvocation({ ...one, requestId: fresh('request') });
    expect(again).toMatchObject({ isNew: false, record: { status: 'lost', requestId: one.requestId } });
  });

  it('give up their key a day after they were accepted, where they have ended', async () => {
    const one = await added({ idempotencyKey: 'daily' });
    const nextDay = {
      ...one,
      requestId: fresh('request'),
      createdAt: new Date(CREATED.getTime() + 86_400_000),
    };
    expect(await store().addInvocation(nextDay)).toMatchObject({ isNew: false });
    await store().endInvocation(one, ENDED);
    const justBefore = new Date(nextDay.createdAt.getTime() - 1);
    expect(await store().addInvocation({ ...nextDay, createdAt: justBefore })).toMatchObject({
      isNew: false,
    });
    expect(await store().addInvocation(nextDay)).toEqual({ record: nextDay, isNew: true });
    expect(await found(one)).toMatchObject({ idempotencyKey: null, result: ENDED.result });
  });
}

function testLeases({ suite: { store, fresh }, added, found, claimed }: Shared): void {
  it('are taken up once they are due, oldest first, and by one alone', async () => {
    const late = await added({ dueAt: new Date(3_000) });
    const early = { ...late, requestId: fresh('request'), dueAt: new Date(1_000) };
    const future = { ...late, requestId: fresh('request'), dueAt: new Date(5_001) };
    await store().addInvocation(early);
    await store().addInvocation(future);
    const want = [late, 9] as const;
    const both = await Promise.all([
      claimed(...want, new Date(5_000), LATER),
      claimed(...want, new Date(5_000), LATER),
    ]);
    const held = { status: 'running', dueAt: LATER, fence: 1, interrupted: false } as const;
    // Which of the two comes first, their connections decide.
    expect(both.toSorted((a, b) => b.length - a.length)).toEqual([
      [
        { ...early, ...held },
        { ...late, ...held },
      ],
      [],
    ]);
    expect(await found(early)).toEqual({ ...early, status: 'running', dueAt: LATER, fence: 1 });
  });

  it('are taken up in the number that is wanted', async () => {
    const one = await added();
    for (let i = 0; i < 4; i++) await store().addInvocation({ ...one, requestId: fresh('request') });
    expect(await claimed(one, 2, NOW, LATER)).toHaveLength(2);
    expect(await claimed(one, 9, NOW, LATER)).toHaveLength(3);
  });

  it('are taken over when a lease ends, and what the worker before says is refused', async () => {
    const one = await added();
    const want = [one, 1] as const;
    const [first] = await claimed(...want, NOW, new Date(NOW.getTime() + 30_000));
    expect(await claimed(...want, new Date(NOW.getTime() + 29_999), LATER)).toEqual([]);
    const [second] = await claimed(...want, new Date(NOW.getTime() + 30_000), LATER);
    expect(second).toMatchObject({ requestId: one.requestId, fence: 2, takeovers: 1, interrupted: true });
    if (!first || !second) throw new Error('nobody took it up');
    expect(await store().renewInvocations([first], LATER)).toEqual([]);
    expect(await store().deferInvocation(first, DEFERRED)).toBe(false);
    expect(await store().endInvocation(first, { ...ENDED, result: 'stale' })).toBe(false);
    expect(await store().endInvocation(second, ENDED)).toBe(true);
    expect(await found(one)).toMatchObject({ status: 'completed', result: ENDED.result });
  });

  it('of several connectors are taken up and renewed together', async () => {
    const [one, two] = [await added(), await added()];
    const wants = [one, two].map(({ tenantId, connectorId }) => ({
      ...{ tenantId, connectorId, limit: 2, maxConcurrency: 9 },
    }));
    const { claimed: both, full } = await store().claimInvocations(wants, NOW, LATER);
    expect(both.map(({ requestId }) => requestId).toSorted()).toEqual(
      [one.requestId, two.requestId].toSorted(),
    );
    expect(full).toEqual([]);
    const stale = both.map((held, i) => (i === 0 ? held : { ...held, fence: held.fence - 1 }));
    expect(await store().renewInvocations(stale, LATER)).toEqual([both[0]]);
    expect(await store().renewInvocations([], LATER)).toEqual([]);
  });

  it('stay with a worker that renews its lease', async () => {
    const one = await added();
    const want = [one, 1] as const;
    const [held] = await claimed(...want, NOW, new Date(NOW.getTime() + 30_000));
    expect(await store().renewInvocations([held ?? one], LATER)).toEqual([held]);
    expect(await claimed(...want, new Date(LATER.getTime() - 1), LATER)).toEqual([]);
  });

  it('wait until they are due again when a worker lets go of them', async () => {
    const one = await added();
    const want = [one, 1] as const;
    const [held] = await claimed(...want, NOW, LATER);
    expect(await store().deferInvocation(held ?? one, DEFERRED)).toBe(true);
    expect(await found(one)).toMatchObject({
      status: 'queued',
      failures: 1,
      dueAt: DEFERRED.dueAt,
      fence: 1,
    });
    expect(await claimed(...want, new Date(DEFERRED.dueAt.getTime() - 1), LATER)).toEqual([]);
    const [again] = await claimed(...want, DEFERRED.dueAt, LATER);
    expect(again).toMatchObject({ fence: 2, failures: 1, interrupted: false });
  });

  it('remember the run that a platform carries on', async () => {
    const one = await added();
    const want = [one, 1] as const;
    const [held] = await claimed(...want, NOW, LATER);
    const native = { kind: 'workflow', id: 'run-1' };
    await store().deferInvocation(held ?? one, { ...DEFERRED, status: 'running', native });
    expect(await found(one)).toMatchObject({ status: 'running', native });
    // It is nobody's lease that could be taken from him.
    await store().releaseInvocations(NOW);
    expect(await found(one)).toMatchObject({ dueAt: DEFERRED.dueAt });
    const [again] = await claimed(...want, DEFERRED.dueAt, LATER);
    expect(again).toMatchObject({ native, interrupted: false });
  });

  it('that ran are due at once when it is known that nobody runs them', async () => {
    const one = await added();
    await claimed(one, 1, NOW, LATER);
    await store().releaseInvocations(NOW);
    const [again] = await claimed(one, 1, NOW, LATER);
    expect(again).toMatchObject({ fence: 2, interrupted: true });
  });

  it('that a clock accepted which was set back since are due at once, and none that waits for its time', async () => {
    const soon = new Date(NOW.getTime() + 1);
    const ahead = await added({ createdAt: soon, dueAt: soon });
    const waits = await added({ createdAt: NOW, dueAt: soon });
    await store().releaseInvocations(NOW);
    expect(await found(ahead)).toMatchObject({ status: 'queued', dueAt: NOW });
    expect(await found(waits)).toMatchObject({ status: 'queued', dueAt: soon });
  });
}

function testEnds({ suite: { store, fresh }, added, claimed }: Shared): void {
  it('are known to have ended, or to be gone, by their ids alone', async () => {
    const [queued, running, ended, cancelled] = [await added(), await added(), await added(), await added()];
    await claimed(running, 1, NOW, LATER);
    await store().endInvocation(ended, ENDED);
    const { tenantId, connectorId, requestId } = cancelled;
    await store().cancelInvocation(tenantId, connectorId, requestId, { ...ENDED, status: 'cancelled' });
    const ids = [queued, running, ended, cancelled].map((one) => one.requestId);
    const gone = fresh('request');
    expect(await store().endedInvocations([...ids, gone])).toEqual([ended.requestId, requestId, gone]);
    expect(await store().endedInvocations([])).toEqual([]);
  });
}

function testListing({ suite: { store, fresh }, added }: Shared): void {
  it('are listed newest first, page after page, by function, state and time', async () => {
    const one = await added({ createdAt: new Date(1_000) });
    const others = [2_000, 3_000, 3_000, 4_000].map((at, i) => ({
      ...one,
      requestId: fresh('request'),
      createdAt: new Date(at),
      functionName: i === 1 ? 'other' : one.functionName,
    }));
    for (const other of others) await store().addInvocation(other);
    const [second, third, fourth, fifth] = others as [
      InvocationRecord,
      InvocationRecord,
      InvocationRecord,
      InvocationRecord,
    ];
    await store().endInvocation(fourth, { ...ENDED, status: 'failed', error: { name: 'E', message: 'm' } });
    const { tenantId, connectorId } = one;
    const list = (filter: object) => store().listInvocations(tenantId, connectorId, { limit: 9, ...filter });
    const ids = async (filter: object) => (await list(filter)).map(({ requestId }) => requestId);
    const newestFirst = [fifth, fourth, third, second, one].map(({ requestId }) => requestId);
    expect(await ids({})).toEqual(newestFirst);
    expect(await ids({ limit: 2 })).toEqual(newestFirst.slice(0, 2));
    expect(await ids({ after: fourth })).toEqual(newestFirst.slice(2));
    expect(await ids({ functionName: 'other' })).toEqual([third.requestId]);
    expect(await ids({ status: 'queued', functionName: one.functionName })).toEqual(
      [fifth, second, one].map(({ requestId }) => requestId),
    );
    expect(await ids({ since: new Date(2_000), until: new Date(4_000) })).toEqual(newestFirst.slice(1, 4));
    expect(await list({ status: 'failed' })).toEqual([
      {
        requestId: fourth.requestId,
        functionName: one.functionName,
        status: 'failed',
        failures: 0,
        native: null,
        error: { name: 'E', message: 'm' },
        durationMs: ENDED.durationMs,
        createdAt: fourth.createdAt,
        endedAt: ENDED.endedAt,
      },
    ]);
  });
}

function testForgetting({ suite: { store }, added, found }: Shared): void {
  it('are removed once they have expired, and not before', async () => {
    const one = await added();
    const expiresAt = new Date(50_000);
    await store().endInvocation(one, { ...ENDED, expiresAt });
    expect(await store().removeExpiredInvocations(expiresAt)).toBe(0);
    expect(await found(one)).toBeDefined();
    expect(await store().removeExpiredInvocations(new Date(50_001))).toBe(1);
    expect(await found(one)).toBeUndefined();
  });

  it('name their results in files before they go', async () => {
    const one = await added();
    await store().endInvocation(one, {
      ...ENDED,
      result: null,
      resultFile: 'a file',
      expiresAt: new Date(1),
    });
    const { tenantId, connectorId } = one;
    const told: unknown[] = [];
    await store().removeExpiredInvocations(new Date(2), async (files) => {
      expect(await found(one)).toMatchObject({ resultFile: 'a file' });
      told.push(...files);
    });
    expect(told).toEqual([{ tenantId, connectorId, resultFile: 'a file' }]);
    expect(await found(one)).toBeUndefined();
  });
}

const NOW = new Date(1_700_000_000_000);
const LATER = new Date(1_700_000_100_000);
const DEFERRED = { status: 'queued', failures: 1, native: null, dueAt: new Date(1_700_000_200_000) } as const;

const ENDED: InvocationEnd = {
  status: 'completed',
  result: { greeting: 'hello' },
  resultFile: null,
  error: null,
  logs: 'one line\n',
  durationMs: 12.5,
  endedAt: new Date(1_600_000_001_000),
  expiresAt: new Date(4_000_000_000_000),
};
