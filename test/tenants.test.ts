import { afterAll, beforeAll, expect, it } from 'vitest';
import { operations } from '../src/operations/index.ts';
import { type Asking, openServer, type Server, SPECS } from './server/harness.ts';

/** What each operation needs besides the connector's id, so that nothing but the id can be why it is refused. */
const CASES: Readonly<
  Record<string, { readonly kind: keyof typeof SPECS; readonly rest?: string; readonly asking?: Asking }>
> = {
  'connector.get': { kind: 'vector' },
  'connector.update': { kind: 'vector', asking: { body: { name: 'stolen' } } },
  'connector.delete': { kind: 'vector' },
  'connector.connect': { kind: 'vector' },
  'connector.disconnect': { kind: 'vector' },
  'connector.test': { kind: 'vector' },
  'connector.health': { kind: 'vector' },
  'vector.upsert': { kind: 'vector', asking: { body: { records: [{ id: 'a', values: [1, 2, 3] }] } } },
  'vector.import': {
    kind: 'vector',
    asking: { raw: '{"id":"a","values":[1,2,3]}', headers: { 'content-type': 'application/x-ndjson' } },
  },
  'vector.search': { kind: 'vector', asking: { body: { vector: [1, 2, 3] } } },
  'vector.delete': { kind: 'vector', asking: { body: { all: true } } },
  'vector.fetch': { kind: 'vector', asking: { body: { ids: ['secret'] } } },
  'vector.count': { kind: 'vector' },
  'vector.list': { kind: 'vector' },
  'file.list': { kind: 'file' },
  'file.read': { kind: 'file', rest: 'kept.txt' },
  'file.stat': { kind: 'file', rest: 'kept.txt' },
  'file.write': { kind: 'file', rest: 'kept.txt', asking: { raw: 'stolen' } },
  'file.delete': { kind: 'file', rest: 'kept.txt' },
  'file.copy': { kind: 'file', asking: { body: { from: 'kept.txt', to: 'stolen.txt' } } },
  'file.move': { kind: 'file', asking: { body: { from: 'kept.txt', to: 'stolen.txt' } } },
  'file.presign': { kind: 'file', asking: { body: { path: 'kept.txt' } } },
  'function.list': { kind: 'serverless' },
  'function.deploy': {
    kind: 'serverless',
    rest: 'echo',
    asking: { body: { code: 'export const handler = () => 1' } },
  },
  'function.remove': { kind: 'serverless', rest: 'echo' },
  'function.invoke': { kind: 'serverless', rest: 'echo', asking: { body: { payload: 1 } } },
  'function.logs': { kind: 'serverless', rest: 'echo' },
  'invocation.list': { kind: 'serverless' },
  'invocation.get': { kind: 'serverless', rest: 'REQUEST' },
  'invocation.cancel': { kind: 'serverless', rest: 'REQUEST' },
};
/** Operations that name no connector; what they show is checked below. */
const UNNAMED = [
  'connector.list',
  'connector.create',
  'stats.get',
  'provider.list',
  'key.list',
  'key.create',
  'key.revoke',
  'keyring.list',
  'keyring.rotate',
  'tenant.clear',
];

let server: Server;
let owner: string;
let stranger: string;
let requestId: string;
const ids: Partial<Record<keyof typeof SPECS, string>> = {};

beforeAll(async () => {
  server = await openServer();
  owner = await server.keyFor('owner', 'admin');
  stranger = await server.keyFor('stranger', 'admin');
  const view = server.registry.forTenant('owner');
  for (const kind of ['vector', 'file', 'serverless'] as const) {
    ids[kind] = (await view.createFromDict({ ...SPECS[kind], name: `private ${kind}` })).connectorId;
  }
  await (await view.vector(ids.vector ?? '')).upsertVectors([{ id: 'secret', values: [1, 2, 3] }]);
  await (await view.file(ids.file ?? '')).writeFile('kept.txt', 'kept');
  const functions = await view.serverless(ids.serverless ?? '');
  ({ requestId } = await functions.invoke('echo', 1, { async: true }));
  await functions.waitForResult(requestId);
  // A stranger who has connectors of every kind, so that a lookup by kind alone would find something.
  for (const spec of Object.values(SPECS)) await server.registry.forTenant('stranger').createFromDict(spec);
});
afterAll(() => server.close());

