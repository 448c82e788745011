import { spawnSync } from 'node:child_process';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { testClock } from '../../../testing/clock.ts';
import { call, opened, startFunctions, TABLE, type FunctionServer, type Seen } from './functions.fixture.ts';
import { nodeRecipe, recipe, type IsGenuine } from './recipes.fixture.ts';

const NEW = 'the new secret of this connector';
const OLD = 'the old secret of this connector';
let server: FunctionServer;
let isGenuine: IsGenuine;
/** What the server takes for genuine, and the ids of what it took. */
const trusted = { secret: NEW, nowSeconds: 0, ids: new Set<unknown>() };

beforeAll(async () => {
  isGenuine = await nodeRecipe();
  server = await startFunctions({
    guard: (seen, response) => {
      const id = seen.headers['x-request-id'];
      if (!isGenuine(seen, trusted.secret, trusted.nowSeconds)) return response.writeHead(401).end();
      if (trusted.ids.has(id)) return response.writeHead(409).end('replayed');
      trusted.ids.add(id);
      return false;
    },
  });
});
afterAll(() => server.close());

async function signed(options: Readonly<Record<string, unknown>> = { signing_secret: NEW }) {
  const clock = testClock();
  trusted.secret = NEW;
  trusted.nowSeconds = clock.now() / 1000;
  trusted.ids.clear();
  server.seen.length = 0;
  const client = await opened({ endpoint: server.url, functions: TABLE, ...options }, { clock });
  const last = (): Seen => server.seen.at(-1) ?? expect.fail('nothing was sent');
  return { client, clock, last, [Symbol.asyncDispose]: () => client.close() };
}

describe('a signed call', () => {
  it('is taken by a function that checks it', async () => {
    await using one = await signed();
    const payload = { text: 'é😀\n', number: 1 };
    expect(await call(one.client, 'echo', payload)).toEqual({ status: 'completed', result: payload });
    expect(one.last().headers).toMatchObject({
      'x-timestamp': String(trusted.nowSeconds),
      'x-signature': expect.stringMatching(/^v1=[0-9a-f]{64}$/) as string,
      'x-request-id': 'request-1',
      'idempotency-key': '"request-1"',
    });
  });

  it.each([
    ['body', (seen: Seen) => ({ ...seen, body: Buffer.from('8') })],
    ['path', (seen: Seen) => ({ ...seen, path: '/v1/fails' })],
    ['query', (seen: Seen) => ({ ...seen, path: `${seen.path}?x` })],
    ['method', (seen: Seen) => ({ ...seen, method: 'PUT' })],
    ['id', (seen: Seen) => ({ ...seen, headers: { ...seen.headers, 'x-request-id': 'request-2' } })],
    ['time', (seen: Seen) => ({ ...seen, headers: { ...seen.headers, 'x-timestamp': '1767225601' } })],
    ['signature', (seen: Seen) => ({ ...seen, headers: { ...seen.headers, 'x-signature': 'v1=00' } })],
    ['version', (seen: Seen) => ({ ...seen, headers: { ...seen.headers, 'x-signature': 'v2=00' } })],
    ['headers', (seen: Seen) => ({ ...seen, headers: {} })],
    // What a dot between path and body would have let through.
    ['cut', (seen: Seen) => ({ ...seen, path: `${seen.path}\n7`, body: Buffer.from('') })],
  ])('is refused with another %s', async (_what, changed) => {
    await using one = await signed();
    await call(one.client, 'echo', 7);
    expect(isGenuine(one.last(), NEW, trusted.nowSeconds)).toBe(true);
    expect(isGenuine(changed(one.last()), NEW, trusted.nowSeconds)).toBe(false);
  });

  it('is auth_failed where the secret is another', async () => {
    await using one = await signed({ signing_secret: OLD });
    await expect(call(one.client, 'echo')).rejects.toMatchObject({ code: 'auth_failed' });
  });

  it('is refused when it is replayed within five minutes, and by its time alone after them', async () => {
    await using one = await signed();
    await call(one.client, 'echo', 7);
    const { method, path, headers, body } = one.last();
    const replay = async () => {
      const sent = { ...headers, host: '', connection: '' };
      const kept = Object.entries(sent).filter(([, value]) => typeof value === 'string' && value !== '');
      const response = await fetch(`${server.url}${path}`, {
        method,
        headers: Object.fromEntries(kept) as Record<string, string>, // strings, as was just seen
        body: body.toString(),
      });
      return response.status;
    };
    expect(await replay()).toBe(409);
    trusted.ids.clear();
    trusted.nowSeconds += 301;
    expect(await replay()).toBe(401);
    trusted.nowSeconds -= 602;
    expect(await replay()).toBe(401);
    trusted.nowSeconds += 301;
    expect(await replay()).toBe(200);
  });

  it('has a new time and the same id when it is tried again', async () => {
    await using one = await signed();
    await call(one.client, 'echo', 7);
    await one.clock.advance(400_000);
    trusted.nowSeconds += 400;
    trusted.ids.clear();
    expect(await call(one.client, 'echo', 7)).toMatchObject({ status: 'completed' });
    const [first, second] = server.seen.map(({ headers }) => headers);
    expect(second?.['x-request-id']).toBe(first?.['x-request-id']);
    expect(Number(second?.['x-timestamp'])).toBe(Number(first?.['x-timestamp']) + 400);
  });

  it('is taken by functions that have the new secret and by those that have the old one', async () => {
    await using one = await signed({ signing_secret: NEW, signing_secret_previous: OLD });
    expect(await call(one.client, 'echo', 1, { requestId: 'a' })).toMatchObject({ status: 'completed' });
    trusted.secret = OLD;
    expect(await call(one.client, 'echo', 1, { requestId: 'b' })).toMatchObject({ status: 'completed' });
    trusted.secret = 'a secret that nobody here has';
    await expect(call(one.client, 'echo')).rejects.toMatchObject({ code: 'auth_failed' });
  });
});

const hasPython = spawnSync('python3', ['--version']).status === 0;
if (!hasPython) process.stderr.write('serverless/http: the Python recipe is skipped: there is no python3\n');

it.skipIf(!hasPython)('is checked by the Python recipe as by the other', async () => {
  await using one = await signed({ signing_secret: NEW, signing_secret_previous: OLD });
  await call(one.client, 'echo', 'é');
  const { method, path, headers, body } = one.last();
  const given = { method, path, headers, body: body.toString('base64') };
  const program = `
import base64, json, sys
${recipe('python')}
given = json.load(sys.stdin)
body = base64.b64decode(given["body"])
def ask(secret, path=given["path"], body=body, seconds=0):
    now = int(given["headers"]["x-timestamp"]) + seconds
    return is_genuine(given["method"], path, given["headers"], body, secret, now)
print(json.dumps([
    ask("${NEW}"), ask("${OLD}"), ask("${NEW}", seconds=300), ask("${NEW}", seconds=-300),
    ask("another"), ask("${NEW}", path="/"), ask("${NEW}", body=b"x"), ask("${NEW}", seconds=301),
    ask("${NEW}", seconds=-301), is_genuine("POST", "/", {}, b"", "${NEW}"),
]))`;
  const { stdout, stderr } = spawnSync('python3', ['-c', program], { input: JSON.stringify(given) });
  expect(stderr.toString()).toBe('');
  expect(JSON.parse(stdout.toString())).toEqual([
    ...[true, true, true, true],
    ...[false, false, false, false, false, false],
  ]);
});
