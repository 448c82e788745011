import { randomBytes } from 'node:crypto';
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { inspect } from 'node:util';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { operations } from '../src/operations/index.ts';
import { registryLog, serverLogger } from '../src/server/index.ts';
import { openServer, type Server, SPECS } from './server/harness.ts';

/** Every text that came out of the product, with where it came from. */
const seen: { readonly from: string; readonly text: string }[] = [];
const canaries: string[] = [];
let folder: string;
let server: Server;
let key: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'canary-'));
  const write = (line: string) => void seen.push({ from: 'log of the registry', text: line });
  server = await openServer({
    dataDir: folder,
    log: registryLog(serverLogger({ level: 'trace' }, { write })),
    env: { CANARY: canary() },
  });
  key = await server.keyFor('acme', 'operator');
});
afterAll(async () => {
  await server.close();
  await rm(folder, { recursive: true, force: true });
});

/** A secret that occurs nowhere else: letters that base64 and URLs change, and enough of them to be unique. */
function canary(): string {
  const made = `cnry/${randomBytes(9).toString('hex')}+é"${canaries.length}`;
  canaries.push(made);
  return made;
}

async function ask(what: string, asking: Parameters<Server['ask']>[1] = {}) {
  const answer = await server.ask(what, { key, ...asking });
  seen.push({ from: what, text: `${answer.text} ${JSON.stringify(answer.headers)}` });
  return answer;
}

const MODES = ['well', 'auth', 'crash', 'down'] as const;
const KINDS = ['vector', 'file', 'serverless'] as const;

it('shows no credential in any answer, error or log, whatever the backend says', async () => {
  for (const kind of KINDS) {
    for (const mode of MODES) {
      const made = await ask('POST /connectors', {
        body: {
          ...SPECS[kind],
          name: `${kind} ${mode}`,
          config: {
            max_retries: 0,
            credentials: { api_key: canary() },
            // A secret that was put among the options is one all the same.
            options: { mode, login: { password: canary() } },
          },
        },
      });
      expect(made.status).toBe(201);
      await everyOperation((made.json as { connector_id: string }).connector_id, kind);
    }
  }
});

it('shows no credential in what is stored of an invocation that the backend failed', async () => {
  const [api_key, password] = [canary(), canary()];
  for (const mode of ['auth', 'crash', 'down']) {
    const made = await ask('POST /connectors', {
      body: {
        ...{ ...SPECS.serverless, name: `stored ${mode}` },
        config: {
          ...{ max_retries: 0, retry_delay_seconds: 0 },
          ...{ credentials: { api_key }, options: { mode, login: { password } } },
        },
      },
    });
    const at = `/connectors/${(made.json as { connector_id: string }).connector_id}`;
    const { json } = await ask(`POST ${at}/functions/echo/invocations`, { body: { async: true } });
    const { request_id: id } = json as { request_id: string };
    const ended = await ask(`GET ${at}/invocations/${id}?wait=30`);
    expect(ended.json).toMatchObject({ status: 'failed', error: { name: expect.any(String) } });
    await ask(`GET ${at}/invocations`);
  }
});

it('shows no credential of a refused input', async () => {
  const refused = [
    { ...SPECS.vector, name: 'a', config: { credentials: { unknown: canary() } } },
    { ...SPECS.vector, name: 'a', config: { credentials: { api_key: [canary()] } } },
    { ...SPECS.vector, name: 'a', config: { credentials: canary() } },
    { ...SPECS.vector, name: 'a', config: { options: { api_key: { value: canary() } } } },
    { ...SPECS.vector, name: 'a', config: { options: { mode: canary() } } },
    { ...SPECS.vector, name: 'a', config: { credentials: { api_key: { from_env: canary() } } } },
  ];
  for (const body of refused)
    expect((await ask('POST /connectors', { body })).status).toBeGreaterThanOrEqual(400);
  const broken = `{"config":{"credentials":{"api_key":"${canary()}" oops`;
  expect(
    (await ask('POST /connectors', { raw: broken, headers: { 'content-type': 'application/json' } })).status,
  ).toBe(400);
  expect((await ask('GET /connectors', { key: canary().replaceAll(/[^\x21-\x7e]/g, '') })).status).toBe(401);
});

it('shows no credential while it is changed, kept, referenced and removed', async () => {
  const made = await ask('POST /connectors?tenant_id=acme', {
    key: server.root,
    body: {
      ...SPECS.vector,
      name: 'referenced',
      config: { credentials: { api_key: { from_env: 'CANARY' } }, options: { mode: 'auth' } },
    },
  });
  const { connector_id: id } = made.json as { connector_id: string };
  await everyOperation(id, 'vector', 'keep');
  const patch = (config: unknown, by = {}) =>
    ask(`PATCH /connectors/${id}?tenant_id=acme`, { body: { config }, ...by });
  expect(await patch({ credentials: { api_key: canary() } })).toMatchObject({ status: 200 });
  const elsewhere = { credentials: { api_key: '***' }, options: { mode: 'down' } };
  expect(await patch(elsewhere)).toMatchObject({ status: 403 });
  expect(await patch(elsewhere, { key: server.root })).toMatchObject({ status: 200 });
  await everyOperation(id, 'vector', 'keep');
  const connector = await server.registry.get(id);
  seen.push(
    { from: 'inspect', text: inspect(connector, { depth: 10, showHidden: true }) },
    { from: 'JSON', text: JSON.stringify(connector) },
    {
      from: 'config',
      text: `${inspect(connector.config, { showHidden: true })} ${JSON.stringify({ ...connector.config })}`,
    },
  );
});