it('has a case for every operation', () => {
  expect([...Object.keys(CASES), ...UNNAMED].sort()).toEqual(operations.map(({ id }) => id).sort());
});

const cases = Object.entries(CASES).map(([id, given]) => ({ id, ...given }));
const pathOf = (id: string, connector: string, rest = '') => {
  const { method, path } = operations.find((operation) => operation.id === id) ?? { method: 'GET', path: '' };
  const full = path
    .replace('{connector_id}', connector)
    .replace(/\{\w+\+?\}/, rest === 'REQUEST' ? requestId : rest);
  return `${method} ${full}`;
};

it.each(cases)(
  '$id of another tenant reads as if it had never existed',
  async ({ id, kind, rest, asking }) => {
    const foreign = ids[kind] ?? '';
    const unknown = foreign.replaceAll(/[0-9a-f]/g, '0');
    const refused = await server.ask(pathOf(id, foreign, rest), { ...asking, key: stranger });
    const absent = await server.ask(pathOf(id, unknown, rest), { ...asking, key: stranger });
    expect(refused.status).toBe(404);
    expect(refused.text.replaceAll(foreign, unknown)).toBe(absent.text);
    expect(withoutVolatile(refused.headers)).toEqual(withoutVolatile(absent.headers));
  },
);

it.each(cases)(
  '$id of another tenant named by tenant_id is refused whether that tenant exists or not',
  async ({ id, kind, rest, asking }) => {
    const named = (tenant: string) =>
      server.ask(`${pathOf(id, ids[kind] ?? '', rest)}?tenant_id=${tenant}`, { ...asking, key: stranger });
    const refused = await named('owner');
    expect(refused.status).toBe(403);
    expect((await named('nobody')).text).toBe(refused.text);
  },
);

it.each(cases.filter(({ rest }) => rest === 'REQUEST'))(
  '$id does not find an invocation of another connector, neither of another tenant nor of the same',
  async ({ id }) => {
    const ask = (connector: string, request: string, key: string) =>
      server.ask(pathOf(id, connector, 'REQUEST').replace(requestId, request), { key });
    const [theirs] = await server.registry.forTenant('stranger').list({ connectorType: 'serverless' });
    const second = await server.registry
      .forTenant('owner')
      .createFromDict({ ...SPECS.serverless, name: `second for ${id}` });
    const own = (await server.ask(pathOf(id, ids.serverless ?? '', 'REQUEST'), { key: owner })).text;
    for (const [connector, key] of [
      [theirs?.connectorId ?? '', stranger],
      [second.connectorId, owner],
    ] as const) {
      const unknown = requestId.replaceAll(/[0-9a-f]/g, '0');
      const refused = await ask(connector, requestId, key);
      expect(refused.status).toBe(404);
      expect(refused.text.replaceAll(requestId, unknown)).toBe((await ask(connector, unknown, key)).text);
    }
    await server.registry.delete(second.connectorId);
    expect((await server.ask(pathOf(id, ids.serverless ?? '', 'REQUEST'), { key: owner })).text).toBe(own);
  },
);

it('lists the invocations of the own connector alone, whatever the cursor says', async () => {
  const list = async (key: string, connector = '', query = '') =>
    (await server.ask(`GET /connectors/${connector}/invocations?${query}`, { key })).text;
  const [mine] = await server.registry.forTenant('stranger').list({ connectorType: 'serverless' });
  expect(await list(owner, ids.serverless)).toContain(requestId);
  for (const query of ['', `cursor=99999999999999.${requestId}`, 'cursor=99999999999999.z', 'function=echo'])
    expect(await list(stranger, mine?.connectorId, query)).toBe('{"invocations":[]}');
});

