import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { operations } from '../../src/operations/index.ts';
import { answeredWell } from './check-answer.ts';
import { openServer, type Server, SPECS } from './harness.ts';

let server: Server;
let ids: Record<keyof typeof SPECS, string>;
let key: string;

beforeAll(async () => {
  server = await openServer();
  key = await server.keyFor('acme', 'operator');
  const make = async (kind: keyof typeof SPECS) =>
    (await server.registry.forTenant('acme').createFromDict(SPECS[kind])).connectorId;
  ids = { vector: await make('vector'), file: await make('file'), serverless: await make('serverless') };
});
afterAll(() => server.close());

const ask = (what: string, asking = {}) => server.ask(what, { key, ...asking });

describe('connectors', () => {
  it('are made, shown, changed and removed', async () => {
    const made = await ask('POST /connectors', {
      body: {
        ...SPECS.vector,
        name: 'second',
        config: { credentials: { api_key: 'k' } },
        metadata: { a: [1, { b: null }] },
      },
    });
    expect(made).toMatchObject({
      status: 201,
      json: {
        tenant_id: 'acme',
        vector_dimension: 3,
        status: 'ready',
        config: { credentials: { api_key: '***' } },
        version: 1,
      },
    });
    const { connector_id: id } = made.json as { connector_id: string };
    expect(made.headers['location']).toBe(`/api/v1/connectors/${id}`);
    expect((await ask(`GET /connectors/${id}`)).text).toBe(made.text);
    const changed = await ask(`PATCH /connectors/${id}`, {
      body: { name: 'renamed', config: { credentials: { api_key: '***' } }, version: 1 },
    });
    expect(changed).toMatchObject({
      status: 200,
      json: { name: 'renamed', version: 2, metadata: { a: [1, { b: null }] } },
    });
    expect(await ask(`PATCH /connectors/${id}`, { body: { name: 'again', version: 1 } })).toMatchObject({
      status: 412,
      json: { code: 'conflict' },
    });
    expect(await ask(`DELETE /connectors/${id}`)).toMatchObject({ status: 200, json: { deleted: true } });
    expect(await ask(`DELETE /connectors/${id}`)).toMatchObject({ status: 404 });
  });

  it('are listed by type, with a limit and an offset', async () => {
    const names = async (query: string) =>
      ((await ask(`GET /connectors?${query}`)).json as { connectors: { name: string }[] }).connectors.map(
        ({ name }) => name,
      );
    expect(await names('')).toEqual(['files', 'functions', 'vectors']);
    expect(await names('connector_type=file')).toEqual(['files']);
    expect(await names('limit=1&offset=1')).toEqual(['functions']);
  });

  it('of all tenants are listed for an administrator who names none', async () => {
    await server.registry.forTenant('umbrella').createFromDict(SPECS.file);
    const tenants = async (query: string) => {
      const { connectors } = (await server.ask(`GET /connectors?${query}`)).json as {
        connectors: { tenant_id: string }[];
      };
      return [...new Set(connectors.map(({ tenant_id }) => tenant_id))].sort();
    };
    expect(await tenants('')).toEqual(['acme', 'umbrella']);
    expect(await tenants('tenant_id=umbrella')).toEqual(['umbrella']);
  });

  it('are connected, tested and disconnected', async () => {
    expect(await ask(`POST /connectors/${ids.vector}/connect`)).toMatchObject({
      status: 200,
      json: { status: 'connected' },
    });
    expect(await ask(`POST /connectors/${ids.vector}/test`)).toMatchObject({
      status: 200,
      json: { ok: true },
    });
    expect(await ask(`GET /connectors/${ids.vector}/health`)).toMatchObject({
      status: 200,
      json: { ok: true, status: 'connected', connector_id: ids.vector },
    });
    expect(await ask(`POST /connectors/${ids.vector}/disconnect`)).toMatchObject({
      status: 200,
      json: { status: 'disconnected' },
    });
  });
});

