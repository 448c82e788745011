import { once } from 'node:events';
import { request } from 'node:http';
import { afterAll, beforeAll, describe, expect, it, onTestFinished, vi } from 'vitest';
import { ConnectorRegistry, ServerlessConnector } from '../../src/index.ts';
import { serverLogger, type RunningServer, startServer } from '../../src/server/index.ts';

/** Functions that run for real, over a socket. */
let registry: ConnectorRegistry;
let server: RunningServer;
let key: string;
let connectorId: string;

beforeAll(async () => {
  registry = await ConnectorRegistry.open({ graceMs: 100 });
  server = await startServer({ registry, port: 0, logger: serverLogger({ level: 'silent' }) });
  ({ key } = await registry.keys.create({ tenantId: 'acme', role: 'operator' }));
  ({ connectorId } = await registry.createServerlessConnector({ tenantId: 'acme', name: 'functions' }));
  for (const [name, code] of Object.entries(FUNCTIONS)) await deploy(name, { code });
});
afterAll(async () => {
  await server.close();
  await registry.close();
});

const FUNCTIONS = {
  double: 'export const handler = ({ n }) => n * 2;',
  throws: 'export const handler = () => { throw new RangeError("too far"); };',
  endless: 'export const handler = () => new Promise((resolve) => setTimeout(resolve, 1e9));',
  speaks: 'export const handler = (words) => { console.log(words); };',
};

type Answer = {
  readonly status: number;
  readonly headers: Headers;
  /** What was parsed; tests look into it freely. */
  readonly json: never;
};

async function ask(
  what: string,
  body?: unknown,
  headers: Readonly<Record<string, string>> = {},
): Promise<Answer> {
  const [method = 'GET', path = ''] = what.split(' ');
  const response = await fetch(`${server.url}/api/v1${path}`, {
    method,
    headers: {
      authorization: `Bearer ${key}`,
      ...(body !== undefined && { 'content-type': 'application/json' }),
      ...headers,
    },
    ...(body !== undefined && { body: JSON.stringify(body) }),
  });
  return { status: response.status, headers: response.headers, json: (await response.json()) as never };
}

const at = (id = connectorId) => `/connectors/${id}`;
const deploy = (name: string, body: unknown) => ask(`PUT ${at()}/functions/${name}`, body);
const call = (name: string, payload: unknown = null, headers = {}, id = connectorId) =>
  ask(`POST ${at(id)}/functions/${name}/invocations`, { payload }, headers);
const ASYNC = { prefer: 'respond-async' };

async function accepted(name: string, payload: unknown = null, id = connectorId): Promise<string> {
  const { status, json } = await call(name, payload, ASYNC, id);
  expect(status).toBe(202);
  return (json as { request_id: string }).request_id;
}

const get = (requestId: string, wait = 0, id = connectorId) =>
  ask(`GET ${at(id)}/invocations/${requestId}?wait=${wait}`);

async function running(requestId: string, id = connectorId): Promise<void> {
  const status = async () => ((await get(requestId, 0, id)).json as { status: string }).status;
  await expect.poll(status).toBe('running');
}

