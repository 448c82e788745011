import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { echo, gate, type Body } from '../connectors/serverless/functions.fixture.ts';
import type { InvocationEnd } from '../connectors/serverless/invocations.ts';
import { ConnectorError } from '../errors/error.ts';
import { SqlStore } from '../store/sql-store.ts';
import { noPostgres, query } from '../testing/postgres.fixture.ts';
import { usePostgres } from '../testing/postgres-suite.fixture.ts';
import { silentLog } from './log.ts';
import { serverOn, type SharedFiles } from './invocations-shared.fixture.ts';

/** What another server did is known within this time; a scan of what is due comes once a second. */
const SOON = { timeout: 3_000, interval: 10 };
const LARGE = 'x'.repeat(300_000);
const large: Body = async () => ({ status: 'completed', result: LARGE });

describe.skipIf(noPostgres !== undefined)('invocations of two servers on one database', () => {
  const postgres = usePostgres();

  const closing: (() => unknown)[] = [];
  afterEach(async () => {
    for (const close of closing.splice(0).toReversed()) await close();
  });

  const server = async (...given: Parameters<typeof serverOn>) => {
    const made = await serverOn(...given);
    closing.push(() => made.registry.close());
    return made;
  };

  /** Two of them, and one connector as both see it. */
  async function both(body: Body, options: Parameters<typeof serverOn>[2] = {}, spec = {}) {
    const url = await postgres.database();
    const [a, b] = [await server(url, body, options), await server(url, body, options)];
    const made = await a.registry.createServerlessConnector({
      ...{ tenantId: 'acme', name: 'f', provider: 'proven', config: { maxRetries: 0 } },
      ...spec,
    });
    const here = await a.functionsOf(made.connectorId);
    const there = await b.functionsOf(made.connectorId);
    return { url, a, b, here, there, calls: () => [...a.calls, ...b.calls] };
  }

  it('under one key run once, and all callers of both have the one answer', async () => {
    const { here, there, calls } = await both(async (payload) => {
      await nextTurn();
      return { status: 'completed', result: [payload, Math.random()] };
    });
    for (let i = 0; i < 20; i++) {
      const idempotencyKey = `key ${i}`;
      const answers = await Promise.all(
        Array.from({ length: 10 }, (_, n) => (n % 2 ? here : there).invoke('f', i, { idempotencyKey })),
      );
      expect(new Set(answers.map(({ result }) => JSON.stringify(result))).size).toBe(1);
    }
    expect(calls()).toHaveLength(20);
  });

  it('are waited for on the one and run on the other', async () => {
    const { body, open } = gate();
    const { a, here, there } = await both(body);
    const { requestId } = await here.invoke('f', 7, { async: true });
    await vi.waitFor(() => expect(a.calls).toEqual([requestId]), SOON);
    const waited = there.waitForResult(requestId, { timeoutSeconds: 60 });
    open();
    expect(await waited).toMatchObject({ status: 'completed', result: 7 });
  });

  it('are cancelled on the one, and ended on the other at once', async () => {
    let aborted = false;
    const { a, here, there } = await both(async (_payload, _invocation, signal) => {
      await once(signal, 'abort');
      aborted = true;
      throw signal.reason;
    });
    const { requestId } = await here.invoke('f', 1, { async: true });
    await vi.waitFor(() => expect(a.calls).toHaveLength(1), SOON);
    const waited = here.waitForResult(requestId, { timeoutSeconds: 60 });
    expect(await there.cancel(requestId)).toMatchObject({ status: 'cancelled' });
    expect(await waited).toMatchObject({ status: 'cancelled' });
    await vi.waitFor(() => expect(aborted).toBe(true), SOON);
  });

  it('of one connector are never more at once than it may have, on both together', async () => {
    let [running, most] = [0, 0];
    const counted: Body = async (payload) => {
      most = Math.max(most, ++running);
      for (let i = 0; i < 5; i++) await nextTurn();
      running -= 1;
      return { status: 'completed', result: payload };
    };
    const { here, there, calls } = await both(counted, {}, { maxConcurrency: 3 });
    const accepted = await Promise.all(
      Array.from({ length: 60 }, (_, i) => (i % 2 ? here : there).invoke('f', i, { async: true })),
    );
    for (const { requestId } of accepted) {
      expect(await here.waitForResult(requestId, { timeoutSeconds: 60 })).toMatchObject({
        status: 'completed',
      });
    }
    expect(calls()).toHaveLength(60);
    expect(most).toBe(3);
  });

  it('that one server has no turn for are taken up by the other, which accepted none of them', async () => {
    const { body, open } = gate();
    const { a, b, here, there } = await both(body, { maxInvocations: 2 });
    const accepted = await Promise.all(
      Array.from({ length: 4 }, (_, i) => here.invoke('f', i, { async: true })),
    );
    // One server has two turns, and half of them for one tenant.
    await vi.waitFor(() => expect([a.calls.length, b.calls.length]).toEqual([1, 1]), SOON);
    open();
    for (const { requestId } of accepted)
      expect(await there.waitForResult(requestId)).toMatchObject({ status: 'completed' });
  });

  it('under one key are answered as they ended on the server that took them over, not as the first one would have it', async () => {
    const { promise: stood, resolve: goOn } = Promise.withResolvers<void>();
    const { url, a, here } = await both(async () => {
      await stood;
      throw new ConnectorError('timeout', 'seen by the first one alone');
    });
    const answered = here.invoke('f', 1, { idempotencyKey: 'once' }).catch((error: unknown) => error);
    await vi.waitFor(() => expect(a.calls).toHaveLength(1), SOON);
    const [requestId = ''] = a.calls;
    const store = await SqlStore.open({ databaseUrl: url });
    closing.push(() => store.close());
    const { tenantId, connectorId } = here;
    const later = new Date(Date.now() + 60_000);
    const want = { tenantId, connectorId, limit: 1, maxConcurrency: 9 };
    const { claimed } = await store.claimInvocations([want], later, new Date(later.getTime() + 60_000));
    goOn();
    const end: InvocationEnd = {
      ...{
        status: 'lost',
        result: null,
        resultFile: null,
        error: { name: 'LostError', message: 'taken over' },
      },
      ...{ logs: null, durationMs: null, endedAt: later, expiresAt: new Date(later.getTime() + 60_000) },
    };
    const [second] = claimed;
    expect(second && (await store.endInvocation(second, end))).toBe(true);
    expect(await answered).toMatchObject({
      ...{ code: 'backend_error', message: expect.stringContaining('taken over') as string },
      details: { requestId, status: 'lost' },
    });
  });

  it('that a server cannot end before it closes are taken over at once, and lost under a key', async () => {
    const { promise: letGo, resolve: end } = Promise.withResolvers<undefined>();
    const deaf: Body = async () => {
      await letGo;
      return { status: 'completed', result: 'late' };
    };
    const url = await postgres.database();
    const a = await server(url, deaf, { graceMs: 0 });
    const made = await a.registry.createServerlessConnector({
      ...{ tenantId: 'acme', name: 'f', provider: 'proven', config: { maxRetries: 0 } },
    });
    const free = await made.invoke('f', 1, { async: true });
    const keyed = await made.invoke('f', 2, { async: true, idempotencyKey: 'once' });
    await vi.waitFor(() => expect(a.calls).toHaveLength(2), SOON);
    const b = await server(url, echo);
    const there = await b.functionsOf(made.connectorId);
    await a.registry.close();
    expect(await there.waitForResult(free.requestId, { timeoutSeconds: 5 })).toMatchObject({
      status: 'completed',
      result: 1,
    });
    expect(await there.waitForResult(keyed.requestId, { timeoutSeconds: 5 })).toMatchObject({
      status: 'lost',
    });
    end(undefined);
    expect(b.calls).toEqual([free.requestId]);
  });

  it('that wait when a server closes are left to the other', async () => {
    const { body, open } = gate();
    const { a, b, here, there } = await both(body, { graceMs: 10_000 }, { maxConcurrency: 1 });
    const accepted = await Promise.all(
      Array.from({ length: 3 }, (_, i) => here.invoke('f', i, { async: true })),
    );
    await vi.waitFor(() => expect(a.calls.length + b.calls.length).toBe(1), SOON);
    await vi.waitFor(() => expect(a.registry.gauges().servers).toBe(2), { timeout: 8_000 });
    const [holder, other] = a.calls.length === 1 ? [a, b] : [b, a];
    const closed = holder.registry.close();
    open();
    await closed;
    expect(holder.calls).toHaveLength(1);
    const left = holder === a ? there : here;
    for (const { requestId } of accepted)
      expect(await left.waitForResult(requestId)).toMatchObject({ status: 'completed' });
    expect(other.calls).toHaveLength(2);
  }, 20_000);

  it('are not waited for any longer once a server leaves', async () => {
    const { body, open } = gate();
    const { a, b, here, there } = await both(body);
    const { requestId } = await here.invoke('f', 1, { async: true });
    const first = here.invoke('f', 2, { idempotencyKey: 'one' });
    await vi.waitFor(() => expect(a.calls).toHaveLength(2), SOON);
    const polled = there.waitForResult(requestId, { timeoutSeconds: 600 });
    const second = there.invoke('f', 2, { idempotencyKey: 'one' });
    const failed = expect(second).rejects.toMatchObject({ code: 'unavailable', retryAfterMs: 1_000 });
    b.registry.leave();
    expect(await polled).toMatchObject({ status: 'running' });
    await failed;
    open();
    expect(await first).toMatchObject({ result: 2 });
  });

  it('refuse what a worker says whose lease another has, be it in the database alone', async () => {
    const { body, open } = gate();
    const warned: string[] = [];
    const log = { ...silentLog, warn: (message: string) => void warned.push(message) };
    const { url, a, here, there } = await both(body, { log });
    const { requestId } = await here.invoke('f', 1, { async: true });
    await vi.waitFor(() => expect(a.calls).toHaveLength(1), SOON);
    const store = await SqlStore.open({ databaseUrl: url });
    closing.push(() => store.close());
    const { tenantId, connectorId } = here;
    const later = new Date(Date.now() + 60_000);
    const want = { tenantId, connectorId, limit: 1, maxConcurrency: 9 };
    const { claimed } = await store.claimInvocations([want], later, new Date(later.getTime() + 60_000));
    expect(claimed).toMatchObject([{ requestId, fence: 2, interrupted: true }]);
    open();
    await vi.waitFor(() => expect(warned).toEqual([expect.stringMatching(/another worker has/)]), SOON);
    const end: InvocationEnd = {
      ...{ status: 'completed', result: 'of the second', resultFile: null, error: null, logs: null },
      ...{ durationMs: 1, endedAt: later, expiresAt: new Date(later.getTime() + 60_000) },
    };
    const [second] = claimed;
    expect(second && (await store.endInvocation(second, end))).toBe(true);
    expect(await there.waitForResult(requestId)).toMatchObject({ result: 'of the second' });
  });

  describe('whose results are large', () => {
    it('stay in their rows where no connector is named, and are read from either', async () => {
      const { url, here, there } = await both(large);
      const { requestId } = await here.invoke('f', 1, { async: true });
      expect(await there.waitForResult(requestId)).toMatchObject({ result: LARGE });
      expect(await query(url, `select outcome::json ->> 'resultFile' as file from invocations`)).toEqual([
        { file: null },
      ]);
    });

    /** Two servers that keep results in one file connector. */
    async function filed() {
      const files: SharedFiles = { folder: mkdtempSync(join(tmpdir(), 'shared-files-')), isAway: false };
      closing.push(() => rmSync(files.folder, { recursive: true, force: true }));
      const url = await postgres.database();
      const first = await server(url, echo, { files });
      const store = await first.registry.createFileConnector({
        ...{ tenantId: 'ops', name: 'results', provider: 'shared', connectorId: 'kept-here' },
        ...{ config: { maxRetries: 0 } },
      });
      const options = { files, resultsConnector: store.connectorId };
      const [a, b] = [await server(url, large, options), await server(url, large, options)];
      const here = await a.registry.createServerlessConnector({
        ...{ tenantId: 'Acme', name: 'f', provider: 'proven', resultTtlSeconds: 60 },
      });
      const there = await b.functionsOf(here.connectorId);
      const paths = async () =>
        (await store.listFiles('/', { recursive: true })).files.map(({ path }) => path);
      return { url, files, a, b, here, there, paths };
    }

    it('lie in the connector that is named, are read from either, and go with their connector', async () => {
      const { a, here, there, paths } = await filed();
      const { requestId } = await here.invoke('f', 1, { async: true });
      expect(await there.waitForResult(requestId)).toMatchObject({ status: 'completed', result: LARGE });
      expect(await paths()).toEqual([
        expect.stringMatching(
          new RegExp(`^results/[\\da-f-]{36}/acme=8/${here.connectorId}/${requestId}\\.1\\.\\d+\\.json$`),
        ),
      ]);
      await a.registry.delete(here.connectorId);
      await vi.waitFor(async () => expect(await paths()).toEqual([]), SOON);
    });

    it('stay in their rows while that connector does not take them', async () => {
      const { files, here, there, paths } = await filed();
      files.isAway = true;
      const { requestId } = await here.invoke('f', 1, { async: true });
      expect(await there.waitForResult(requestId)).toMatchObject({ status: 'completed', result: LARGE });
      files.isAway = false;
      expect(await paths()).toEqual([]);
    });

    it('are unavailable, not lost, while that connector cannot be asked', async () => {
      const { files, here, there } = await filed();
      const { requestId } = await here.invoke('f', 1, { async: true });
      await there.waitForResult(requestId);
      files.isAway = true;
      await expect(there.getResult(requestId)).rejects.toMatchObject({ code: 'unavailable' });
      files.isAway = false;
      expect(await there.getResult(requestId)).toMatchObject({ result: LARGE });
    });

    it('are not taken by a connector that is none, keeps no files, or keeps them on one server', async () => {
      const { url, a, here } = await filed();
      await a.registry.createFileConnector({
        ...{ tenantId: 'ops', name: 'own', provider: 'memory', connectorId: 'on-one-server' },
      });
      for (const [resultsConnector, why] of [
        ['nobody', /CONNECTORS_RESULTS_CONNECTOR .* there is none with the id "nobody"/],
        [here.connectorId, /CONNECTORS_RESULTS_CONNECTOR .* is the id of a file connector/],
        ['on-one-server', /CONNECTORS_RESULTS_CONNECTOR .* "on-one-server" keeps its files on one/],
      ] as const) {
        const opened = serverOn(url, echo, { resultsConnector });
        await expect(opened).rejects.toMatchObject({ code: 'invalid_argument' });
        await expect(opened).rejects.toThrow(why);
      }
    });

    it('are not within the reach of a tenant: their connector stays, leads nowhere else, and nobody has a key of it', async () => {
      const { url, a } = await filed();
      const { registry } = a;
      const refused = async (done: Promise<unknown>, why: RegExp) => {
        await expect(done).rejects.toMatchObject({ code: 'invalid_state' });
        await expect(done).rejects.toThrow(why);
      };
      const so = (what: string) =>
        new RegExp(
          `^connector kept-here keeps .*, so ${what}.*; name another one in CONNECTORS_RESULTS_CONNECTOR`,
        );
      await refused(registry.delete('kept-here'), so('it cannot be removed'));
      await refused(registry.clearTenant('ops'), so('it cannot be removed'));
      await refused(registry.forTenant('ops').delete('kept-here'), so('it cannot be removed'));
      await refused(
        registry.update('kept-here', { config: { endpoint: 'https://elsewhere.example' } }),
        so('its endpoint and options cannot change'),
      );
      await refused(
        registry.keys.create({ tenantId: 'ops', role: 'reader' }),
        so('tenant "ops" can have no keys'),
      );
      // To others it is what it always was.
      expect(await registry.forTenant('acme').delete('kept-here')).toBe(false);
      await registry.update('kept-here', { name: 'results of all', config: { timeoutSeconds: 5 } });
      // A server without the setting makes one all the same.
      const other = await server(url, echo);
      const { record } = await other.registry.keys.create({ tenantId: 'ops', role: 'reader' });
      const opened = () => serverOn(url, echo, { resultsConnector: 'kept-here' });
      await expect(opened()).rejects.toMatchObject({ code: 'invalid_argument' });
      await expect(opened()).rejects.toThrow(
        new RegExp(
          `CONNECTORS_RESULTS_CONNECTOR .* tenant "ops" of "kept-here" has key ${record.keyId}: revoke it`,
        ),
      );
    });
  });
});