describe('vectors', () => {
  const at = () => `/connectors/${ids.vector}`;

  it('are written, searched, fetched, counted and deleted, in wire names', async () => {
    const records = [
      { id: 'x', values: [1, 0, 0], metadata: { camelKey: 1, nested: { innerKey: 'v' } }, text: 'ex' },
      { id: 'y', values: [0, 1, 0] },
    ];
    expect(await ask(`POST ${at()}/vectors`, { body: { records } })).toMatchObject({
      status: 200,
      json: { upserted: 2, failed: 0, errors: [] },
    });
    const found = await ask(`POST ${at()}/search`, {
      body: { vector: [1, 0, 0], top_k: 1, include_values: true },
    });
    expect(found.json).toEqual({
      matches: [{ ...records[0], score: 1, raw_score: 1 }],
    });
    expect((await ask(`POST ${at()}/vectors/fetch`, { body: { ids: ['y', 'none'] } })).json).toEqual({
      records: [records[1]],
    });
    expect((await ask(`POST ${at()}/vectors/count`, { body: {} })).json).toEqual({ count: 2 });
    expect((await ask(`POST ${at()}/vectors/delete`, { body: { ids: ['x'] } })).json).toEqual({ deleted: 1 });
    expect((await ask(`POST ${at()}/vectors/delete`, { body: { all: true } })).json).toEqual({ deleted: 1 });
  });

  it('are listed page by page, with or without their values', async () => {
    const list = async (query: string) => (await ask(`GET ${at()}/vectors?${query}`)).json;
    await ask(`POST ${at()}/vectors`, {
      body: {
        records: [
          { id: 'l1', values: [1, 0, 0], metadata: { camelKey: 1 }, text: 'one' },
          { id: 'l2', values: [0, 1, 0] },
        ],
      },
    });
    const all = (await list('')) as { records: readonly { id: string }[] };
    expect(all.records.map(({ id }) => id)).toEqual(['l1', 'l2']);
    const first = await list('limit=1&include_values=false');
    expect(first).toEqual({ records: [{ ...all.records[0], values: undefined }], next_cursor: '1' });
    expect(await list('cursor=1')).toEqual({ records: all.records.slice(1) });
    expect(await ask(`GET ${at()}/vectors?cursor=not-ours`)).toMatchObject({
      status: 400,
      json: { code: 'invalid_argument', issues: [{ path: 'cursor' }] },
    });
    await ask(`POST ${at()}/vectors/delete`, { body: { all: true } });
  });

  it('stream in as NDJSON, across chunks and blank lines', async () => {
    const lines = Array.from({ length: 2_500 }, (_, i) =>
      JSON.stringify({ id: `n${i}`, values: [i + 1, 1, 0] }),
    );
    const answer = await ask(`POST ${at()}/vectors`, {
      raw: `${lines.join('\n')}\n\n`,
      headers: { 'content-type': 'application/x-ndjson' },
    });
    expect(answer).toMatchObject({ status: 200, json: { upserted: 2_500, failed: 0 } });
    expect((await ask(`POST ${at()}/vectors/count`)).json).toEqual({ count: 2_500 });
    await ask(`POST ${at()}/vectors/delete`, { body: { all: true } });
  });

  it('of a stream stand up to the batch with the bad line, which is named by its number', async () => {
    const lines = Array.from({ length: 2_500 }, (_, i) =>
      JSON.stringify({ id: `n${i}`, values: [i + 1, 1, 0] }),
    );
    lines[1_203] = JSON.stringify({ id: 'short', values: [1] });
    const answer = await ask(`POST ${at()}/vectors`, {
      raw: lines.join('\n'),
      headers: { 'content-type': 'application/x-ndjson' },
    });
    expect(answer).toMatchObject({
      status: 400,
      json: {
        code: 'invalid_argument',
        issues: [{ path: 'lines[1204].values', message: 'is an array of 3 numbers, not 1' }],
        details: { upserted: 1_000, next_line: 1_001 },
      },
    });
    expect((await ask(`POST ${at()}/vectors/count`)).json).toEqual({ count: 1_000 });
    await ask(`POST ${at()}/vectors/delete`, { body: { all: true } });
  });

  it('names a line that is not JSON without quoting it', async () => {
    const answer = await ask(`POST ${at()}/vectors`, {
      raw: '{"id":"a","values":[1,0,0]}\n{"hidden',
      headers: { 'content-type': 'application/x-ndjson' },
    });
    expect(answer).toMatchObject({
      status: 400,
      json: { issues: [{ path: 'lines[2]' }], details: { upserted: 0, next_line: 1 } },
    });
    expect(answer.text).not.toContain('hidden');
  });
});

