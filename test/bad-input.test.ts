import { once } from 'node:events';
import { type IncomingMessage, request } from 'node:http';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';
import { mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import embedded from '../src/drivers/vector/embedded/index.ts';
import local from '../src/drivers/file/local/index.ts';
import type { ErrorCode } from '../src/errors/codes.ts';
import { isConnectorError } from '../src/index.ts';
import { fakeServerless } from './server/fake-drivers.ts';
import { FUNCTION_ROWS, type Row } from './bad-input.fixture.ts';
import { type Asking, openServer, type Server } from './server/harness.ts';

/** The refusals of the list in the issue that input alone brings about; those of the machine are in the drivers' tests. */
let server: Server;
let folder: string;
let key: string;
const ids = { vector: '', file: '', serverless: '' };

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'bad-input-'));
  const drivers = {
    'vector/embedded': async () => ({ default: embedded }),
    'file/local': async () => ({ default: local }),
    'serverless/local': async () => ({ default: { ...fakeServerless, id: 'local' } }),
  };
  server = await openServer({ dataDir: join(folder, 'data'), drivers });
  key = await server.keyFor('acme', 'operator');
  const view = server.registry.forTenant('acme', { admin: true });
  const root = join(folder, 'files');
  await mkdir(root);
  await writeFile(join(folder, 'outside.txt'), 'outside');
  await symlink(join(folder, 'outside.txt'), join(root, 'link.txt'));
  await symlink(folder, join(root, 'up'));
  ids.vector = (await view.createVectorConnector({ name: 'v', vectorDimension: 3 })).connectorId;
  ids.file = (await view.createFileConnector({ name: 'f', config: { options: { root } } })).connectorId;
  ids.serverless = (await view.createServerlessConnector({ name: 's' })).connectorId;
});
afterAll(async () => {
  await server.close();
  await rm(folder, { recursive: true, force: true });
});

const json = (text: string): Asking => ({ raw: text, headers: { 'content-type': 'application/json' } });
const records = (...list: readonly unknown[]): Asking => ({ body: { records: list } });
const upsert: Row['call'] = ({ vector }) => `POST /connectors/${vector}/vectors`;
const search: Row['call'] = ({ vector }) => `POST /connectors/${vector}/search`;
const filtered = (filter: unknown): Asking => ({ body: { vector: [1, 0, 0], filter } });
const nested = (depth: number): unknown => (depth === 0 ? { a: 1 } : { $and: [nested(depth - 1)] });
const file =
  (method: string, path: string): Row['call'] =>
  ({ file: id }) =>
    `${method} /connectors/${id}/files/${path}`;
const create: Row['call'] = () => 'POST /connectors';
const spec = { connector_type: 'vector', name: 'new' };