describe('a function', () => {
  it('is deployed as code, as files, and rolled back to a version that is kept', async () => {
    const answer = async () => ((await call('mine')).json as { result: unknown }).result;
    const first = await deploy('mine', { code: 'export const handler = () => 1;', filename: 'one.mjs' });
    expect(first).toMatchObject({ status: 200, json: { name: 'mine', version: '1', versions: ['1'] } });
    expect(await answer()).toBe(1);
    const second = await deploy('mine', {
      files: {
        'index.ts': "import { two } from './lib/two.ts'; export const handler = (): number => two;",
        'lib/two.ts': 'export const two: number = 2;',
      },
    });
    expect(second.json).toMatchObject({ version: '2', versions: ['2', '1'] });
    expect(await answer()).toBe(2);
    const back = await deploy('mine', { version: '1' });
    expect(back).toMatchObject({ status: 200, json: { version: '1', versions: ['2', '1'] } });
    expect(await answer()).toBe(1);
    const { functions } = (await ask(`GET ${at()}/functions`)).json as { functions: { name: string }[] };
    expect(functions.find(({ name }) => name === 'mine')).toEqual(back.json);
    expect((await ask(`DELETE ${at()}/functions/mine`)).json).toEqual({ deleted: true });
    expect((await ask(`DELETE ${at()}/functions/mine`)).json).toEqual({ deleted: false });
    expect(await call('mine')).toMatchObject({ status: 404, json: { code: 'not_found' } });
    expect(await deploy('mine', { version: '1' })).toMatchObject({ status: 404 });
  });

  const module = { code: 'export const handler = () => 3;' };
  const files = { files: { 'index.ts': module.code } };
  it.each([
    ['nothing', {}, 'code'],
    ['code and files', { ...module, ...files }, 'code'],
    ['code and a version', { ...module, version: '1' }, 'code'],
    ['files and a version', { ...files, version: '1' }, 'code'],
    ['all three', { ...module, ...files, version: '1' }, 'code'],
    ['empty code', { code: '' }, 'code'],
    ['code that is no text', { code: 1 }, 'code'],
    ['files that are a list', { files: ['x'] }, 'files'],
    ['a file that is no text', { files: { 'index.ts': 1 } }, 'files.index.ts'],
    ['no files', { files: {} }, 'files'],
    ['files without an index', { files: { 'a.ts': '', 'b.ts': '' } }, 'files'],
    ['a file above the folder', { files: { 'index.ts': '', '../x.ts': '' } }, 'files["../x.ts"]'],
    ['a version that is a number', { version: 1 }, 'version'],
    ['a folder of the server', { path: '/etc' }, 'path'],
    ['a language that is none', { ...module, filename: 'a.py' }, 'filename'],
    ['a name as long as none', { ...module, filename: `${'x'.repeat(300)}.ts` }, 'filename'],
  ])('is not deployed of %s', async (_what, body, path) => {
    const answer = await deploy('double', body);
    expect(answer).toMatchObject({ status: 400, json: { code: 'invalid_argument' } });
    const { issues } = answer.json as { issues: { path: string }[] };
    expect(issues.map((issue) => issue.path)).toContain(path);
    expect((await call('double', { n: 4 })).json).toMatchObject({ result: 8 });
  });

  it.each([
    ['does not build', 'export const handler = (', /index\.ts:1:24: /],
    ['throws as it loads', 'throw new Error("at once");', /at once/],
    ['has no handler', 'export const other = 1;', /handler/],
  ])('that %s is refused, and the one before goes on serving', async (_what, code, message) => {
    const answer = await deploy('double', { code });
    expect(answer).toMatchObject({
      status: 400,
      json: { code: 'invalid_argument', detail: expect.stringMatching(message) },
    });
    expect((await call('double', { n: 5 })).json).toMatchObject({ status: 'completed', result: 10 });
  });

  it.each(['9', 'x', '../1', '1 '])('has no version %j', async (version) => {
    expect((await deploy('double', { version })).status).toBe(404);
    expect((await call('double', { n: 6 })).json).toMatchObject({ result: 12 });
  });

  it('leaves its logs, the newest ones, oldest first', async () => {
    for (const words of ['one', 'two', 'three']) await call('speaks', words);
    const { json } = await ask(`GET ${at()}/functions/speaks/logs?limit=2`);
    const { logs } = json as { logs: readonly { text: string }[] };
    expect(logs).toEqual([
      { at: expect.stringMatching(/Z$/), request_id: expect.any(String), text: 'two\n' },
      { at: expect.stringMatching(/Z$/), request_id: expect.any(String), text: 'three\n' },
    ]);
    for (const limit of ['0', '1001', 'many'])
      expect((await ask(`GET ${at()}/functions/speaks/logs?limit=${limit}`)).status).toBe(400);
    expect((await ask(`GET ${at()}/functions/none/logs`)).status).toBe(404);
  });
});

describe('what a caller prefers', () => {
  it.each([
    ['respond-async', 202],
    ['wait=10, Respond-Async', 202],
    ['return=minimal;x=1, respond-async; y', 202],
    ['respond-asynchronously', 200],
    ['x-respond-async', 200],
    ['', 200],
  ])('is read from Prefer: %s', async (prefer, status) => {
    const answer = await call('double', { n: 1 }, { prefer });
    expect(answer.status).toBe(status);
    expect(answer.headers.has('location')).toBe(status === 202);
  });

  it('is not said twice', async () => {
    const asked = ask(`POST ${at()}/functions/double/invocations`, { async: true }, ASYNC);
    expect(await asked).toMatchObject({ status: 400, json: { issues: [{ path: 'async' }] } });
  });

  it('of one key is one call, whose end is answered as such from then on', async () => {
    const headers = { ...ASYNC, 'idempotency-key': 'once' };
    const first = await call('double', { n: 7 }, headers);
    const { request_id: id } = first.json as { request_id: string };
    const ended = await get(id, 30);
    expect(ended.json).toMatchObject({ status: 'completed', result: 14 });
    const again = await call('double', { n: 7 }, headers);
    // It is not accepted any more: it is done.
    expect(again).toMatchObject({ status: 200, json: ended.json });
  });
});

