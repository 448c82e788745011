import { describe, expect, it } from 'vitest';
import { NEVER } from '../../../policies/pipeline.ts';
import { testClock } from '../../../testing/clock.ts';
import { workerOutcome } from './answer.ts';
import { failureOf, invocation, platform } from './open.fixture.ts';

const { real, open } = await platform();
// 18:30 UTC
const clock = testClock(Date.UTC(2026, 10, 28, 18, 30));
const PAGE = (number: number) => `<!DOCTYPE html><html><head><title>x | Worker threw exception</title></head>
  <body><div id="cf-wrapper"><div id="cf-error-details" class="p-0"><h1><span>Error</span>
  <span>${number}</span></h1></div></div></body></html>`;

type Answered = {
  readonly status: number;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string;
};

/** What a Worker that answers so is for the driver. */
async function called(answer: Answered): Promise<unknown> {
  const client = await open({ endpoint: `${real.url}/functions/{name}` }, { clock });
  return await client.invoke('answers', answer, invocation(), NEVER);
}
const refused = (answer: Answered) => failureOf(called(answer));

describe('what a Worker answers', () => {
  it.each([
    ['JSON', { status: 200, headers: { 'content-type': 'application/json' }, body: '{"a":[1]}' }, { a: [1] }],
    ['text', { status: 201, headers: { 'content-type': 'text/plain' }, body: 'done' }, 'done'],
    ['nothing', { status: 204 }, null],
    [
      'a number beyond precision',
      { status: 200, headers: { 'content-type': 'application/json' }, body: '1e2' },
      100,
    ],
  ] as const)('with success, %s, is its result', async (_what, answer, result) => {
    expect(await called(answer)).toEqual({ status: 'completed', result });
  });

  it('with success, but what is no JSON, failed', async () => {
    const answer = { status: 200, headers: { 'content-type': 'application/json' }, body: '{"a":' };
    expect(await called(answer)).toMatchObject({ status: 'failed', error: { name: 'ResultError' } });
  });

  it('as an error of its own is what it threw', async () => {
    const body = JSON.stringify({
      error: { name: 'OrderError', message: 'sold out', stack: 'OrderError: …' },
    });
    const answer = { status: 422, headers: { 'content-type': 'application/json' }, body };
    expect(await called(answer)).toEqual({
      status: 'failed',
      error: { name: 'OrderError', message: 'sold out', stack: 'OrderError: …' },
    });
  });

  it('with 500 and any text failed', async () => {
    expect(await called({ status: 500, body: 'Internal Server Error' })).toEqual({
      status: 'failed',
      error: { name: 'HttpError', message: 'answered 500: Internal Server Error' },
    });
  });

  it('as a redirect is refused, and not followed', async () => {
    const answer = { status: 302, headers: { location: `${real.url}/functions/echo` } };
    expect(await refused(answer)).toMatchObject({ code: 'backend_error' });
  });

  it('where it throws and nobody catches it, in a development server, is what it threw', async () => {
    const client = await open({ endpoint: `${real.url}/functions/{name}` });
    expect(await client.invoke('throws', null, invocation(), NEVER)).toEqual({
      status: 'failed',
      error: {
        name: 'TypeError',
        message: 'on purpose, and on two lines',
        stack: expect.stringMatching(/^TypeError: on purpose,\n/) as string,
      },
    });
  });
});