const ROWS: readonly Row[] = [
  {
    what: 'an unknown field',
    call: create,
    asking: { body: { ...spec, colour: 'red' } },
    code: 'invalid_argument',
    path: 'colour',
    expected: /not a known field/,
  },
  {
    what: 'an unknown field below config',
    call: create,
    asking: { body: { ...spec, config: { tmeout: 1 } } },
    code: 'invalid_argument',
    path: 'config.tmeout',
    expected: /not a known field/,
  },
  {
    what: 'an unknown option of the driver',
    call: create,
    asking: { body: { ...spec, config: { options: { shards: 3 } } } },
    code: 'invalid_argument',
    path: 'config.options.shards',
    expected: /not a known field/,
  },
  {
    what: 'an unknown credential',
    call: create,
    asking: { body: { ...spec, config: { credentials: { key: 'k' } } } },
    code: 'invalid_argument',
    path: 'config.credentials.key',
    expected: /not a credential/,
  },
  {
    what: 'an unknown type',
    call: create,
    asking: { body: { ...spec, connector_type: 'graph' } },
    code: 'invalid_argument',
    path: 'connector_type',
    expected: /./,
  },
  {
    what: 'an unknown provider',
    call: create,
    asking: { body: { ...spec, provider: 'acme' } },
    code: 'invalid_argument',
    path: 'provider',
    expected: /is one of embedded/,
  },
  {
    what: 'a wrong type',
    call: create,
    asking: { body: { ...spec, vector_dimension: '3' } },
    code: 'invalid_argument',
    path: 'vector_dimension',
    expected: /number/,
  },
  {
    what: 'a name of spaces',
    call: create,
    asking: { body: { ...spec, name: '  ' } },
    code: 'invalid_argument',
    path: 'name',
    expected: /1 to 128 printable/,
  },
  {
    what: '__proto__ as a field',
    call: create,
    asking: json('{"connector_type":"vector","name":"new","__proto__":{"admin":true}}'),
    code: 'invalid_argument',
    path: '__proto__',
    expected: /not a known field/,
  },
  {
    what: 'a vector of the wrong length',
    call: upsert,
    asking: records({ id: 'a', values: [1, 2] }),
    code: 'invalid_argument',
    path: 'records[0].values',
    expected: /3 numbers, not 2/,
  },
  {
    what: 'a vector with a text',
    call: upsert,
    asking: records({ id: 'ok', values: [1, 2, 3] }, { id: 'a', values: [1, 2, 'NaN'] }),
    code: 'invalid_argument',
    path: 'records[1].values',
    expected: /3 numbers/,
  },
  {
    what: 'a number beyond float32',
    call: upsert,
    asking: json('{"records":[{"id":"a","values":[1,2,1e300]}]}'),
    code: 'invalid_argument',
    path: 'records[0].values',
    expected: /finite/,
  },
  {
    what: 'a zero vector under cosine',
    call: upsert,
    asking: records({ id: 'a', values: [0, 0, 0] }),
    code: 'invalid_argument',
    path: 'records[0].values',
    expected: /not all zero/,
  },
  {
    what: '10,001 records',
    call: upsert,
    asking: {
      body: { records: Array.from({ length: 10_001 }, (_, i) => ({ id: `r${i}`, values: [1, 2, 3] })) },
    },
    code: 'invalid_argument',
    path: 'records',
    expected: /at most 10000 records, not 10001/,
  },
  {
    what: 'a record that is no object',
    call: upsert,
    asking: records(null),
    code: 'invalid_argument',
    path: 'records[0]',
    expected: /object/,
  },
  {
    what: 'an empty id',
    call: upsert,
    asking: records({ id: '', values: [1, 2, 3] }),
    code: 'invalid_argument',
    path: 'records[0].id',
    expected: /1 to 512/,
  },
  {
    what: 'an unknown field of a record',
    call: upsert,
    asking: records({ id: 'a', values: [1, 2, 3], vector: [1] }),
    code: 'invalid_argument',
    path: 'records[0].vector',
    expected: /not a known field/,
  },
  {
    what: 'metadata that is a list',
    call: upsert,
    asking: records({ id: 'a', values: [1, 2, 3], metadata: [1] }),
    code: 'invalid_argument',
    path: 'records[0].metadata',
    expected: /plain object/,
  },
  {
    what: 'a search without a vector',
    call: search,
    asking: { body: {} },
    code: 'invalid_argument',
    path: 'vector',
    expected: /./,
  },
  {
    what: 'a search for a zero vector',
    call: search,
    asking: { body: { vector: [0, 0, 0] } },
    code: 'invalid_argument',
    path: 'vector',
    expected: /not all zero/,
  },
  {
    what: 'a search for more than can be',
    call: search,
    asking: { body: { vector: [1, 0, 0], top_k: 1_000_000 } },
    code: 'invalid_argument',
    path: 'top_k',
    expected: /integer from 1 to/,
  },
  {
    what: 'a filter 9 deep',
    call: search,
    asking: filtered(nested(8)),
    code: 'invalid_argument',
    path: `filter${'.$and[0]'.repeat(8)}`,
    expected: /8 levels/,
  },
  {
    what: 'an unknown operator',
    call: search,
    asking: filtered({ a: { $where: '1' } }),
    code: 'invalid_argument',
    path: 'filter.a.$where',
    expected: /./,
  },
  {
    what: 'a filter that is a text',
    call: search,
    asking: filtered('a = 1'),
    code: 'invalid_argument',
    path: 'filter',
    expected: /./,
  },
  {
    what: 'a deletion of nothing in particular',
    call: ({ vector }) => `POST /connectors/${vector}/vectors/delete`,
    asking: { body: {} },
    code: 'invalid_argument',
    path: 'input',
    expected: /exactly one of/,
  },
  {
    what: 'a deletion by an empty filter',
    call: ({ vector }) => `POST /connectors/${vector}/vectors/delete`,
    asking: { body: { filter: {} } },
    code: 'invalid_argument',
    path: 'filter',
    expected: /at least one condition/,
  },
  ...[
    '..%2foutside.txt',
    '%2e%2e%2foutside.txt',
    '%252e%252e%252foutside.txt',
    '..%5coutside.txt',
    'a%00b',
    '%2e',
    'a//b',
  ].map((path): Row => ({
    what: `the path ${path}`,
    call: file('GET', path),
    code: 'invalid_argument',
    path: 'path',
    expected: /./,
  })),
  {
    what: 'a link out of the root',
    call: file('GET', 'link.txt'),
    code: 'invalid_argument',
    path: 'path',
    expected: /./,
  },
  {
    what: 'a folder that is a link out of the root',
    call: file('GET', 'up/outside.txt'),
    code: 'invalid_argument',
    path: 'path',
    expected: /./,
  },
  {
    what: 'a write through a link out of the root',
    call: file('PUT', 'up/outside.txt'),
    asking: { raw: 'overwritten' },
    code: 'invalid_argument',
    path: 'path',
    expected: /./,
  },
  {
    what: 'a file name of 1,025 bytes',
    call: file('PUT', 'n'.repeat(1_025)),
    asking: { raw: 'x' },
    code: 'invalid_argument',
    path: 'path',
    expected: /1024 bytes/,
  },
  {
    what: 'a condition that a write does not know',
    call: file('PUT', 'a'),
    asking: { raw: 'x', headers: { 'if-none-match': '"e"' } },
    code: 'invalid_argument',
    path: 'if_none_match',
    expected: /./,
  },
  {
    what: 'a body over the limit',
    call: create,
    asking: json(`{"name":"${'x'.repeat(2 ** 20)}"}`),
    code: 'payload_too_large',
    path: '',
    expected: /./,
    status: 413,
  },
  {
    what: 'a payload over the limit',
    call: ({ serverless }) => `POST /connectors/${serverless}/functions/echo/invocations`,
    asking: { body: { payload: 'x'.repeat(7 * 2 ** 20) } },
    code: 'payload_too_large',
    path: '',
    expected: /./,
    status: 413,
  },
  {
    what: 'broken JSON',
    call: create,
    asking: json('{"name":'),
    code: 'invalid_argument',
    path: 'body',
    expected: /valid JSON/,
  },
  {
    what: 'an unknown function',
    call: ({ serverless }) => `POST /connectors/${serverless}/functions/none/invocations`,
    asking: { body: {} },
    code: 'not_found',
    path: '',
    expected: /./,
    status: 404,
  },
  {
    what: 'a function name that is a path',
    call: ({ serverless }) => `POST /connectors/${serverless}/functions/..%2fecho/invocations`,
    asking: { body: {} },
    code: 'invalid_argument',
    path: 'name',
    expected: /./,
  },
  ...FUNCTION_ROWS,
  {
    what: 'a tenant that is no name',
    call: () => 'GET /connectors?tenant_id=a%2fb',
    code: 'invalid_argument',
    path: 'tenant_id',
    expected: /1 to 128/,
  },
];