describe('files', () => {
  const at = (path: string) => `/connectors/${ids.file}/files/${path}`;

  it('are written, listed, read, shown and removed', async () => {
    const put = await ask(`PUT ${at('a/b.json')}`, {
      raw: '{"a":1}',
      headers: { 'content-type': 'application/json' },
    });
    expect(put).toMatchObject({ status: 200, json: { path: 'a/b.json', size: 7 } });
    const { etag } = put.json as { etag: string };
    const list = await ask(`GET /connectors/${ids.file}/files?path=a&recursive=true&limit=10`);
    expect(list.json).toMatchObject({
      files: [
        {
          name: 'b.json',
          path: 'a/b.json',
          size: 7,
          is_directory: false,
          last_modified: '2023-11-14T22:13:20.000Z',
        },
      ],
    });
    const read = await ask(`GET ${at('a/b.json')}`);
    expect(read).toMatchObject({ status: 200, text: '{"a":1}' });
    expect(read.headers).toMatchObject({
      etag: `"${etag}"`,
      'content-length': '7',
      'content-type': 'application/json',
    });
    const head = await ask(`HEAD ${at('a/b.json')}`);
    expect(head).toMatchObject({ status: 200, text: '' });
    expect(head.headers).toMatchObject({
      etag: `"${etag}"`,
      'content-length': '7',
      'accept-ranges': 'bytes',
    });
    expect((await ask(`DELETE ${at('a/b.json')}`)).json).toEqual({ deleted: true });
    expect((await ask(`DELETE ${at('a/b.json')}`)).json).toEqual({ deleted: false });
  });

  it.each([
    ['bytes=2-4', 206, '234', 'bytes 2-4/10'],
    ['bytes=7-', 206, '789', 'bytes 7-9/10'],
    ['bytes=-2', 206, '89', 'bytes 8-9/10'],
    ['bytes=5-99', 206, '56789', 'bytes 5-9/10'],
    ['bytes=0-1,4-5', 200, '0123456789', undefined],
    ['items=0-1', 200, '0123456789', undefined],
    ['bytes=4-2', 200, '0123456789', undefined],
  ])('answer Range: %s with %i', async (range, status, text, contentRange) => {
    await ask(`PUT ${at('ten')}`, { raw: '0123456789', headers: { 'content-type': 'text/plain' } });
    const part = await ask(`GET ${at('ten')}`, { headers: { range } });
    expect(part).toMatchObject({ status, text });
    expect(part.headers['content-range']).toBe(contentRange);
    expect(part.headers['content-length']).toBe(String(text.length));
  });

  it('answer 416 with the size to a range after the end', async () => {
    await ask(`PUT ${at('ten')}`, { raw: '0123456789', headers: { 'content-type': 'text/plain' } });
    const part = await ask(`GET ${at('ten')}`, { headers: { range: 'bytes=10-' } });
    expect(part).toMatchObject({
      status: 416,
      json: { code: 'invalid_argument', issues: [{ path: 'range' }] },
    });
    expect(part.headers['content-range']).toBe('bytes */10');
  });

  it('answer 304 to whoever has them already', async () => {
    const { etag } = (await ask(`PUT ${at('known')}`, { raw: 'x' })).json as { etag: string };
    const again = await ask(`GET ${at('known')}`, { headers: { 'if-none-match': `W/"other", "${etag}"` } });
    expect(again).toMatchObject({ status: 304, text: '' });
    expect(await ask(`GET ${at('known')}`, { headers: { 'if-none-match': '"other"' } })).toMatchObject({
      status: 200,
      text: 'x',
    });
  });

  it('are written once under If-None-Match: *', async () => {
    const headers = { 'if-none-match': '*' };
    expect(await ask(`PUT ${at('once')}`, { raw: 'first', headers })).toMatchObject({ status: 200 });
    expect(await ask(`PUT ${at('once')}`, { raw: 'second', headers })).toMatchObject({
      status: 412,
      json: { code: 'conflict' },
    });
    expect(await ask(`GET ${at('once')}`)).toMatchObject({ text: 'first' });
  });

  it('are replaced under If-Match by whoever saw the content that is there', async () => {
    const write = (raw: string, etag: string) =>
      ask(`PUT ${at('seen')}`, { raw, headers: { 'if-match': etag } });
    const { etag } = (await ask(`PUT ${at('seen')}`, { raw: 'first' })).json as { etag: string };
    expect(await write('second', `"${etag}"`)).toMatchObject({ status: 200 });
    const late = await write('third', `"${etag}"`);
    expect(late).toMatchObject({ status: 412, json: { code: 'conflict' } });
    const absent = await ask(`PUT ${at('never')}`, { raw: 'x', headers: { 'if-match': etag } });
    expect(absent).toMatchObject({ status: 412, json: { code: 'conflict' } });
    expect(await ask(`GET ${at('seen')}`)).toMatchObject({ text: 'second' });
  });

  it.each(['*', 'W/"v1"', '"v1", "v2"', ''])(
    'answer 400 to If-Match: %s, which is no one etag',
    async (etag) => {
      const answer = await ask(`PUT ${at('seen')}`, { raw: 'x', headers: { 'if-match': etag } });
      expect(answer).toMatchObject({ status: 400, json: { issues: [{ path: 'if_match' }] } });
    },
  );

  it('carry their metadata as headers, in both directions', async () => {
    const headers = { 'x-meta-author': 'Zo%C3%AB', 'X-Meta-Shot-On': 'a "day" off' };
    await ask(`PUT ${at('words')}`, { raw: 'x', headers });
    for (const method of ['GET', 'HEAD'])
      expect((await ask(`${method} ${at('words')}`)).headers).toMatchObject({
        'x-meta-author': 'Zo%C3%AB',
        'x-meta-shot-on': 'a "day" off',
      });
    const listed = (await ask(`GET /connectors/${ids.file}/files?recursive=true`)).json as {
      files: { path: string; metadata?: unknown }[];
    };
    expect(listed.files.find(({ path }) => path === 'words')?.metadata).toEqual({
      author: 'Zoë',
      shot_on: 'a "day" off',
    });
    const bad = await ask(`PUT ${at('words')}`, { raw: 'y', headers: { 'x-meta-1st': 'x' } });
    expect(bad).toMatchObject({ status: 400, json: { issues: [{ path: 'metadata.1st' }] } });
    const twice = await ask(`PUT ${at('words')}?metadata=x`, { raw: 'y', headers });
    expect(twice.status).toBe(400);
  });

  it('are copied and moved', async () => {
    await ask(`PUT ${at('one')}`, { raw: '1234' });
    const within = `/connectors/${ids.file}`;
    const copied = await ask(`POST ${within}/copy-file`, { body: { from: 'one', to: 'a/two' } });
    expect(copied).toMatchObject({ status: 200, json: { path: 'a/two', size: 4 } });
    const moved = await ask(`POST ${within}/move-file`, { body: { from: 'one', to: 'three' } });
    expect(moved).toMatchObject({ status: 200, json: { path: 'three', size: 4 } });
    expect((await ask(`GET ${at('a/two')}`)).text).toBe('1234');
    expect((await ask(`GET ${at('three')}`)).text).toBe('1234');
    expect((await ask(`GET ${at('one')}`)).status).toBe(404);
    const outside = await ask(`POST ${within}/copy-file`, { body: { from: 'three', to: '../x' } });
    expect(outside).toMatchObject({ status: 400, json: { issues: [{ path: 'to' }] } });
  });

  it('are named by signed addresses, which an operator makes', async () => {
    const body = { path: 'one', method: 'PUT', expires_in_seconds: 60, content_type: 'text/plain' };
    const presign = `POST /connectors/${ids.file}/presign-file`;
    expect((await ask(presign, { body })).json).toEqual({
      url: 'https://files.example/one?signed',
      method: 'PUT',
      headers: { 'Content-Type': 'text/plain' },
      expires_at: '1970-01-01T00:01:00.000Z',
    });
    const reader = await server.keyFor('acme', 'reader');
    expect(await ask(presign, { body: { path: 'one' }, key: reader })).toMatchObject({ status: 403 });
    const bound = await ask(presign, { body: { path: 'one', method: 'PUT', max_bytes: 5 } });
    expect(bound).toMatchObject({ status: 422, json: { details: { capability: 'presign' } } });
    const long = await ask(presign, { body: { path: 'one', expires_in_seconds: 604_801 } });
    expect(long).toMatchObject({ status: 400, json: { issues: [{ path: 'expires_in_seconds' }] } });
  });

  it('have names with spaces, signs and letters of every script', async () => {
    const name = 'a b/ü%+?#漢.txt';
    const path = at(name.split('/').map(encodeURIComponent).join('/'));
    expect((await ask(`PUT ${path}`, { raw: 'x' })).json).toMatchObject({ path: name });
    expect(await ask(`GET ${path}`)).toMatchObject({ status: 200, text: 'x' });
  });
});

