import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { inspect } from 'node:util';
import { afterAll, afterEach, describe, expect, it, vi } from 'vitest';
import type { ErrorCode, VectorClient } from '../../../driver.ts';
import { NEVER } from '../../../policies/pipeline.ts';
import {
  blackHole,
  closedPort,
  garbage,
  nonsense,
  selfSigned,
} from '../../../testing/faulty-servers.fixture.ts';
import { vectorContext } from '../../../testing/vector-suite.ts';
import driver from './index.ts';
import { startMilvus, type MilvusDouble } from './milvus.fixture.ts';

/** A machine that is busy takes its time. */
const WITHIN = { timeout: 20_000 };
const SECRET = 'hunter2-and-more';
const scratch = mkdtempSync(path.join(tmpdir(), 'milvus-'));
afterAll(() => rmSync(scratch, { recursive: true, force: true }));
const open: { close(): Promise<void> }[] = [];
afterEach(async () => {
  for (const one of open.splice(0).toReversed()) await one.close();
});

function connect(endpoint: string, signal: AbortSignal = NEVER, collection?: string): Promise<VectorClient> {
  return driver.open(
    driver.options.parse({
      endpoint,
      token: `root:${SECRET}`,
      ...(collection !== undefined && { collection }),
    }),
    { ...vectorContext(scratch, 3, 'cosine'), signal },
  );
}

async function started(): Promise<{ readonly server: MilvusDouble; readonly client: VectorClient }> {
  const server = await startMilvus();
  open.push(server);
  const client = await connect(server.url, NEVER, 'c');
  open.push(client);
  return { server, client };
}

const operations: Readonly<Record<string, (client: VectorClient, signal: AbortSignal) => Promise<unknown>>> =
  {
    upsert: (client, signal) => client.upsert([{ id: 'a', values: [1, 1, 1] }], signal),
    search: (client, signal) =>
      client.search([1, 1, 1], { topK: 1, includeValues: true, includeMetadata: true }, signal),
    fetch: (client, signal) => client.fetch(['a'], signal),
    count: (client, signal) => client.count(undefined, signal),
    delete: (client, signal) => client.delete({ ids: ['a'] }, signal),
    list: (client, signal) => client.list({ limit: 1, includeValues: true }, signal),
    check: (client, signal) => client.check(signal),
  };

async function failure(attempt: Promise<unknown>): Promise<Error & { readonly code: ErrorCode }> {
  const error = await attempt.then(
    () => new Error('nothing failed'),
    (thrown: unknown) => thrown,
  );
  expect(inspect(error, { depth: 20, showHidden: true })).not.toContain(SECRET);
  return error as Error & { readonly code: ErrorCode };
}

describe('opening', () => {
  it('fails as auth_failed where the credentials are wrong', async () => {
    const server = await startMilvus({ token: 'root:Milvus' });
    open.push(server);
    expect(await failure(connect(server.url))).toMatchObject({ code: 'auth_failed' });
  });

  it('fails as unavailable where nobody listens', async () => {
    const server = await closedPort();
    expect(await failure(connect(server.url))).toMatchObject({ code: 'unavailable' });
  });

  it('ends with the reason of its signal where nobody answers', async () => {
    const server = await blackHole();
    open.push(server);
    const controller = new AbortController();
    const attempt = failure(connect(server.url, controller.signal));
    await vi.waitFor(() => expect(server.connections()).toBeGreaterThan(1), WITHIN);
    controller.abort(new Error('enough'));
    expect(await attempt).toMatchObject({ code: 'cancelled', cause: { message: 'enough' } });
  });

  it('fails as unavailable, naming TLS, where the certificate is not trusted', async () => {
    const server = await selfSigned();
    open.push(server);
    expect(await failure(connect(server.url))).toMatchObject({
      code: 'unavailable',
      message: expect.stringContaining('TLS') as string,
    });
  });

  it('fails as backend_error where the server speaks HTTP/1 or no protocol at all', async () => {
    for (const server of [await nonsense(), await garbage()]) {
      open.push(server);
      expect(await failure(connect(server.url))).toMatchObject({ code: 'backend_error' });
    }
  });
});

describe('a collection that is removed beneath us', () => {
  for (const [name, run] of Object.entries(operations)) {
    it(`is not_found to ${name}, and is not made again`, async () => {
      const { server, client } = await started();
      // What the SDK remembers of a collection must not speak for it.
      await client.upsert([{ id: 'a', values: [1, 1, 1] }], NEVER);
      await client.search([1, 1, 1], { topK: 1, includeValues: false, includeMetadata: false }, NEVER);
      server.drop('c');
      expect(await failure(run(client, NEVER))).toMatchObject({ code: 'not_found' });
      const made = server.requests.filter(({ method }) => method === 'CreateCollection');
      expect(made).toHaveLength(1);
    });
  }
});