describe('over HTTP', () => {
  it.each(ROWS)(
    'refuses $what with its code, its field and what was expected',
    async ({ call, asking, code, path, expected, status = 400 }) => {
      const before = await contents();
      const answer = await server.ask(call(ids), { ...asking, key });
      expect(answer).toMatchObject({ status, json: { code } });
      const { issues = [], detail } = answer.json as {
        issues?: { path: string; message: string }[];
        detail: string;
      };
      if (path !== '') expect(issues.map((issue) => issue.path)).toContain(path);
      expect(issues.find((issue) => issue.path === path)?.message ?? detail).toMatch(expected);
      expect(answer.text).not.toMatch(/\bat .*\.ts:\d+/);
      expect(await contents()).toEqual(before);
    },
  );

  it.each(['../outside.txt', '%2e%2e/outside.txt', 'a/%2e%2e/%2e%2e/outside.txt'])(
    'refuses the path %s as a socket brings it',
    async (path) => {
      const { port } = await listening();
      const url = `/api/v1/connectors/${ids.file}/files/${path}`;
      const asked = request({
        port,
        host: '127.0.0.1',
        path: url,
        headers: { authorization: `Bearer ${key}` },
      });
      asked.end();
      const [response] = (await once(asked, 'response')) as [IncomingMessage];
      const body: unknown = JSON.parse(await text(response));
      expect(body).toMatchObject({ status: 400, code: 'invalid_argument', issues: [{ path: 'path' }] });
    },
  );

  it('refuses a condition on __proto__ that is none, instead of dropping it', async () => {
    const answer = await server.ask(search(ids), {
      ...json('{"vector":[1,2,3],"filter":{"__proto__":{"$x":1}}}'),
      key,
    });
    expect(answer).toMatchObject({ status: 400, json: { issues: [{ path: 'filter.__proto__.$x' }] } });
  });

  it('keeps __proto__ and constructor as metadata, finds them by a filter, and poisons nothing', async () => {
    const body =
      '{"records":[{"id":"p","values":[1,2,3],"metadata":{"__proto__":{"polluted":1},"constructor":"c"}}]}';
    expect(await server.ask(upsert(ids), { ...json(body), key })).toMatchObject({ status: 200 });
    const query = '{"vector":[1,2,3],"filter":{"constructor":"c","__proto__.polluted":1}}';
    const found = await server.ask(search(ids), { ...json(query), key });
    expect(found.text).toContain('"metadata":{"__proto__":{"polluted":1},"constructor":"c"}');
    const absent = await server.ask(search(ids), {
      ...json('{"vector":[1,2,3],"filter":{"toString":{"$exists":true}}}'),
      key,
    });
    expect(absent.json).toEqual({ matches: [] });
    expect({}).not.toHaveProperty('polluted');
    await server.ask(`POST /connectors/${ids.vector}/vectors/delete`, { key, body: { all: true } });
  });
});

