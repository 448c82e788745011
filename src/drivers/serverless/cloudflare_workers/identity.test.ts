import { afterEach, describe, expect, it, vi } from 'vitest';
import type { JsonValue, ServerlessClient } from '../../../driver.ts';
import { NEVER } from '../../../policies/pipeline.ts';
import { TOKEN } from './cloudflare-api.fixture.ts';
import { failureOf, invocation, opened, platform } from './open.fixture.ts';

const { real, api, whole, open } = await platform();
const endpoint = `${real.url}/functions/{name}`;
const ACCESS = { access_client_id: 'id.access', access_client_secret: 'secret-of-access' };

type Received = {
  readonly event: JsonValue;
  readonly method: string;
  readonly headers: Record<string, string>;
};

/** What a Worker was sent. */
async function received(client: ServerlessClient, call = invocation()): Promise<Received> {
  const { result } = await client.invoke('request', { a: 1 }, call, NEVER);
  return result as Received; // the Worker's own answer, whose parts are looked at below
}

afterEach(() => vi.unstubAllEnvs());

describe('a Worker is sent', () => {
  it('the payload as JSON, and the id of the invocation, the same for each attempt', async () => {
    const client = await opened({ endpoint });
    const call = invocation();
    for (const { event, method, headers } of [await received(client, call), await received(client, call)]) {
      expect({ event, method }).toEqual({ event: { a: 1 }, method: 'POST' });
      expect(headers).toMatchObject({
        'content-type': 'application/json',
        'x-request-id': call.requestId,
        'idempotency-key': `"${call.requestId}"`,
      });
    }
  });

  it.each([
    ['nothing', {}, {}],
    ['a bearer', { api_key: 'key' }, { authorization: 'Bearer key' }],
    ['a header of its own', { api_key: 'key', api_key_header: 'X-Acme-Key' }, { 'x-acme-key': 'key' }],
    [
      'the basic header as it is',
      { api_key: 'Basic a2V5', api_key_header: 'Authorization' },
      { authorization: 'Basic a2V5' },
    ],
    [
      'a service token',
      ACCESS,
      { 'cf-access-client-id': 'id.access', 'cf-access-client-secret': 'secret-of-access' },
    ],
    [
      'both',
      { api_key: 'key', ...ACCESS },
      {
        authorization: 'Bearer key',
        'cf-access-client-id': 'id.access',
        'cf-access-client-secret': 'secret-of-access',
      },
    ],
  ])('%s, and no more', async (_what, options, expected) => {
    const { headers } = await received(await opened({ endpoint, ...options }));
    const known = Object.entries(headers).filter(([name]) =>
      /^(?:authorization|cf-access-.*|x-acme-.*)$/.test(name),
    );
    expect(Object.fromEntries(known)).toEqual(expected);
  });

  it('nothing of the API token, and the API nothing of the secrets of Workers', async () => {
    const client = await open({ ...whole, api_key: 'key-of-workers', ...ACCESS });
    expect(JSON.stringify(await received(client))).not.toContain(TOKEN);
    expect(JSON.stringify(api.seen)).not.toContain('key-of-workers');
    expect(JSON.stringify(api.seen)).not.toContain('secret-of-access');
  });
});

describe('the environment of the host', () => {
  it('is not sent, whoever made the connector', async () => {
    vi.stubEnv('CLOUDFLARE_API_TOKEN', 'token-of-the-host');
    vi.stubEnv('CLOUDFLARE_API_KEY', 'key-of-the-host');
    vi.stubEnv('CLOUDFLARE_EMAIL', 'somebody@host.example');
    vi.stubEnv('CLOUDFLARE_API_USER_SERVICE_KEY', 'service-key-of-the-host');
    vi.stubEnv(
      'CLOUDFLARE_CUSTOM_HEADERS',
      'x-host: header-of-the-host\nauthorization: Bearer header-of-the-host',
    );
    vi.stubEnv('CLOUDFLARE_BASE_URL', 'http://127.0.0.1:9/');
    vi.stubEnv('CLOUDFLARE_LOG', 'debug');
    const written = vi.spyOn(console, 'debug').mockImplementation(() => {});
    for (const trusted of [true, false]) {
      const before = api.seen.length;
      const client = await open(whole, { trusted });
      await client.listFunctions(NEVER);
      await client.start?.('flow-echo', 1, invocation(), NEVER);
      const seen = api.seen.slice(before);
      expect(seen.length).toBeGreaterThan(3);
      for (const { headers } of seen) {
        const { host, connection, 'content-length': length, 'transfer-encoding': coding, ...sent } = headers;
        expect([host, connection, length, coding].filter((value) => value !== undefined)).not.toEqual([]);
        const { 'content-type': type = 'application/json', 'user-agent': agent, ...rest } = sent;
        expect([type, agent]).toEqual(['application/json', 'undici']);
        expect(rest).toMatchObject({ authorization: `Bearer ${TOKEN}`, accept: 'application/json' });
        expect(JSON.stringify(rest)).not.toMatch(/host|stainless|somebody/);
      }
    }
    expect(written).not.toHaveBeenCalled();
    written.mockRestore();
  });

  it('is no token where none is given', async () => {
    vi.stubEnv('CLOUDFLARE_API_TOKEN', TOKEN);
    vi.stubEnv('CLOUDFLARE_ACCOUNT_ID', whole['account_id'] as string); // it is text
    const before = api.seen.length;
    const client = await opened({ endpoint, api_endpoint: api.url }, { trusted: true });
    expect(await failureOf(client.listFunctions(NEVER))).toMatchObject({ code: 'unsupported' });
    expect(api.seen).toHaveLength(before);
  });
});

describe('auth_type', () => {
  it.each([
    ['none', {}],
    ['api_key', { api_key: 'key' }],
    ['api_key', ACCESS],
    ['api_key', { account_id: whole['account_id'], api_token: TOKEN, api_endpoint: api.url }],
    [undefined, { api_key: 'key' }],
    [undefined, {}],
  ] as const)('%s with %j opens', async (authType, options) => {
    const client = await opened({ endpoint, ...options }, { authType });
    expect(await client.invoke('echo', 1, invocation(), NEVER)).toMatchObject({ result: 1 });
  });

  it.each([
    ['none', { api_key: 'key' }, 'auth_type'],
    ['none', ACCESS, 'auth_type'],
    ['api_key', {}, 'credentials'],
    ['oauth', { api_key: 'key' }, 'auth_type'],
    ['iam', {}, 'auth_type'],
  ] as const)('%s with %j is refused before anything is asked', async (authType, options, path) => {
    const stage = vi.fn();
    const error = await failureOf(opened({ endpoint, ...options }, { authType, stage }));
    expect(error).toMatchObject({ code: 'invalid_argument', issues: [{ path }] });
    expect(stage).not.toHaveBeenCalled();
  });
});