/** Tells of the next wait for a result in this process when it begins, and how it ends. */
function watchedWait() {
  const { promise: begun, resolve: begin } = Promise.withResolvers<void>();
  const { promise: ended, resolve: end } = Promise.withResolvers<unknown>();
  const { waitForResult } = ServerlessConnector.prototype;
  const spy = vi.spyOn(ServerlessConnector.prototype, 'waitForResult');
  onTestFinished(() => spy.mockRestore());
  spy.mockImplementation(function (this: ServerlessConnector, ...given) {
    const wait = waitForResult.apply(this, given);
    wait.then(end, end);
    begin();
    return wait;
  });
  return { begun, ended };
}

describe('waiting for an invocation', () => {
  it('is over as soon as it ends', async () => {
    const code = 'export const handler = () => new Promise((resolve) => setTimeout(resolve, 300, "late"));';
    await deploy('late', { code });
    const startedMs = performance.now();
    const ended = await get(await accepted('late'), 60);
    expect(ended.json).toMatchObject({ status: 'completed', result: 'late' });
    expect(performance.now() - startedMs).toBeLessThan(30_000);
  });

  it('is over with the time, and answers it as it is', async () => {
    const id = await accepted('endless');
    expect((await get(id, 0.05)).json).toMatchObject({ request_id: id, status: /queued|running/ });
    await ask(`POST ${at()}/invocations/${id}/cancel`);
  });

  it.each(['61', '-1', 'long', '1e3', 'Infinity', 'NaN'])('does not go on for %s seconds', async (wait) => {
    const answer = await ask(`GET ${at()}/invocations/any?wait=${wait}`);
    expect(answer).toMatchObject({ status: 400, json: { issues: [{ path: 'wait' }] } });
  });

  it('is answered at once where there is nothing to wait for', async () => {
    expect(await get('00000000-0000-4000-8000-000000000000', 60)).toMatchObject({ status: 404 });
  });

  it('ends with a client that hangs up', async () => {
    const id = await accepted('endless');
    await running(id);
    const { begun, ended } = watchedWait();
    const leaving = request(`${server.url}/api/v1${at()}/invocations/${id}?wait=60`, {
      headers: { authorization: `Bearer ${key}` },
    });
    leaving.on('error', () => {});
    leaving.end();
    await begun;
    leaving.destroy();
    expect(await ended).toMatchObject({ code: 'cancelled' });
    // The invocation itself does not end with who asks about it.
    expect((await get(id)).json).toMatchObject({ status: 'running' });
    await ask(`POST ${at()}/invocations/${id}/cancel`);
  });

  it('ends with the server, which answers it as it is', async () => {
    const second = await startServer({ registry, port: 0, logger: serverLogger({ level: 'silent' }) });
    const id = await accepted('endless');
    await running(id);
    const asked = request(`${second.url}/api/v1${at()}/invocations/${id}?wait=1`, {
      headers: { authorization: `Bearer ${key}` },
    });
    const { begun } = watchedWait();
    asked.end();
    const answered = once(asked, 'response');
    await begun;
    await second.close();
    const [response] = (await answered) as [{ statusCode: number }];
    expect(response.statusCode).toBe(200);
    await ask(`POST ${at()}/invocations/${id}/cancel`);
  });
});

describe('cancelling', () => {
  it('ends one that runs, and one that waits is never run', async () => {
    const made = await registry.createServerlessConnector({
      ...{ tenantId: 'acme', name: 'one at a time', maxConcurrency: 1 },
    });
    const id = made.connectorId;
    await made.deployFunction('endless', { code: FUNCTIONS.endless });
    await made.deployFunction('speaks', { code: FUNCTIONS.speaks });
    const first = await accepted('endless', null, id);
    await running(first, id);
    const second = await accepted('speaks', 'never', id);
    const cancel = (request: string) => ask(`POST ${at(id)}/invocations/${request}/cancel`);
    expect(await cancel(second)).toMatchObject({ status: 200, json: { status: 'cancelled' } });
    const waiting = get(first, 60, id);
    expect((await cancel(first)).json).toMatchObject({ status: 'cancelled', ended_at: expect.any(String) });
    expect((await waiting).json).toMatchObject({ request_id: first, status: 'cancelled' });
    const third = await accepted('speaks', 'then', id);
    expect((await get(third, 60, id)).json).toMatchObject({ status: 'completed' });
    const { logs } = (await ask(`GET ${at(id)}/functions/speaks/logs`)).json as { logs: { text: string }[] };
    expect(logs.map(({ text }) => text)).toEqual(['then\n']);
    expect((await get(second, 60, id)).json).toMatchObject({ status: 'cancelled' });
  });

  it('answers one that has ended as it ended', async () => {
    const id = await accepted('throws');
    const ended = await get(id, 60);
    expect(ended.json).toMatchObject({ status: 'failed', error: { name: 'RangeError', message: 'too far' } });
    expect((await ask(`POST ${at()}/invocations/${id}/cancel`)).json).toEqual(ended.json);
    expect(await ask(`POST ${at()}/invocations/none/cancel`)).toMatchObject({ status: 404 });
  });

  it('is for who may invoke, and looking for who may read', async () => {
    const id = await accepted('double', { n: 1 });
    const { key: reading } = await registry.keys.create({ tenantId: 'acme', role: 'reader' });
    const headers = { authorization: `Bearer ${reading}` };
    expect(await ask(`POST ${at()}/invocations/${id}/cancel`, {}, headers)).toMatchObject({ status: 403 });
    for (const path of [`/invocations/${id}?wait=30`, '/invocations', '/functions/speaks/logs'])
      expect((await ask(`GET ${at()}${path}`, undefined, headers)).status).toBe(200);
  });
});

