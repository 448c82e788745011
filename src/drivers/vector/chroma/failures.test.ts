import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { buffer } from 'node:stream/consumers';
import { inspect } from 'node:util';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { ConnectorError, type VectorClient, type VectorOpenContext } from '../../../driver.ts';
import { NEVER } from '../../../policies/pipeline.ts';
import {
  blackHole,
  closedPort,
  garbage,
  nonsense,
  selfSigned,
  statusServer,
} from '../../../testing/faulty-servers.fixture.ts';
import { numbers } from '../../../testing/vector-suite.ts';
import { contextOf, startClients, type ChromaClients } from './clients.fixture.ts';

const KEY = 'ck-worthless-91f7';

let chroma: ChromaClients;
let front: Front;
beforeAll(async () => {
  chroma = await startClients();
  front = await startFront(chroma.url);
});
const open: { close(): Promise<void> }[] = [];
afterEach(async () => {
  for (const one of open.splice(0).toReversed()) await one.close();
});
afterAll(async () => {
  await chroma.close();
  await front.close();
});

type Answer = { readonly status?: number; readonly body: string; readonly headers?: Record<string, string> };
/** What stands before a Chroma server and passes everything on, but for what it is told to answer itself. */
type Front = {
  readonly url: string;
  readonly requests: { readonly path: string; readonly headers: IncomingMessage['headers'] }[];
  /** Upserts that were being answered at the same time, at most. */
  upsertsAtOnce: number;
  /** Answers requests whose path ends so, until the next `pass`. */
  answer(end: string, answer: Answer): void;
  pass(): void;
  close(): Promise<void>;
};