describe('a server that answers nonsense', () => {
  const METHODS = ['Upsert', 'Search', 'Query', 'Delete', 'GetVersion', 'GetLoadState', 'DescribeIndex'];
  const OK = { error_code: 'Success', code: 0 };
  const cases = {
    'bytes that are no message': () => Buffer.from('<!doctype html>'),
    'an empty message': () => ({}),
    'a method that is not there': () => ({ grpc: 'UNIMPLEMENTED', details: 'unknown method' }),
    'success and nothing else': () => ({ status: OK }),
    'rows of another shape': () => ({
      status: OK,
      upsert_cnt: 7,
      fields_data: [{ type: 'VarChar', field_name: 'id', scalars: { string_data: { data: ['', ''] } } }],
      results: {
        num_queries: 1,
        topks: [1],
        scores: [1],
        output_fields: ['id'],
        fields_data: [{ type: 'VarChar', field_name: 'id', scalars: { string_data: { data: [''] } } }],
      },
    }),
  } as const;

  for (const [title, answer] of Object.entries(cases)) {
    it(`in the form of ${title} is backend_error`, async () => {
      const { server, client } = await started();
      await client.upsert([{ id: 'a', values: [1, 1, 1] }], NEVER);
      for (const method of METHODS) server.answer(method, answer);
      for (const [name, run] of Object.entries(operations)) {
        // Success is an answer to these: there is nothing in the collection.
        if (title === 'success and nothing else' && ['fetch', 'list', 'check'].includes(name)) continue;
        if (title === 'rows of another shape' && name === 'check') continue;
        expect(await failure(run(client, NEVER)), name).toMatchObject({ code: 'backend_error' });
      }
    });
  }
});

describe("Milvus' own codes", () => {
  const codes: Readonly<Record<number, ErrorCode>> = {
    2: 'unavailable',
    8: 'rate_limited',
    100: 'not_found',
    101: 'invalid_state',
    800: 'not_found',
    1100: 'backend_error',
    1400: 'auth_failed',
    1401: 'permission_denied',
    10001: 'timeout',
    65535: 'backend_error',
    // As older servers mark what may be retried.
    65544: 'rate_limited',
  };

  it('become those of ours', async () => {
    const { server, client } = await started();
    for (const [code, expected] of Object.entries(codes)) {
      const status = { error_code: 'UnexpectedError', code: Number(code), reason: `r${'x'.repeat(1_000)}` };
      for (const method of ['Query', 'Search', 'Upsert']) server.answer(method, () => ({ status }));
      for (const name of ['count', 'search', 'upsert']) {
        const error = await failure(operations[name]?.(client, NEVER) ?? Promise.resolve());
        expect(error, `${name} ${code}`).toMatchObject({ code: expected });
        expect(error.message.length).toBeLessThan(400);
      }
    }
  });

  it('of gRPC do, too', async () => {
    const { server, client } = await started();
    const statuses = {
      CANCELLED: 'unavailable',
      DEADLINE_EXCEEDED: 'timeout',
      PERMISSION_DENIED: 'permission_denied',
      RESOURCE_EXHAUSTED: 'rate_limited',
      INTERNAL: 'backend_error',
      UNAVAILABLE: 'unavailable',
      UNAUTHENTICATED: 'auth_failed',
    } as const;
    for (const [code, expected] of Object.entries(statuses)) {
      server.answer('Query', () => ({ grpc: code as keyof typeof statuses, details: 'words' }));
      expect(await failure(client.count(undefined, NEVER)), code).toMatchObject({ code: expected });
    }
  });

  it('are asked for once: the SDK retries nothing', async () => {
    const { server, client } = await started();
    server.answer('Query', () => ({ grpc: 'UNAVAILABLE', details: 'away' }));
    await failure(client.count(undefined, NEVER));
    expect(server.requests.filter(({ method }) => method === 'Query')).toHaveLength(1);
  });
});

describe('a caller who gives up', () => {
  for (const [name, run] of Object.entries(operations)) {
    it(`ends ${name} at once, on the server as well`, async () => {
      const { server, client } = await started();
      await client.upsert([{ id: 'a', values: [1, 1, 1] }], NEVER);
      const before = server.requests.length;
      for (const method of ['Upsert', 'Search', 'Query', 'GetVersion'])
        server.answer(method, () => undefined);
      const controller = new AbortController();
      const attempt = failure(run(client, controller.signal));
      await vi.waitFor(() => expect(server.requests.length).toBeGreaterThan(before), WITHIN);
      controller.abort(new Error('enough'));
      expect(await attempt).toMatchObject({ code: 'cancelled', cause: { message: 'enough' } });
      await vi.waitFor(() => expect(server.cancelled()).toBe(1), WITHIN);
    });
  }

  it('leaves the connection to others, however many gave up', async () => {
    const { server, client } = await started();
    server.answer('Query', () => undefined);
    const controller = new AbortController();
    const before = server.requests.length;
    const attempts = Array.from({ length: 30 }, () => failure(client.count(undefined, controller.signal)));
    await vi.waitFor(() => expect(server.requests.length).toBeGreaterThan(before + 5), WITHIN);
    controller.abort();
    for (const error of await Promise.all(attempts)) expect(error).toMatchObject({ code: 'cancelled' });
    server.restore('Query');
    expect(await client.count(undefined, NEVER)).toBe(0);
    // Those who were still waiting for a connection have sent nothing.
    expect(server.requests.length).toBeLessThan(before + 30);
  });

  it('before the call sends nothing', async () => {
    const { server, client } = await started();
    const before = server.requests.length;
    for (const run of Object.values(operations))
      expect(await failure(run(client, AbortSignal.abort()))).toMatchObject({ code: 'cancelled' });
    expect(server.requests).toHaveLength(before);
  });
});