describe('through the library', () => {
  const refusals: readonly [string, () => Promise<unknown>, ErrorCode, string][] = [
    [
      'NaN in a vector',
      async () => (await vectors()).upsertVectors([{ id: 'a', values: [1, Number.NaN, 3] }]),
      'invalid_argument',
      'records[0].values',
    ],
    [
      'infinity in a search',
      async () => (await vectors()).search([1, Number.POSITIVE_INFINITY, 3]),
      'invalid_argument',
      'vector',
    ],
    [
      'metadata with NaN',
      async () =>
        (await vectors()).upsertVectors([{ id: 'a', values: [1, 2, 3], metadata: { a: Number.NaN } }]),
      'invalid_argument',
      'records[0].metadata.a',
    ],
    [
      'a path out of the root',
      async () => (await files()).readFile('../outside.txt'),
      'invalid_argument',
      'path',
    ],
    ['a link out of the root', async () => (await files()).readFile('link.txt'), 'invalid_argument', 'path'],
    [
      'a name that is too long',
      async () => (await files()).writeFile('n'.repeat(1_025), 'x'),
      'invalid_argument',
      'path',
    ],
    ['an unknown connector', () => server.registry.forTenant('acme').get('none'), 'not_found', ''],
    [
      'a name that is taken',
      () => server.registry.forTenant('acme').createVectorConnector({ name: 'v' }),
      'already_exists',
      '',
    ],
    [
      'an unknown field',
      () => server.registry.forTenant('acme').createFromDict({ ...spec, colour: 'red' }),
      'invalid_argument',
      'colour',
    ],
    [
      'a tenant that is no name',
      async () => server.registry.forTenant('../acme'),
      'invalid_argument',
      'tenant_id',
    ],
    ['a limit of 1,001', () => server.registry.list({ limit: 1_001 }), 'invalid_argument', 'limit'],
  ];

  it.each(refusals)('refuses %s with its code and field', async (_what, call, code, path) => {
    const error: unknown = await call().catch((thrown: unknown) => thrown);
    expect(error).toSatisfy(isConnectorError);
    expect(error).toMatchObject({ code, issues: path === '' ? [] : [expect.objectContaining({ path })] });
  });

  const vectors = () => server.registry.forTenant('acme').vector(ids.vector);
  const files = () => server.registry.forTenant('acme').file(ids.file);
});

async function listening(): Promise<AddressInfo> {
  if (!server.app.server.listening) await server.app.listen({ port: 0, host: '127.0.0.1' });
  return server.app.server.address() as AddressInfo;
}

/** What is there: a refusal must leave it alone. */
async function contents() {
  const view = server.registry.forTenant('acme');
  const [connectors, count, listed] = await Promise.all([
    view.list(),
    (await view.vector(ids.vector)).countVectors(),
    (await view.file(ids.file)).listFiles('/', { recursive: true }),
  ]);
  return {
    names: connectors.map(({ name }) => name),
    count,
    files: listed.files.map(({ path, size }) => [path, size]),
  };
}