async function startFront(target: string): Promise<Front> {
  const answers = new Map<string, Answer>();
  const requests: Front['requests'] = [];
  let upserts = 0;
  const handle = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const { url: path = '', method = 'GET', headers } = request;
    requests.push({ path, headers });
    const own = [...answers].find(([end]) => path.endsWith(end))?.[1];
    const body = await buffer(request);
    const isUpsert = path.endsWith('/upsert');
    if (isUpsert) running.upsertsAtOnce = Math.max(running.upsertsAtOnce, (upserts += 1));
    const passed = await fetch(`${target}${path}`, {
      method,
      headers: { 'content-type': 'application/json' },
      ...(body.length > 0 && { body }),
    });
    const type = passed.headers.get('content-type') ?? 'text/plain';
    const text = await passed.text();
    if (isUpsert) upserts -= 1;
    response.writeHead(own?.status ?? passed.status, {
      'content-type': own ? 'application/json' : type,
      ...own?.headers,
    });
    response.end(own?.body ?? text);
  };
  const server = createServer((request, response) => {
    handle(request, response).catch(() => response.destroy());
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo; // a TCP server's address is never a pipe's name
  const running: Front = {
    url: `http://127.0.0.1:${port}`,
    requests,
    upsertsAtOnce: 0,
    answer: (end, answer) => void answers.set(end, answer),
    pass: () => answers.clear(),
    async close() {
      server.close();
      server.closeAllConnections();
    },
  };
  return running;
}

async function openFront(options: Readonly<Record<string, unknown>> = {}, context?: VectorOpenContext) {
  front.pass();
  return chroma.open({ endpoint: front.url, api_key: KEY, ...options }, context);
}

/** What an attempt failed with; the key is nowhere in it. */
async function failureOf(attempt: Promise<unknown>): Promise<unknown> {
  const error = await attempt.then(
    () => expect.fail('it did not fail'),
    (reason: unknown) => reason,
  );
  const shown = inspect(error, { depth: 10, showHidden: true });
  for (const form of [KEY, Buffer.from(KEY).toString('base64')]) expect(shown).not.toContain(form);
  return error;
}

const STATUSES: readonly [number, string, Readonly<Record<string, unknown>>][] = [
  [401, 'auth_failed', {}],
  [403, 'permission_denied', {}],
  [404, 'not_found', {}],
  [413, 'payload_too_large', {}],
  [429, 'rate_limited', { retryAfterMs: 7_000 }],
  [500, 'backend_error', {}],
  [503, 'unavailable', { retryAfterMs: 7_000 }],
];
const said = { error: 'SomeError', message: 'no: because' };

describe('opening fails', () => {
  it.each(STATUSES)('on status %d with %s and what was said', async (status, code, more) => {
    const server = await statusServer(status, said, { 'retry-after': '7' });
    open.push(server);
    expect(await failureOf(chroma.open({ endpoint: server.url, api_key: KEY }))).toMatchObject({
      code,
      message: `the backend answered ${status}: no: because`,
      details: { backend_status: status },
      ...more,
    });
  });

  it('with unavailable where nobody listens', async () => {
    const { url } = await closedPort();
    const error = await failureOf(chroma.open({ endpoint: url, api_key: KEY }));
    expect(error).toMatchObject({ code: 'unavailable' });
  });

  it('with unavailable that names TLS where the certificate is not trusted, and not so where it is', async () => {
    const server = await selfSigned();
    open.push(server);
    const error = await failureOf(chroma.open({ endpoint: server.url, api_key: KEY }));
    expect(error).toMatchObject({ code: 'unavailable', message: expect.stringContaining('TLS') });
    const trusting = chroma.open({ endpoint: server.url, api_key: KEY, ca: server.certificate });
    // The double behind it is no Chroma.
    expect(await failureOf(trusting)).toMatchObject({ code: 'backend_error' });
  });

  it('with backend_error where something else answers', async () => {
    for (const server of [await nonsense(), await garbage()]) {
      open.push(server);
      for (let i = 0; i < 4; i++) {
        const error = await failureOf(chroma.open({ endpoint: server.url, api_key: KEY }));
        expect(error).toMatchObject({ code: 'backend_error' });
      }
    }
  });

  it('with backend_error for a redirect, so that the key goes nowhere else', async () => {
    const server = await statusServer(307, '', { location: front.url });
    open.push(server);
    const before = front.requests.length;
    const error = await failureOf(chroma.open({ endpoint: server.url, api_key: KEY }));
    expect(error).toMatchObject({ code: 'backend_error' });
    expect(front.requests.length).toBe(before);
  });

  it('with the reason of the signal where nobody answers', async () => {
    const hole = await blackHole();
    open.push(hole);
    const giving = new AbortController();
    const reason = new ConnectorError('timeout', 'took too long');
    const stage: VectorOpenContext['stage'] = async (name, step) => {
      const running = step();
      if (name === 'credentials') giving.abort(reason);
      return running;
    };
    const context = { ...contextOf(3, 'cosine'), signal: giving.signal, stage };
    expect(await failureOf(chroma.open({ endpoint: hole.url, api_key: KEY }, context))).toBe(reason);
  });
});

const query = { topK: 3, includeValues: true, includeMetadata: true };
const CALLS: readonly (readonly [string, string, (client: VectorClient) => Promise<unknown>])[] = [
  ['search', '/query', (client) => client.search([1, 0, 0], query, NEVER)],
  ['upsert, while it reads', '/get', (client) => client.upsert([{ id: 'a', values: [1, 0, 0] }], NEVER)],
  ['upsert', '/upsert', (client) => client.upsert([{ id: 'a', values: [1, 0, 0] }], NEVER)],
  ['fetch', '/get', (client) => client.fetch(['a'], NEVER)],
  ['count', '/count', (client) => client.count(undefined, NEVER)],
  ['count by a filter', '/get', (client) => client.count({ a: 1 }, NEVER)],
  ['delete', '/delete', (client) => client.delete({ ids: ['a'] }, NEVER)],
  ['list', '/get', (client) => client.list({ limit: 5, includeValues: true }, NEVER)],
  ['check', '/version', (client) => client.check(NEVER)],
];

describe.each(CALLS)('a call of %s', (_name, end, call) => {
  it.each(STATUSES)('fails on status %d with %s, once, and works again', async (status, code, more) => {
    const client = await openFront();
    await client.upsert([{ id: 'a', values: [1, 0, 0] }], NEVER);
    front.answer(end, { status, body: JSON.stringify(said), headers: { 'retry-after': '7' } });
    const before = front.requests.length;
    expect(await failureOf(call(client))).toMatchObject({ code, ...more });
    expect(front.requests.slice(before).filter(({ path }) => path.endsWith(end))).toHaveLength(1);
    front.pass();
    await call(client);
  });

  it('fails with backend_error on a body that is cut off', async () => {
    const client = await openFront();
    await client.upsert([{ id: 'a', values: [1, 0, 0] }], NEVER);
    front.answer(end, { body: '{"ids": ["a' });
    expect(await failureOf(call(client))).toMatchObject({ code: 'backend_error' });
  });
});

describe('an answer of the right type and another shape is backend_error', () => {
  const shapes = [
    ...['null', '7', '"yes"', '[]', '{}', '{"ids":7}', '{"ids":"a"}', '{"ids":[7]}', '{"ids":[null]}'],
    ...['{"ids":{"0":"a"}}', '{"unexpected":[{"shape":null}]}'],
  ];
  it.each(shapes)('to every call that reads ids: %s', async (body) => {
    const client = await openFront();
    await client.upsert([{ id: 'a', values: [1, 0, 0] }], NEVER);
    for (const [, end, call] of CALLS.filter((one) => one[1] === '/get')) {
      front.answer(end, { body });
      expect(await failureOf(call(client))).toMatchObject({ code: 'backend_error' });
    }
  });

  it.each([
    ...shapes,
    ...['{"ids":[]}', '{"ids":[["a"]]}', '{"ids":[["a"]],"distances":[[]]}'],
    ...[
      '{"ids":[["a"]],"distances":[["0.1"]]}',
      '{"ids":[[7]],"distances":[[0.1]]}',
      '{"ids":"a","distances":"b"}',
    ],
  ])('to a search: %s', async (body) => {
    const client = await openFront();
    front.answer('/query', { body });
    expect(await failureOf(client.search([1, 0, 0], query, NEVER))).toMatchObject({ code: 'backend_error' });
  });

  it.each(['null', '{}', '"1"', '[1]'])('to a count: %s', async (body) => {
    const client = await openFront();
    front.answer('/count', { body });
    expect(await failureOf(client.count(undefined, NEVER))).toMatchObject({ code: 'backend_error' });
  });

  it.each(['{"ids":["a"]}', '{"ids":["a"],"embeddings":[null]}', '{"ids":["a"],"embeddings":["x"]}'])(
    'to a fetch, without values: %s',
    async (body) => {
      const client = await openFront();
      front.answer('/get', { body });
      expect(await failureOf(client.fetch(['a'], NEVER))).toMatchObject({ code: 'backend_error' });
    },
  );
});

describe('a call that is given up', () => {
  it('ends with the reason of its signal, and leaves the client as it was', async () => {
    const client = await openFront();
    const giving = new AbortController();
    const reason = new ConnectorError('timeout', 'took too long');
    const records = numbers(400, 3).map((values, i) => ({ id: `v${i}`, values }));
    const writing = client.upsert(records, giving.signal);
    giving.abort(reason);
    expect(await failureOf(writing)).toBe(reason);
    expect(await client.upsert(records, NEVER)).toEqual([]);
    expect(await client.count(undefined, NEVER)).toBe(400);
  });
});

describe('upserts', () => {
  it('of one client are sent one after the other, and one that fails holds up none', async () => {
    const client = await openFront();
    front.upsertsAtOnce = 0;
    const batches = Array.from({ length: 6 }, (_, batch) =>
      numbers(100, 3, batch + 1).map((values, i) => ({ id: `${batch}-${i}`, values })),
    );
    await Promise.all(batches.map((batch) => client.upsert(batch, NEVER)));
    expect(front.upsertsAtOnce).toBe(1);
    front.answer('/upsert', { status: 503, body: '{}' });
    for (const result of await Promise.allSettled(batches.map((batch) => client.upsert(batch, NEVER))))
      expect(result).toMatchObject({ status: 'rejected', reason: { code: 'unavailable' } });
    front.pass();
    await client.upsert([{ id: 'last', values: [1, 0, 0] }], NEVER);
    expect(await client.count(undefined, NEVER)).toBe(601);
  });
});

describe('the key', () => {
  it.each([
    ['token', 'authorization', `Bearer ${KEY}`],
    ['x-chroma-token', 'x-chroma-token', KEY],
    ['basic', 'authorization', `Basic ${Buffer.from(KEY).toString('base64')}`],
  ])('goes with every request as %s, and in no other header', async (auth, header, value) => {
    const before = front.requests.length;
    const client = await openFront({ auth });
    await client.upsert([{ id: 'a', values: [1, 0, 0] }], NEVER);
    await client.search([1, 0, 0], query, NEVER);
    await client.check(NEVER);
    const sent = front.requests.slice(before);
    expect(sent.length).toBeGreaterThan(5);
    for (const { path, headers } of sent) {
      expect(headers[header]).toBe(value);
      expect(path).not.toContain(KEY);
      expect(Object.values(headers).filter((one) => [one].flat().includes(value))).toHaveLength(1);
    }
  });

  it('goes with the question whether the database exists, too, and is in no header without one', async () => {
    const before = front.requests.length;
    const gone = { code: 'not_found', message: expect.stringContaining('no database nothing') };
    expect(await failureOf(openFront({ database: 'nothing' }))).toMatchObject(gone);
    const last = front.requests.slice(before).at(-1);
    expect(last?.path).toBe('/api/v2/tenants/default_tenant/databases/nothing');
    expect(last?.headers.authorization).toBe(`Bearer ${KEY}`);
    await openFront({ api_key: undefined });
    expect(front.requests.at(-1)?.headers).not.toHaveProperty('authorization');
  });
});