describe('functions', () => {
  const at = () => `/connectors/${ids.serverless}`;

  it('are listed, deployed, invoked and removed', async () => {
    expect((await ask(`GET ${at()}/functions`)).json).toMatchObject({
      functions: [
        { name: 'echo', memory_mb: 1, last_modified: '1970-01-01T00:00:00.000Z' },
        { name: 'slow' },
        { name: 'throws' },
      ],
    });
    expect(
      await ask(`PUT ${at()}/functions/mine`, { body: { code: 'export const handler = (e) => e' } }),
    ).toMatchObject({
      status: 200,
      json: { name: 'mine' },
    });
    expect(
      await ask(`POST ${at()}/functions/mine/invocations`, { body: { payload: { aB: [1] } } }),
    ).toMatchObject({
      status: 200,
      json: { function: 'mine', status: 'completed', result: { echo: { aB: [1] } }, duration_ms: 1.5 },
    });
    expect((await ask(`DELETE ${at()}/functions/mine`)).json).toEqual({ deleted: true });
  });

  it('that throw are an answer', async () => {
    expect(await ask(`POST ${at()}/functions/throws/invocations`)).toMatchObject({
      status: 200,
      json: { status: 'failed', error: { name: 'RangeError', message: 'too far' } },
    });
  });

  it('answer 202 and where the result will be to Prefer: respond-async', async () => {
    const accepted = await ask(`POST ${at()}/functions/echo/invocations`, {
      body: { payload: 1 },
      headers: { prefer: 'respond-async, wait=10' },
    });
    expect(accepted.status).toBe(202);
    const result = await ask(`GET ${String(accepted.headers['location']).replace('/api/v1', '')}?wait=10`);
    expect(result).toMatchObject({ status: 200, json: { status: 'completed', result: { echo: 1 } } });
  });

  it('answer the first call to the same Idempotency-Key, and 412 when the payload is another', async () => {
    const invoke = (payload: number) =>
      ask(`POST ${at()}/functions/echo/invocations`, {
        body: { payload },
        headers: { 'idempotency-key': 'once' },
      });
    const first = await invoke(1);
    expect((await invoke(1)).text).toBe(first.text);
    expect(await invoke(2)).toMatchObject({ status: 412, json: { code: 'conflict' } });
  });
});

