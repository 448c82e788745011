import { afterAll, beforeAll, expect, it } from 'vitest';
import { openServer, type Server, SPECS } from './harness.ts';

let server: Server;
let key: string;
let vectors: string;

beforeAll(async () => {
  server = await openServer();
  key = await server.keyFor('acme', 'operator');
  vectors = (await server.registry.forTenant('acme').createFromDict(SPECS.vector)).connectorId;
});
afterAll(() => server.close());

const JSON_TYPE = { 'content-type': 'application/json' };

it.each([
  ['GET /nothing', {}, 404, 'not_found'],
  ['GET //nothing', {}, 404, 'not_found'],
  ['PUT //nothing', { raw: '', headers: JSON_TYPE }, 404, 'not_found'],
  ['POST //nothing', { raw: '{"name": "hidden', headers: JSON_TYPE }, 404, 'not_found'],
  ['POST /nothing', { raw: '{"name": "hidden', headers: JSON_TYPE }, 404, 'not_found'],
  ['POST //nothing', { raw: 'x'.repeat(2 ** 21) }, 404, 'not_found'],
  ['PUT /connectors', {}, 405, 'unsupported'],
  ['OPTIONS /connectors', {}, 405, 'unsupported'],
  [
    'POST /connectors',
    { raw: 'x=1', headers: { 'content-type': 'application/x-www-form-urlencoded' } },
    415,
    'unsupported',
  ],
  [
    'POST /connectors',
    { raw: '{}', headers: { 'content-type': 'application/x-ndjson' } },
    415,
    'unsupported',
  ],
  ['POST /connectors', { raw: '{"name": "hidden', headers: JSON_TYPE }, 400, 'invalid_argument'],
  ['POST /connectors', { raw: '[1]', headers: JSON_TYPE }, 400, 'invalid_argument'],
  ['POST /connectors', { raw: 'null', headers: JSON_TYPE }, 400, 'invalid_argument'],
  ['POST /connectors', { raw: `"${'x'.repeat(2 ** 20)}"`, headers: JSON_TYPE }, 413, 'payload_too_large'],
  ['GET /connectors/%zz', {}, 400, 'invalid_argument'],
  ['GET /connectors?limit=0', {}, 400, 'invalid_argument'],
  ['GET /connectors?limit=many', {}, 400, 'invalid_argument'],
  ['GET /connectors?limit=1&limit=2', {}, 400, 'invalid_argument'],
  ['GET /connectors?colour=red', {}, 400, 'invalid_argument'],
  ['GET /providers?tenant_id=acme', {}, 400, 'invalid_argument'],
] as const)('answers %s %j with %i', async (what, asking, status, code) => {
  const answer = await server.ask(what, { key, ...asking });
  expect(answer).toMatchObject({ status, json: { code, type: `/problems/${code}` } });
  expect(answer.text).not.toContain('hidden');
});

it('names the methods that a path knows', async () => {
  const answer = await server.ask(`PATCH /connectors/${vectors}/search`, { key, body: {} });
  expect(answer.headers['allow']).toBe('POST');
  expect((await server.ask('DELETE /connectors', { key })).headers['allow']).toBe('GET, HEAD, POST');
});

it('answers HEAD where it answers GET', async () => {
  expect(await server.ask(`HEAD /connectors/${vectors}`, { key })).toMatchObject({ status: 200, text: '' });
});

it('names fields as the wire has them, also those that a connector refuses', async () => {
  const answer = await server.ask(`POST /connectors/${vectors}/search`, {
    key,
    body: { vector: [1, 0, 0], top_k: 101 },
  });
  expect(answer).toMatchObject({
    status: 400,
    json: { issues: [{ path: 'top_k' }], detail: expect.stringMatching(/top_k/) },
  });
  expect(answer.text).not.toContain('topK');
});

it('refuses a field that the body and the address both give', async () => {
  const answer = await server.ask(`POST /connectors/${vectors}/search`, {
    key,
    body: { vector: [1, 0, 0], connector_id: 'other' },
  });
  expect(answer).toMatchObject({
    status: 400,
    json: { issues: [{ path: 'connector_id', message: 'is given twice' }] },
  });
});

it('says nothing of a fault of its own, and logs where it was', async () => {
  const made = await server.registry.forTenant('acme').createFromDict({
    ...SPECS.vector,
    name: 'crashing',
    config: { options: { mode: 'crash' }, max_retries: 0 },
  });
  const answer = await server.ask(`POST /connectors/${made.connectorId}/search`, {
    key,
    body: { vector: [1, 0, 0] },
  });
  expect(answer).toMatchObject({
    status: 500,
    json: { code: 'internal', detail: expect.not.stringContaining('refused') },
  });
  const line = server.logged.find(
    (text) => text.includes(String(answer.headers['x-request-id'])) && text.includes('fault'),
  );
  expect(line).toContain('TypeError');
  expect(line).toContain('fake-drivers.ts');
  expect(line).not.toContain('refused key');
});

it('says when to come back, in both ways', async () => {
  const made = await server.registry.forTenant('acme').createFromDict({
    ...SPECS.vector,
    name: 'limited',
    config: {
      rate_limit_enabled: true,
      rate_limit_requests: 1,
      rate_limit_window_seconds: 60,
      max_retries: 0,
    },
  });
  const search = () =>
    server.ask(`POST /connectors/${made.connectorId}/search`, { key, body: { vector: [1, 0, 0] } });
  expect(await search()).toMatchObject({ status: 200 });
  const limited = await search();
  expect(limited).toMatchObject({
    status: 429,
    json: { code: 'rate_limited', connector_id: made.connectorId },
  });
  const { retry_after_ms: waitMs } = limited.json as { retry_after_ms: number };
  expect(limited.headers['retry-after']).toBe(String(Math.ceil(waitMs / 1_000)));
});

it('logs requests by their route, without query and path', async () => {
  const { headers } = await server.ask(`GET /connectors/${vectors}?tenant_id=acme`, { key });
  const line = server.logged.find((text) => text.includes(`"${String(headers['x-request-id'])}"`)) ?? '{}';
  expect(JSON.parse(line)).toMatchObject({
    method: 'GET',
    route: '/api/v1/connectors/:connector_id',
    status: 200,
    tenant: 'acme',
    ms: expect.any(Number),
  });
  expect(line).not.toContain(vectors);
});