it('may use the same idempotency key as another tenant, and gets an answer of its own', async () => {
  const [mine] = await server.registry.forTenant('stranger').list({ connectorType: 'serverless' });
  const call = (connector: string, key: string, payload: string) =>
    server.ask(`POST /connectors/${connector}/functions/echo/invocations`, {
      ...{ key, body: { payload }, headers: { 'idempotency-key': 'shared' } },
    });
  expect((await call(ids.serverless ?? '', owner, 'secret')).json).toMatchObject({
    result: { echo: 'secret' },
  });
  expect((await call(mine?.connectorId ?? '', stranger, 'own')).json).toMatchObject({
    result: { echo: 'own' },
  });
});

it('does not end or see an invocation that runs for another tenant', async () => {
  const at = `/connectors/${ids.serverless}`;
  const started = await server.ask(`POST ${at}/functions/slow/invocations`, {
    ...{ key: owner, body: { async: true } },
  });
  const { request_id: running } = started.json as { request_id: string };
  for (const what of [`POST ${at}/invocations/${running}/cancel`, `GET ${at}/invocations/${running}?wait=60`])
    expect((await server.ask(what, { key: stranger })).status).toBe(404);
  const seen = await server.ask(`GET ${at}/invocations/${running}`, { key: owner });
  expect(seen.json).toMatchObject({ status: expect.stringMatching(/^(?:queued|running)$/) });
  expect(await server.ask(`POST ${at}/invocations/${running}/cancel`, { key: owner })).toMatchObject({
    ...{ status: 200, json: { status: 'cancelled' } },
  });
});

it('does not roll back a function of another tenant', async () => {
  const at = `/connectors/${ids.serverless}/functions/echo`;
  const refused = await server.ask(`PUT ${at}`, { key: stranger, body: { version: '1' } });
  const absent = await server.ask(`PUT ${at.replaceAll(/[0-9a-f]{8}/g, '00000000')}`, {
    ...{ key: stranger, body: { version: '1' } },
  });
  expect([refused.status, absent.status]).toEqual([404, 404]);
});

it('lists, counts and keeps keys of the own tenant alone', async () => {
  const seen = await Promise.all(
    ['GET /connectors', 'GET /connectors?limit=1000', 'GET /stats', 'GET /keys'].map((what) =>
      server.ask(what, { key: stranger }),
    ),
  );
  for (const { text } of seen) expect(text).not.toMatch(/owner|private/);
  expect(seen[2]?.json).toMatchObject({ total_connectors: 3 });
});

it("neither revokes another tenant's key nor clears another tenant", async () => {
  const { keys } = (await server.ask('GET /keys', { key: owner })).json as { keys: { key_id: string }[] };
  const foreign = keys[0]?.key_id ?? '';
  const refused = await server.ask(`DELETE /keys/${foreign}`, { key: stranger });
  const absent = await server.ask('DELETE /keys/000000000000', { key: stranger });
  expect(refused.status).toBe(404);
  expect(refused.text.replaceAll(foreign, '000000000000')).toBe(absent.text);
  const cleared = await server.ask('DELETE /tenants/owner', { key: stranger });
  expect(cleared.status).toBe(400);
  expect((await server.ask('DELETE /tenants/nobody', { key: stranger })).text).toBe(cleared.text);
});

it('may have a connector of the same name as another tenant', async () => {
  const made = await server.ask('POST /connectors', {
    key: stranger,
    body: { ...SPECS.vector, name: 'private vector' },
  });
  expect(made.status).toBe(201);
});

// Runs last: whatever was tried above has left the owner's things as they were.
it('leaves everything of the owner as it was', async () => {
  const { connectors } = (await server.ask('GET /connectors', { key: owner })).json as {
    connectors: { name: string; version: number }[];
  };
  expect(connectors.map(({ name, version }) => [name, version])).toEqual([
    ['private file', 1],
    ['private serverless', 1],
    ['private vector', 1],
  ]);
  expect((await server.ask(`POST /connectors/${ids.vector}/vectors/count`, { key: owner })).json).toEqual({
    count: 1,
  });
  expect((await server.ask(`GET /connectors/${ids.file}/files/kept.txt`, { key: owner })).text).toBe('kept');
});

function withoutVolatile({
  date: _date,
  'x-request-id': _id,
  ...headers
}: Readonly<Record<string, unknown>>) {
  return headers;
}
