import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { inspect } from 'node:util';
import { afterAll, afterEach, describe, expect, it } from 'vitest';
import { ConnectorError, type VectorOpenContext } from '../../../driver.ts';
import { NEVER } from '../../../policies/pipeline.ts';
import {
  blackHole,
  closedPort,
  garbage,
  nonsense,
  selfSigned,
  statusServer,
} from '../../../testing/faulty-servers.fixture.ts';
import { vectorContext } from '../../../testing/vector-suite.ts';
import driver from './index.ts';
import { pineconeDouble } from './pinecone.fixture.ts';

const KEY = 'pcsk_worthless-5d1c';
const scratch = mkdtempSync(path.join(tmpdir(), 'pinecone-'));
const double = await pineconeDouble({ apiKey: KEY });
await double.createIndex('docs', 3, 'cosine');
const open: { close(): Promise<void> }[] = [];
afterEach(async () => {
  for (const one of open.splice(0).toReversed()) await one.close();
});
afterAll(async () => {
  await double.close();
  rmSync(scratch, { recursive: true, force: true });
});

async function start(
  options: Readonly<Record<string, unknown>> = {},
  context: Partial<VectorOpenContext> = {},
) {
  const client = await driver.open(
    driver.options.parse({ endpoint: double.endpoint, api_key: KEY, index: 'docs', ...options }),
    { ...vectorContext(scratch, 3, 'cosine'), ...context },
  );
  open.push(client);
  return client;
}
async function failureOf(attempt: Promise<unknown>): Promise<unknown> {
  return attempt.then(
    () => undefined,
    (error: unknown) => error,
  );
}
const hostOf = (url: string): string => new URL(url).host;
const count = async (client: Awaited<ReturnType<typeof start>>) => client.count(undefined, NEVER);

describe('opening fails', () => {
  it('as auth_failed for a wrong key, which is nowhere in the error', async () => {
    const error = await failureOf(start({ api_key: 'pcsk_wrong-7c2e' }));
    expect(error).toMatchObject({ code: 'auth_failed' });
    expect(inspect(error, { depth: 9, showHidden: true })).not.toContain('pcsk_wrong-7c2e');
  });

  it('as unavailable where nobody listens, be it the control plane or the index', async () => {
    const { url } = await closedPort();
    for (const options of [{ endpoint: url }, { host: hostOf(url) }])
      await expect(start(options)).rejects.toMatchObject({ code: 'unavailable' });
  });

  it('as unavailable naming TLS where the certificate is not to be trusted', async () => {
    const server = await selfSigned();
    open.push(server);
    await expect(start({ endpoint: server.url })).rejects.toMatchObject({
      code: 'unavailable',
      message: expect.stringContaining('TLS'),
    });
  });

  it('as backend_error where something else answers, be it the control plane or the index', async () => {
    for (const server of [await nonsense(), await garbage()]) {
      open.push(server);
      for (let i = 0; i < 4; i++) {
        await expect(start({ endpoint: server.url })).rejects.toMatchObject({ code: 'backend_error' });
        await expect(start({ host: hostOf(server.url) })).rejects.toMatchObject({ code: 'backend_error' });
      }
    }
  });

  it('as backend_error for a redirect, so that the key goes nowhere else', async () => {
    const elsewhere = await statusServer(302, '', { location: double.endpoint });
    open.push(elsewhere);
    await expect(start({ endpoint: elsewhere.url })).rejects.toMatchObject({ code: 'backend_error' });
  });

  it('with the signal, for its reason, where nobody answers', async () => {
    const hole = await blackHole();
    open.push(hole);
    for (const options of [{ endpoint: hole.url }, { host: hostOf(hole.url) }]) {
      const giving = new AbortController();
      const reason = new ConnectorError('timeout', 'took too long');
      const stage: VectorOpenContext['stage'] = async (name, step) => {
        const running = step();
        if (name === ('endpoint' in options ? 'credentials' : 'collection')) giving.abort(reason);
        return running;
      };
      await expect(start(options, { signal: giving.signal, stage })).rejects.toBe(reason);
    }
  });
});

describe('a call fails', () => {
  it.each([
    [400, { code: 3, message: 'no: because' }, 'backend_error', {}],
    [401, 'no: because', 'auth_failed', {}],
    [403, 'no: because', 'permission_denied', {}],
    [429, { code: 8, message: 'no: because' }, 'rate_limited', { retryAfterMs: 30_000 }],
    [500, { code: 13, message: 'no: because' }, 'backend_error', {}],
    [503, { error: { code: 'SERVICE_UNAVAILABLE', message: 'no: because' }, status: 503 }, 'unavailable', {}],
  ])('with status %d as the code says, once, with what Pinecone said', async (status, body, code, more) => {
    const client = await start();
    const before = double.requests.length;
    double.failNext({ status, body, headers: { 'retry-after': '30' } });
    await expect(count(client)).rejects.toMatchObject({
      code,
      message: expect.stringContaining('no: because'),
      ...more,
    });
    expect(double.requests.length - before).toBe(1);
    expect(await count(client)).toBe(0);
  });

  it('as backend_error for answers that are none', async () => {
    const client = await start();
    const query = { topK: 1, includeValues: false, includeMetadata: false };
    const records = [{ id: 'a', values: [1, 0, 0] }];
    for (const body of [
      '<html>It works!</html>',
      '{',
      '',
      '[]',
      '{"matches":[{"id":7}]}',
      '{"matches":"yes"}',
    ]) {
      double.failNext({ body });
      await expect(client.search([1, 0, 0], query, NEVER)).rejects.toMatchObject({ code: 'backend_error' });
      double.failNext({ body });
      await expect(client.upsert(records, NEVER)).rejects.toMatchObject({ code: 'backend_error' });
      double.failNext({ body });
      await expect(client.fetch(['a'], NEVER)).rejects.toMatchObject({ code: 'backend_error' });
      double.failNext({ body });
      await expect(count(client)).rejects.toMatchObject({ code: 'backend_error' });
    }
  });

  it('as not_found once the index is removed, from check as well', async () => {
    const own = await pineconeDouble({ apiKey: KEY });
    open.push(own);
    await own.createIndex('docs', 3, 'cosine');
    const client = await start({ endpoint: own.endpoint });
    await client.upsert([{ id: 'a', values: [1, 0, 0] }], NEVER);
    own.removeIndex('docs');
    const gone = { code: 'not_found', message: expect.stringContaining('no Pinecone index docs') };
    await expect(client.check(NEVER)).rejects.toMatchObject(gone);
    await expect(client.delete({ all: true }, NEVER)).rejects.toMatchObject(gone);
    await expect(client.upsert([{ id: 'a', values: [1, 0, 0] }], NEVER)).rejects.toMatchObject(gone);
  });

  it('with the signal, for its reason, where the index stops answering', async () => {
    const client = await start();
    const giving = new AbortController();
    const reason = new ConnectorError('timeout', 'took too long');
    const attempt = client.fetch(['a'], giving.signal);
    giving.abort(reason);
    await expect(attempt).rejects.toBe(reason);
  });
});

describe('check', () => {
  it('says which index and namespace answer, and that a key is sent in clear', async () => {
    const client = await start({ namespace: 'n' });
    expect(await client.check(NEVER)).toEqual([
      { level: 'info', message: 'index docs (managed), namespace n' },
      { level: 'warn', message: 'the API key is sent in clear; use an endpoint with https' },
      { level: 'info', message: "0 records by the index's statistics" },
    ]);
  });
});