describe('the list of invocations', () => {
  let id: string;
  const requests: string[] = [];
  const times: string[] = [];
  beforeAll(async () => {
    const made = await registry.createServerlessConnector({ tenantId: 'acme', name: 'listed' });
    id = made.connectorId;
    for (const [name, code] of Object.entries(FUNCTIONS)) await made.deployFunction(name, { code });
    for (const name of ['double', 'throws', 'double', 'endless', 'double']) {
      const requestId = await accepted(name, { n: 1 }, id);
      const { json } = await get(requestId, name === 'endless' ? 0 : 60, id);
      requests.push(requestId);
      times.push((json as { created_at: string }).created_at);
    }
  });

  type Page = { readonly invocations: readonly { request_id: string }[]; readonly next_cursor?: string };
  const page = async (query: string) => (await ask(`GET ${at(id)}/invocations?${query}`)).json as Page;
  /** Which of them a listing shows, by the order in which they were accepted. */
  const listed = async (query: string) =>
    (await page(query)).invocations.map(({ request_id }) => requests.indexOf(request_id));

  it('has all of them, the newest first, and neither results nor logs', async () => {
    expect(await listed('')).toEqual([4, 3, 2, 1, 0]);
    const { invocations } = await page('');
    expect(invocations[0]).toEqual({
      ...{ function: 'double', request_id: requests[4], status: 'completed' },
      ...{ created_at: times[4], ended_at: expect.any(String), duration_ms: expect.any(Number) },
    });
  });

  it('is narrowed by function, status and time', async () => {
    expect(await listed('function=double')).toEqual([4, 2, 0]);
    expect(await listed('function=none')).toEqual([]);
    expect(await listed('status=failed')).toEqual([1]);
    await expect.poll(() => listed('status=running')).toEqual([3]);
    expect(await listed('function=double&status=failed')).toEqual([]);
    expect(await listed(`since=${times[3]}`)).toEqual([4, 3]);
    expect(await listed(`until=${times[3]}`)).toEqual([2, 1, 0]);
    expect(await listed(`since=${times[1]}&until=${times[3]}&function=double`)).toEqual([2]);
    // The same instant as it is said elsewhere.
    const elsewhere = new Date(Date.parse(times[3] ?? '') + 7_200_000).toISOString().replace('Z', '+02:00');
    expect(await listed(`since=${encodeURIComponent(elsewhere)}`)).toEqual([4, 3]);
  });

  it.each([1, 2, 3, 5])('is read in pages of %i', async (limit) => {
    const found: string[] = [];
    let cursor: string | undefined;
    let pages = 0;
    do {
      const next = await page(`limit=${limit}${cursor === undefined ? '' : `&cursor=${cursor}`}`);
      expect(next.invocations.length).toBeLessThanOrEqual(limit);
      found.push(...next.invocations.map(({ request_id }) => request_id));
      cursor = next.next_cursor;
      pages += 1;
    } while (cursor !== undefined);
    expect(found).toEqual(requests.toReversed());
    expect(pages).toBe(Math.floor(requests.length / limit) + 1);
  });

  it.each([
    ['status=gone', 'status'],
    ['since=yesterday', 'since'],
    ['until=2026-13-01T00:00:00Z', 'until'],
    ['since=2026-01-01', 'since'],
    ['limit=0', 'limit'],
    ['limit=1001', 'limit'],
    ['cursor=mine', 'cursor'],
    ['cursor=1.%27%3B--', 'cursor'],
    [`cursor=${'1'.repeat(300)}`, 'cursor'],
    ['function=a%2Fb', 'function'],
    ['colour=red', 'colour'],
  ])('is not for %s', async (query, path) => {
    const answer = await ask(`GET ${at(id)}/invocations?${query}`);
    expect(answer).toMatchObject({ status: 400, json: { code: 'invalid_argument' } });
    const { issues } = answer.json as { issues: { path: string }[] };
    expect(issues.map((issue) => issue.path)).toContain(path);
  });
});
