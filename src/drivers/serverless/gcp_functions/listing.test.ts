import { describe, expect, it } from 'vitest';
import type { OpenContext } from '../../../driver.ts';
import { NEVER } from '../../../policies/pipeline.ts';
import { testClock } from '../../../testing/clock.ts';
import { statusServer } from '../../../testing/faulty-servers.fixture.ts';
import { clientsOfDouble, failureOf, INVOCATION } from './clients.fixture.ts';

// Wire: the Cloud Run Admin API is a double that is held against the protos which @google-cloud/run carries.
const { google, start, closing } = await clientsOfDouble();
const asked = (since: number): readonly string[] =>
  google.requests.slice(since).filter((line) => line.startsWith('GET /v2/'));

describe('the functions of a project', () => {
  it('are its Cloud Run services, over all pages, with what is known of each, and those of the options', async () => {
    for (const name of ['a', 'b', 'c', 'd', 'e'])
      google.services.set(name, { uri: `http://127.0.0.1:9/${name}` });
    google.services.set('bare', {
      uri: '',
      more: { description: 'does little', template: undefined, buildConfig: undefined },
    });
    const client = await start({
      ...google.options,
      functions: { a: {}, other: 'http://127.0.0.1:9/other' },
    });
    const since = google.requests.length;
    const found = await client.listFunctions(NEVER);
    expect(found.map(({ name }) => name)).toEqual(['a', 'b', 'c', 'd', 'e', 'bare', 'other']);
    expect(found[0]).toEqual({
      name: 'a',
      runtime: 'nodejs22',
      memoryMb: 512,
      timeoutSeconds: 300,
      lastModified: new Date('2026-11-02T08:00:00.123Z'),
      version: 'a-00003-abc',
    });
    expect(found[5]).toMatchObject({ name: 'bare', description: 'does little' });
    expect(found[5]).not.toHaveProperty('memoryMb');
    expect(asked(since)).toHaveLength(3);
    expect(google.violations).toEqual([]);
    await expect(client.invoke('bare', null, INVOCATION, NEVER)).rejects.toMatchObject({ code: 'not_found' });
  });

  it('end where the pages do not', async () => {
    const client = await start(google.options);
    google.fail({ match: /pageSize=100/, body: '{"services":[],"nextPageToken":"again"}', times: 1000 });
    const since = google.requests.length;
    await expect(client.listFunctions(NEVER)).rejects.toMatchObject({ code: 'backend_error' });
    expect(asked(since)).toHaveLength(2);
    google.recover();
  });

  it('cannot be asked of an endpoint, which has those of the options alone', async () => {
    const server = closing(await statusServer(200));
    const none = await start({ endpoint: server.url }, { authType: 'none' });
    await expect(none.listFunctions(NEVER)).rejects.toMatchObject({
      code: 'unsupported',
      details: { capability: 'list' },
    });
    const named = await start({ endpoint: server.url, functions: { b: {}, a: {} } }, { authType: 'none' });
    expect(await named.listFunctions(NEVER)).toEqual([{ name: 'b' }, { name: 'a' }]);
  });
});

describe('the URL of a function', () => {
  const clockOf = (clock: OpenContext['clock']): Partial<OpenContext> => ({ clock });

  it('is asked once by all who wait, and again after five minutes', async () => {
    const server = closing(await statusServer(200, { fine: true }));
    google.services.set('shared', { uri: `${server.url}/shared` });
    const clock = testClock();
    const client = await start(google.options, clockOf(clock));
    const since = google.requests.length;
    const call = () => client.invoke('shared', null, INVOCATION, NEVER);
    for (const { result } of await Promise.all(Array.from({ length: 20 }, call)))
      expect(result).toEqual({ fine: true });
    await clock.advance(299_999);
    await call();
    expect(asked(since)).toHaveLength(1);
    await clock.advance(1);
    await call();
    expect(asked(since)).toHaveLength(2);
  });

  it('is asked again where nobody answered at the one before', async () => {
    const gone = closing(await statusServer(404, 'no such service'));
    google.services.set('moved', { uri: gone.url });
    const client = await start(google.options);
    await expect(client.invoke('moved', null, INVOCATION, NEVER)).rejects.toMatchObject({
      code: 'not_found',
    });
    const server = closing(await statusServer(200, { moved: true }));
    google.services.set('moved', { uri: server.url });
    expect((await client.invoke('moved', null, INVOCATION, NEVER)).result).toEqual({ moved: true });
  });

  it('that could not be had is asked again by the next, and a caller who gives up leaves it to the others', async () => {
    const server = closing(await statusServer(200, { fine: true }));
    google.services.set('late', { uri: server.url });
    const client = await start(google.options);
    google.fail({ match: /services\/late/, status: 503 });
    expect(await failureOf(client.invoke('late', null, INVOCATION, NEVER))).toMatchObject({
      code: 'unavailable',
      details: { sent: false, backend_status: 503 },
    });
    const caller = new AbortController();
    const given = client.invoke('late', null, INVOCATION, caller.signal);
    const kept = client.invoke('late', null, INVOCATION, NEVER);
    caller.abort();
    await expect(given).rejects.toMatchObject({ code: 'cancelled' });
    expect((await kept).result).toEqual({ fine: true });
  });

  it('is not waited for longer than half a minute', async () => {
    const clock = testClock();
    const client = await start(google.options, clockOf(clock));
    google.services.set('silent', { uri: 'http://127.0.0.1:9' });
    google.fail({ match: /services\/silent/, silent: true });
    const reached = google.reached(/services\/silent/);
    const late = failureOf(client.invoke('silent', null, { ...INVOCATION, timeoutMs: 60_000 }, NEVER));
    await reached;
    await clock.advance(30_000);
    expect(await late).toMatchObject({ code: 'timeout', details: { sent: false } });
  });

  it('is that of a service: what no service is called is refused before anything is asked', async () => {
    const client = await start(google.options);
    const since = google.requests.length;
    for (const name of ['Upper', 'under_score', 'a.b', 'a:b', '1st', 'ends-', 'x'.repeat(50), 'constructor_'])
      await expect(client.invoke(name, null, INVOCATION, NEVER)).rejects.toMatchObject({
        code: 'invalid_argument',
        issues: [{ path: 'name' }],
      });
    expect(asked(since)).toEqual([]);
  });
});