describe('invocations', () => {
  const at = () => `/connectors/${ids.serverless}`;
  const listed = async (query: string) => {
    const page = (await ask(`GET ${at()}/invocations?${query}`)).json as {
      invocations: { request_id: string; status: string; result?: unknown }[];
      next_cursor?: string;
    };
    return { ...page, requests: page.invocations.map(({ request_id }) => request_id) };
  };
  const accepted = async (name: string) => {
    const { json } = await ask(`POST ${at()}/functions/${name}/invocations`, { body: { async: true } });
    return (json as { request_id: string }).request_id;
  };

  it('are listed by their function, the newest first, page by page, without their results', async () => {
    await ask(`PUT ${at()}/functions/counted`, { body: { code: 'export const handler = (e) => e' } });
    const made: string[] = [];
    for (let i = 0; i < 3; i++) made.unshift(await accepted('counted'));
    for (const id of made) await ask(`GET ${at()}/invocations/${id}?wait=10`);
    const first = await listed('function=counted&limit=2');
    const second = await listed(`function=counted&limit=2&cursor=${first.next_cursor}`);
    expect(new Set([...first.requests, ...second.requests])).toEqual(new Set(made));
    expect(second.next_cursor).toBeUndefined();
    for (const one of first.invocations) expect(one).not.toHaveProperty('result');
    expect((await listed('function=counted&status=completed')).requests).toHaveLength(3);
    expect((await listed('function=counted&status=failed')).requests).toEqual([]);
    expect((await listed('function=counted&until=2020-01-01T00:00:00Z')).requests).toEqual([]);
    expect((await listed('function=counted&since=2020-01-01T00:00:00Z')).requests).toHaveLength(3);
  });

  it('are cancelled while they run, and answered as they ended from then on', async () => {
    const id = await accepted('slow');
    const cancelled = await ask(`POST ${at()}/invocations/${id}/cancel`);
    expect(cancelled).toMatchObject({ status: 200, json: { request_id: id, status: 'cancelled' } });
    expect((await ask(`POST ${at()}/invocations/${id}/cancel`)).text).toBe(cancelled.text);
    expect((await ask(`GET ${at()}/invocations/${id}?wait=60`)).text).toBe(cancelled.text);
  });

  it('leave what their function wrote', async () => {
    const { json } = await ask(`GET ${at()}/functions/echo/logs?limit=1`);
    expect(json).toEqual({ logs: [{ at: '1970-01-01T00:00:00.000Z', request_id: 'r1', text: 'there' }] });
    expect(await ask(`GET ${at()}/functions/none/logs`)).toMatchObject({ status: 404 });
  });
});