it('keeps no credential in clear in any file, in any spelling', async () => {
  await server.registry.getStatistics();
  for (const entry of await readdir(folder, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile()) continue;
    const file = join(entry.parentPath, entry.name);
    seen.push({ from: `file ${entry.name}`, text: (await readFile(file)).toString('latin1') });
  }
  seen.push(...server.logged.map((text) => ({ from: 'log of the server', text })));
  expect(seen.some(({ from }) => from === 'file registry.db')).toBe(true);
  expect(seen.some(({ from }) => from === 'file registry.db-wal')).toBe(true);
  expect(server.logged.length).toBeGreaterThan(100);
  // The backend did quote them, and what it said was shown with the secrets taken out.
  expect(seen.some(({ text }) => text.includes('refused key=***'))).toBe(true);
  expect(canaries.length).toBeGreaterThan(30);
  const hits = canaries.flatMap((secret, number) =>
    spellings(secret).flatMap(([name, form]) =>
      seen
        .filter(({ text }) => text.includes(form))
        .map(({ from }) => `canary ${number} as ${name} in ${from}`),
    ),
  );
  expect(hits).toEqual([]);
});

it('would find a canary in each of its spellings', () => {
  const secret = 'cnry/0123456789abcdef+é"x';
  for (const [name, form] of spellings(secret)) expect([name, form.length > 10]).toEqual([name, true]);
  expect(new Set(spellings(secret).map(([, form]) => form)).size).toBe(spellings(secret).length);
});

async function everyOperation(id: string, kind: (typeof KINDS)[number], fate: 'remove' | 'keep' = 'remove') {
  const bodies: Readonly<Record<string, unknown>> = {
    'vector.upsert': { records: [{ id: 'a', values: [1, 2, 3] }] },
    'vector.search': { vector: [1, 2, 3] },
    'vector.delete': { all: true },
    'vector.fetch': { ids: ['a'] },
    'connector.update': { metadata: { seen: true } },
    'function.deploy': { code: 'export const handler = () => 1' },
    'function.invoke': { async: true },
  };
  const own = {
    vector: /^(connector|vector)\./,
    file: /^(connector|file)\./,
    serverless: /^(connector|function|invocation)\./,
  }[kind];
  // Deletion comes last, or nothing would be left to ask.
  const wanted = operations.filter(
    (operation) => own.test(operation.id) && operation.id !== 'connector.create',
  );
  const ordered = [
    ...wanted.filter((operation) => operation.id !== 'connector.delete'),
    ...wanted.filter((operation) => operation.id === 'connector.delete'),
  ];
  let accepted: string | undefined;
  for (const operation of ordered) {
    if (fate === 'keep' && operation.id === 'connector.delete') continue;
    const path = operation.path
      .replace('{connector_id}', id)
      .replace('{request_id}', accepted ?? 'none')
      .replace(/\{\w+\+?\}/, 'echo');
    const { text, status } = await ask(`${operation.method} ${path}`, {
      ...(operation.request === 'ndjson' && {
        raw: '{"id":"a","values":[1,2,3]}',
        headers: { 'content-type': 'application/x-ndjson' },
      }),
      ...(operation.request === 'bytes' && { raw: 'content' }),
      ...(operation.request === undefined &&
        /POST|PATCH|PUT/.test(operation.method) && { body: bodies[operation.id] ?? {} }),
    });
    if (operation.id !== 'function.invoke' || status !== 202) continue;
    accepted = (JSON.parse(text) as { request_id: string }).request_id;
    // How it ended, and with which error, is stored and shown as well.
    await ask(`GET /connectors/${id}/invocations/${accepted}?wait=1`);
  }
}

function spellings(secret: string): readonly (readonly [string, string])[] {
  const bytes = Buffer.from(secret);
  // The middle of the secret, so that a spelling with other surroundings is found too: base64 at each alignment.
  const base64 = [0, 1, 2].map((shift) =>
    Buffer.concat([Buffer.alloc(shift), bytes])
      .toString('base64')
      .slice(4, -4),
  );
  return [
    ['clear', secret],
    ['its core', secret.slice(5, 23)],
    ['latin1 of its bytes', bytes.toString('latin1')],
    ...base64.map((form, shift) => [`base64 +${shift}`, form] as const),
    ['base64url', bytes.toString('base64url').slice(0, -2)],
    ['hex', bytes.toString('hex')],
    ['upper hex', bytes.toString('hex').toUpperCase()],
    ['URL-escaped', encodeURIComponent(secret)],
    ['JSON', JSON.stringify(secret).slice(1, -1)],
    ['reversed', [...secret].reverse().join('')],
  ];
}
