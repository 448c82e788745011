import { afterAll, beforeAll, expect, it, vi } from 'vitest';
import { ConnectorError } from '../../src/index.ts';
import { operations } from '../../src/operations/index.ts';
import { openServer, type Server, SPECS, testServer } from './harness.ts';

let server: Server;
beforeAll(async () => {
  server = await openServer();
});
afterAll(() => server.close());

it.each([
  ['', 'no header'],
  ['Bearer', 'no key'],
  ['Bearer unknown', 'an unknown key'],
  ['Basic dXNlcjpwYXNz', 'another scheme'],
  ['Bearer a b', 'two words'],
])('answers %j (%s) with 401 and how to authenticate', async (authorization) => {
  const answer = await server.ask('GET /connectors', {
    key: '',
    headers: authorization === '' ? {} : { authorization },
  });
  expect(answer).toMatchObject({ status: 401, json: { code: 'unauthenticated' } });
  expect(answer.headers['www-authenticate']).toMatch(/^Bearer /);
});

it('reads the same for a key that was revoked and one that never was', async () => {
  const { key, record } = await server.registry.keys.create({ tenantId: 'acme', role: 'reader' });
  await server.registry.keys.revoke('acme', record.keyId);
  const revoked = await server.ask('GET /connectors', { key });
  expect((await server.ask('GET /connectors', { key: `${key.slice(0, -1)}!` })).text).toBe(revoked.text);
});

it('checks the key before it reads the body', async () => {
  const answer = await server.ask('POST /connectors', {
    key: 'unknown',
    raw: '{',
    headers: { 'content-type': 'application/json' },
  });
  expect(answer).toMatchObject({ status: 401 });
});

it('tells an address that keeps guessing to wait, and still serves valid keys from it', async () => {
  const server = await testServer();
  const guess = (n: number) => server.ask('GET /connectors', { key: `guess${n}` });
  for (let n = 0; n < 20; n++) expect(await guess(n)).toMatchObject({ status: 401 });
  const refused = await guess(20);
  expect(refused).toMatchObject({ status: 429, json: { code: 'rate_limited' } });
  expect(Number(refused.headers['retry-after'])).toBeGreaterThan(0);
  expect(await server.ask('GET /connectors')).toMatchObject({ status: 200 });
});

it('lets each role do what its operations say, and nothing above', async () => {
  const rank = { reader: 0, operator: 1, admin: 2 };
  for (const role of ['reader', 'operator', 'admin'] as const) {
    const key = await server.keyFor('acme', role);
    for (const operation of operations) {
      const path = operation.path.replaceAll(/\{\w+\+?\}/g, 'none');
      const answer = await server.ask(`${operation.method} ${path}`, {
        key,
        ...bodyOf(operation.request, operation.method),
      });
      const refused = rank[role] < rank[operation.role] || operation.tenant === 'all';
      expect([operation.id, role, answer.status === 403]).toEqual([operation.id, role, refused]);
    }
  }
});

it('has an administrator of all tenants name one where it matters', async () => {
  const { connectorId } = await server.registry.forTenant('naming').createFromDict(SPECS.vector);
  expect(await server.ask(`GET /connectors/${connectorId}/health`)).toMatchObject({
    status: 400,
    json: { issues: [{ path: 'tenant_id' }] },
  });
  // An id says by itself which connector is meant, and its answer says whose it is.
  expect(await server.ask(`GET /connectors/${connectorId}`)).toMatchObject({
    status: 200,
    json: { tenant_id: 'naming' },
  });
  expect(await server.ask(`GET /connectors/${connectorId}?tenant_id=naming`)).toMatchObject({ status: 200 });
  expect(await server.ask(`GET /connectors/${connectorId}?tenant_id=other`)).toMatchObject({ status: 404 });
});

it('answers alike for another tenant that exists and one that does not', async () => {
  await server.registry.forTenant('umbrella').createFromDict(SPECS.vector);
  const key = await server.keyFor('acme', 'admin');
  const existing = await server.ask('GET /connectors?tenant_id=umbrella', { key });
  expect(existing).toMatchObject({ status: 403, json: { code: 'permission_denied' } });
  expect((await server.ask('GET /connectors?tenant_id=nobody', { key })).text).toBe(existing.text);
  expect(await server.ask('GET /connectors?tenant_id=acme', { key })).toMatchObject({ status: 200 });
});