describe('keys, figures and providers', () => {
  it('are made, listed without the key, and revoked', async () => {
    const made = await server.ask('POST /keys?tenant_id=acme', {
      body: { role: 'reader', label: 'for a test' },
    });
    expect(made).toMatchObject({
      status: 201,
      json: { tenant_id: 'acme', role: 'reader', label: 'for a test' },
    });
    const { key: fresh, key_id: id } = made.json as { key: string; key_id: string };
    expect(await server.ask('GET /connectors', { key: fresh })).toMatchObject({ status: 200 });
    const list = await server.ask('GET /keys?tenant_id=acme');
    expect(list.text).toContain(id);
    expect(list.text).not.toContain(fresh);
    expect(await server.ask(`DELETE /keys/${id}?tenant_id=acme`)).toMatchObject({
      status: 200,
      json: { revoked: true },
    });
    expect(await server.ask('GET /connectors', { key: fresh })).toMatchObject({ status: 401 });
    expect(await server.ask(`DELETE /keys/${id}?tenant_id=acme`)).toMatchObject({ status: 404 });
  });

  it('of a tenant are made by its own administrator, for that tenant alone', async () => {
    const admin = await server.keyFor('acme', 'admin');
    expect(await server.ask('POST /keys', { key: admin, body: { role: 'operator' } })).toMatchObject({
      status: 201,
      json: { tenant_id: 'acme' },
    });
    expect(
      await server.ask('POST /keys?tenant_id=umbrella', { key: admin, body: { role: 'operator' } }),
    ).toMatchObject({ status: 403 });
  });

  it('count what one tenant has', async () => {
    expect((await ask('GET /stats')).json).toMatchObject({
      total_connectors: 3,
      connectors_by_type: { vector: 1, file: 1, serverless: 1 },
    });
  });

  it('describe every driver with its options as JSON Schema', async () => {
    const { providers } = (await ask('GET /providers')).json as { providers: Record<string, unknown>[] };
    expect(providers.map(({ connector_type }) => connector_type)).toEqual(['file', 'serverless', 'vector']);
    expect(providers[2]).toMatchObject({
      provider: 'fake',
      secrets: ['api_key', 'login.password'],
      capabilities: { delete_by_filter: false, limits: { top_k: 100, upsert_batch: 500 } },
      options: { properties: { api_key: { writeOnly: true } } },
    });
  });

  it('of masters are shown by their ids, and rotated by administrators of all tenants alone', async () => {
    const { keys } = (await server.ask('GET /keyring')).json as { keys: Record<string, unknown>[] };
    expect(keys).toEqual([
      {
        key_id: expect.stringMatching(/^[0-9a-f]{16}$/),
        current: true,
        credentials: 0,
        current_on: [],
        missing_on: [],
      },
    ]);
    expect((await server.ask('POST /keyring/rotate', { body: {} })).json).toEqual({
      key_id: keys[0]?.['key_id'],
      resealed: 0,
      remaining: 0,
      unreadable: 0,
      unreadable_connectors: [],
      next: null,
    });
    for (const after of ['', 'x', Buffer.from('{"field":"\0"}').toString('base64url')])
      expect(await server.ask('POST /keyring/rotate', { body: { after } })).toMatchObject({
        status: 400,
        json: { issues: [{ path: 'after' }] },
      });
    const admin = await server.keyFor('acme', 'admin');
    for (const what of ['GET /keyring', 'POST /keyring/rotate'])
      expect(await server.ask(what, { key: admin, body: {} })).toMatchObject({
        status: 403,
        json: { code: 'permission_denied' },
      });
  });

  it('a tenant is cleared by an administrator', async () => {
    await server.registry.forTenant('gone').createFromDict(SPECS.file);
    expect(await server.ask('DELETE /tenants/gone')).toMatchObject({ status: 200, json: { removed: 1 } });
    expect(await server.ask('DELETE /tenants/gone', { key })).toMatchObject({ status: 403 });
  });
});

// Each of these answers was held against the operation's own schema by `checkAnswer`.
it('every operation answered as its schema says', () => {
  expect(operations.map(({ id }) => id).filter((id) => !answeredWell.has(id))).toEqual([]);
});