describe('what Cloudflare answers in the place of a Worker', () => {
  const FORMS: Readonly<Record<string, (number: number) => Omit<Answered, 'status'>>> = {
    'a line': (number) => ({ body: `error code: ${number}\n` }),
    JSON: (number) => ({
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ error_code: number, error_name: 'x', cloudflare_error: true }),
    }),
    'a page': (number) => ({ headers: { 'content-type': 'text/html' }, body: PAGE(number) }),
    'a page of the tenant’s own': (number) => ({
      headers: { 'content-type': 'text/html', 'cf-error-type': String(number) },
      body: '<h1>Sorry!</h1>',
    }),
  };

  describe.each(Object.entries(FORMS))('as %s', (_form, form) => {
    it.each([
      [500, 1101, 'WorkerError'],
      [503, 1102, 'ResourceLimitError'],
      [530, 1019, 'LoopLimitError'],
      [403, 1021, 'WorkerError'],
      [403, 1024, 'WorkerError'],
    ])('%i with error %i is a function that failed', async (status, number, name) => {
      const message = expect.stringContaining(`Cloudflare's error ${number}`) as string;
      expect(await called({ status, ...form(number) })).toEqual({
        status: 'failed',
        error: { name, message },
      });
    });

    it.each([
      [404, 1042, 'not_found'],
      [530, 1018, 'not_found'],
      [409, 1023, 'not_found'],
      [429, 1015, 'rate_limited'],
      [429, 1025, 'rate_limited'],
      [429, 1027, 'rate_limited'],
      [403, 1006, 'permission_denied'],
      [403, 1009, 'permission_denied'],
      [403, 1010, 'permission_denied'],
      [403, 1020, 'permission_denied'],
      [500, 1022, 'unavailable'],
      [500, 1103, 'unavailable'],
      [500, 1199, 'unavailable'],
      [530, 1016, 'unavailable'],
      [530, 1033, 'unavailable'],
      [503, 1200, 'unavailable'],
    ])('%i with error %i is %s', async (status, number, code) => {
      expect(await refused({ status, ...form(number) })).toMatchObject({
        code,
        details: { backend_status: status, backend_code: number },
      });
    });
  });

  it.each([
    [520, 'unavailable'],
    [521, 'unavailable'],
    [522, 'timeout'],
    [523, 'unavailable'],
    [524, 'timeout'],
    [525, 'unavailable'],
    [526, 'unavailable'],
    [530, 'unavailable'],
  ])('with status %i is %s', async (status, code) => {
    expect(await refused({ status, body: 'x' })).toMatchObject({ code, details: { backend_status: status } });
  });

  it.each([
    [401, 'auth_failed'],
    [403, 'auth_failed'],
    [404, 'not_found'],
    [408, 'timeout'],
    [413, 'payload_too_large'],
    [429, 'rate_limited'],
    [502, 'unavailable'],
    [503, 'unavailable'],
    [504, 'timeout'],
  ])('with status %i and nothing of its own is %s', async (status, code) => {
    expect(await refused({ status, body: 'x' })).toMatchObject({ code, details: { backend_status: status } });
  });

  it('names the wait of a limit that it told', async () => {
    const answer = { status: 429, headers: { 'retry-after': '30' }, body: 'error code: 1015' };
    expect(await refused(answer)).toMatchObject({ code: 'rate_limited', retryAfterMs: 30_000 });
  });

  it('waits for midnight where the day has no more requests', async () => {
    const error = await refused({ status: 429, body: 'error code: 1027' });
    expect(error).toMatchObject({ code: 'rate_limited', retryAfterMs: 5.5 * 3_600_000 });
  });

  it.each([
    ['https://acme.cloudflareaccess.com/cdn-cgi/access/login/x.example.com?kid=1'],
    ['/cdn-cgi/access/login/x.example.com'],
  ])('by a login at %s is wrong credentials', async (location) => {
    expect(await refused({ status: 302, headers: { location } })).toMatchObject({ code: 'auth_failed' });
  });

  it('is not believed of a Worker whose own text only speaks of it', async () => {
    const text = 'the backend said: error code: 1042';
    expect(await called({ status: 500, body: text })).toMatchObject({
      status: 'failed',
      error: { message: `answered 500: ${text}` },
    });
    const body = JSON.stringify({ error_code: 1042, message: 'not "cloudflare_error"' });
    const json = { status: 500, headers: { 'content-type': 'application/json' }, body };
    expect(await called(json)).toMatchObject({
      status: 'failed',
      error: { message: 'not "cloudflare_error"' },
    });
  });
});

describe('a page that is made to be hard to read', () => {
  it('is read in no time', () => {
    const body = new TextEncoder().encode(`cf-error-details ${'Error<'.repeat(10_900)}`);
    const answer = { status: 500, headers: new Headers(), body };
    const took = Array.from({ length: 3 }, () => {
      const startedMs = performance.now();
      expect(workerOutcome('f', answer, 0)).toMatchObject({ status: 'failed' });
      return performance.now() - startedMs;
    });
    // Each beginning of a tag was followed up to the end of the page: 400 ms.
    expect(Math.min(...took)).toBeLessThan(100);
  });
});

describe('a Worker that is asked with a secret', () => {
  const withKey = (api_key: string) => open({ endpoint: `${real.url}/functions/{name}`, api_key });

  it('knows the right one', async () => {
    const client = await withKey('open sesame');
    expect(await client.invoke('knows-me', null, invocation(), NEVER)).toEqual({
      status: 'completed',
      result: 'welcome',
    });
  });

  it('refuses another as auth_failed', async () => {
    const client = await withKey('wrong');
    const error = await failureOf(client.invoke('knows-me', null, invocation(), NEVER));
    expect(error).toMatchObject({ code: 'auth_failed', details: { backend_status: 401 } });
  });
});