it("keeps references to the host's secrets from a tenant's own administrator", async () => {
  const server = await testServer({ env: { FAKE_KEY: 'from the host' } });
  const key = await server.keyFor('acme', 'admin');
  const body = { ...SPECS.vector, config: { credentials: { api_key: { from_env: 'FAKE_KEY' } } } };
  expect(await server.ask('POST /connectors', { key, body })).toMatchObject({
    status: 403,
    json: { code: 'permission_denied', issues: [{ path: 'config.credentials.api_key' }] },
  });
  expect(await server.ask('POST /connectors?tenant_id=acme', { body })).toMatchObject({ status: 201 });
});

it.each([
  'example.org',
  'example.org:7420',
  '127.0.0.1.example.org',
  '10.0.0.1:7420',
  'localhost:7420:1',
  '[::2]',
])('does not answer to the host %j on a loopback address', async (host) => {
  expect(await server.ask('GET //healthz', { headers: { host } })).toMatchObject({ status: 403 });
});

it.each(['localhost:7420', '127.0.0.1', '127.0.0.1:1', '[::1]:7420'])(
  'answers to the host %j',
  async (host) => {
    expect(await server.ask('GET //healthz', { key: '', headers: { host } })).toMatchObject({
      status: 200,
      text: '{"status":"ok"}',
    });
  },
);

it('is ready while its store answers', async () => {
  const server = await testServer();
  expect(await server.ask('GET //readyz', { key: '' })).toMatchObject({
    status: 200,
    text: '{"status":"ready"}',
  });
  await server.registry.close();
  await expect
    .poll(() => server.ask('GET //readyz', { key: '' }))
    .toMatchObject({ status: 503, json: { code: 'unavailable' } });
});

it('asks its store once for all who want to know whether it is ready', async () => {
  const server = await testServer();
  const ping = vi.spyOn(server.registry, 'ping');
  const ready = () => Promise.all(Array.from({ length: 50 }, () => server.ask('GET //readyz', { key: '' })));
  for (const { status } of [...(await ready()), ...(await ready())]) expect(status).toBe(200);
  expect(ping.mock.calls.length).toBeLessThan(5);
});

it.each([
  ['keys', (n: number) => `GET /connectors guess${n}`],
  ['signed addresses', (n: number) => `GET //signed/none/${n}`],
  ['callbacks', (n: number) => `POST //callbacks/none/${n}`],
])(
  'leaves most of the store to others while %s are guessed, and serves who is known',
  async (_what, guess) => {
    const server = await testServer();
    expect(await server.ask('GET /connectors')).toMatchObject({ status: 200 });
    let looking = 0;
    const { promise: answered, resolve: answer } = Promise.withResolvers<void>();
    const slow = async (): Promise<never> => {
      looking += 1;
      await answered;
      throw new ConnectorError('permission_denied', 'not valid');
    };
    vi.spyOn(server.registry.keys, 'verify').mockImplementation(slow);
    vi.spyOn(server.registry, 'signedFile').mockImplementation(slow);
    vi.spyOn(server.registry, 'functionCallback').mockImplementation(slow);
    const guesses = Array.from({ length: 30 }, (_, n) => {
      const [method, path, key = ''] = guess(n).split(' ');
      return server.ask(`${method} ${path}`, { key });
    });
    await expect.poll(() => looking).toBe(4);
    expect(await server.ask('GET /connectors')).toMatchObject({ status: 200 });
    expect(looking).toBe(4);
    answer();
    const statuses = (await Promise.all(guesses)).map(({ status }) => status);
    expect(statuses.filter((status) => status === 429)).toHaveLength(10);
  },
);

function bodyOf(request: string | undefined, method: string) {
  if (request === 'ndjson') return { raw: '', headers: { 'content-type': 'application/x-ndjson' } };
  if (request === 'bytes') return { raw: '' };
  return method === 'GET' || method === 'HEAD' || method === 'DELETE' ? {} : { body: {} };
}
