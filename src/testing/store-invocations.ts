import { describe, expect, it } from 'vitest';
import type { InvocationEnd, InvocationRecord } from '../connectors/serverless/invocations.ts';
import { invocation, type StoreSuite } from './store-suite.ts';

/** Invocations, from being queued to being forgotten. */
export function testInvocations({ store, fresh, stored }: StoreSuite): void {
  describe('invocations', () => {
    const call = async (patch: Partial<InvocationRecord> = {}) => {
      const { record } = await stored({ connectorType: 'serverless' });
      return invocation(record, { requestId: fresh('request'), ...patch });
    };

    it('come back as they were added, and as they ended', async () => {
      const one = await call({ payload: { ключ: [1, 'two', { __proto__: null }] } });
      expect(await store().addInvocation(one)).toEqual(one);
      const { tenantId, connectorId, requestId } = one;
      expect(await store().getInvocation(tenantId, connectorId, requestId)).toEqual(one);
      await store().markInvocationRunning(tenantId, requestId);
      expect(await store().getInvocation(tenantId, connectorId, requestId)).toEqual({
        ...one,
        status: 'running',
      });
      await store().endInvocation(tenantId, requestId, ENDED);
      expect(await store().getInvocation(tenantId, connectorId, requestId)).toEqual({ ...one, ...ENDED });
    });

    it('that ended stay as they ended', async () => {
      const one = await store().addInvocation(await call());
      const { tenantId, connectorId, requestId } = one;
      await store().endInvocation(tenantId, requestId, ENDED);
      await store().markInvocationRunning(tenantId, requestId);
      await store().endInvocation(tenantId, requestId, { ...ENDED, status: 'failed', result: 'late' });
      expect(await store().getInvocation(tenantId, connectorId, requestId)).toEqual({ ...one, ...ENDED });
    });

    it('under a key that is known answer the first one and store nothing', async () => {
      const first = await store().addInvocation(await call({ idempotencyKey: 'once' }));
      const second = { ...first, requestId: fresh('request'), payload: 'other' };
      expect(await store().addInvocation(second)).toEqual(first);
      const { tenantId, connectorId } = first;
      expect(await store().getInvocation(tenantId, connectorId, second.requestId)).toBeUndefined();
      const elsewhere = await call({ idempotencyKey: 'once' });
      expect(await store().addInvocation(elsewhere)).toEqual(elsewhere);
    });

    it('without a key are each their own', async () => {
      const first = await store().addInvocation(await call());
      const second = { ...first, requestId: fresh('request') };
      expect(await store().addInvocation(second)).toEqual(second);
    });

    it('under one key from many callers at once are one', async () => {
      const one = await call({ idempotencyKey: 'race' });
      const answers = await Promise.all(
        Array.from({ length: 20 }, () => store().addInvocation({ ...one, requestId: fresh('request') })),
      );
      expect(new Set(answers.map(({ requestId }) => requestId)).size).toBe(1);
    });

    it('cannot be added below a connector that is gone or of another tenant', async () => {
      const one = await call({ idempotencyKey: 'mine' });
      await store().addInvocation(one);
      const tenantId = fresh('tenant');
      const requestId = fresh('request');
      for (const foreign of [
        { ...one, requestId, tenantId },
        { ...one, requestId, tenantId, idempotencyKey: null },
        { ...one, requestId, connectorId: fresh('id') },
      ]) {
        await expect(store().addInvocation(foreign)).rejects.toMatchObject({ code: 'not_found' });
      }
      expect(await store().getInvocation(one.tenantId, one.connectorId, requestId)).toBeUndefined();
    });

    it('are out of reach for another tenant and from another connector', async () => {
      const one = await store().addInvocation(await call());
      const { tenantId, connectorId, requestId } = one;
      const other = fresh('tenant');
      await store().markInvocationRunning(other, requestId);
      await store().endInvocation(other, requestId, ENDED);
      expect(await store().getInvocation(tenantId, connectorId, requestId)).toEqual(one);
      expect(await store().getInvocation(other, connectorId, requestId)).toBeUndefined();
      const sibling = (await stored()).record.connectorId;
      expect(await store().getInvocation(tenantId, sibling, requestId)).toBeUndefined();
    });

    it('that have not ended are found, oldest first', async () => {
      const at = (ms: number) => new Date(ms);
      const late = await store().addInvocation(await call({ createdAt: at(3_000) }));
      const early = await store().addInvocation(await call({ createdAt: at(1_000) }));
      const ended = await store().addInvocation(await call({ createdAt: at(2_000) }));
      await store().markInvocationRunning(late.tenantId, late.requestId);
      await store().endInvocation(ended.tenantId, ended.requestId, ENDED);
      const found = await store().unfinishedInvocations();
      const times = found.map(({ createdAt }) => createdAt.getTime());
      expect(times).toEqual(times.toSorted((a, b) => a - b));
      const ids = found.map(({ requestId }) => requestId);
      expect(ids).toEqual(expect.arrayContaining([early.requestId, late.requestId]));
      expect(ids).not.toContain(ended.requestId);
    });

    it('are removed once they have expired, and not before', async () => {
      const one = await store().addInvocation(await call());
      const { tenantId, connectorId, requestId } = one;
      const expiresAt = new Date(50_000);
      await store().endInvocation(tenantId, requestId, { ...ENDED, expiresAt });
      expect(await store().removeExpiredInvocations(expiresAt)).toBe(0);
      expect(await store().getInvocation(tenantId, connectorId, requestId)).toBeDefined();
      expect(await store().removeExpiredInvocations(new Date(50_001))).toBe(1);
      expect(await store().getInvocation(tenantId, connectorId, requestId)).toBeUndefined();
    });
  });
}

const ENDED: InvocationEnd = {
  status: 'completed',
  result: { greeting: 'hello' },
  error: null,
  logs: 'one line\n',
  durationMs: 12.5,
  endedAt: new Date(1_600_000_001_000),
  expiresAt: new Date(4_000_000_000_000),
};
