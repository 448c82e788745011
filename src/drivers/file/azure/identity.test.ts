import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { inspect } from 'node:util';
import { Agent, fetch } from 'undici';
import { afterAll, afterEach, describe, expect, it, vi } from 'vitest';
import type { OpenContext, PresignedUrl } from '../../../driver.ts';
import { NEVER } from '../../../policies/pipeline.ts';
import { selfSignedCertificate } from '../../../testing/certificate.fixture.ts';
import { text } from '../../../testing/file-suite.ts';
import { authority, managedIdentity, type TokenService } from '../../../clouds/azure/authority.fixture.ts';
import { startAzurite } from './azure.fixture.ts';
import { azureClients, failureOf } from './files.fixture.ts';

const SECRET = 'worthless-8e1d';
const certificate = selfSignedCertificate();
const server = await startAzurite(certificate);
// The identity library keeps where it found the host's identity first, for the whole process.
const host = await managedIdentity();
const clients = azureClients(server);
const doubles: TokenService[] = [];
const holder = new Agent({ connect: { ca: certificate.cert } });
afterEach(async () => {
  vi.unstubAllEnvs();
  await clients.close();
  for (const double of doubles.splice(0)) await double.close();
  host.reset();
});
afterAll(async () => {
  await holder.close();
  await host.close();
  await server.close();
});

async function startAuthority(own = certificate): Promise<TokenService> {
  const double = await authority(own);
  doubles.push(double);
  return double;
}

function principal({ url: authority_host }: TokenService) {
  return {
    ...{ tenant_id: 'directory', client_id: 'application', client_secret: SECRET },
    ...{ authority_host, ca: certificate.cert },
  };
}

const use = ({ url, method, headers }: PresignedUrl, body?: string) =>
  fetch(url, { method, headers, dispatcher: holder, ...(body !== undefined && { body }) });

describe('a service principal', () => {
  it('gets a token by the documented request, once, and does all with it', async () => {
    const double = await startAuthority();
    const { client } = await clients.files(principal(double));
    await client.write('a/b', Buffer.from('content'), {}, NEVER);
    expect(text(await client.readBytes('a/b', undefined, NEVER))).toBe('content');
    await client.copy?.('a/b', 'a/c', NEVER);
    await client.move?.('a/c', 'a/d', NEVER);
    const { files } = await client.list('a', { recursive: true, limit: 10 }, NEVER);
    expect(files.map(({ path }) => path)).toEqual(['a/b', 'a/d']);
    expect(double.requests).toMatchObject([
      {
        method: 'POST',
        path: '/directory/oauth2/v2.0/token',
        form: {
          grant_type: 'client_credentials',
          client_id: 'application',
          client_secret: SECRET,
          scope: 'https://storage.azure.com/.default',
        },
      },
    ]);
  });

  it('renews a token that is about to end, once for all calls, and uses the old one meanwhile', async () => {
    const double = await startAuthority();
    double.expireIn(240);
    const { client } = await clients.files(principal(double));
    const asked = () => failureOf(client.stat('none', NEVER));
    await vi.waitFor(async () => {
      await asked();
      expect(double.requests.length).toBeGreaterThan(1);
    });
    double.fallSilent();
    // The one that was under way is still answered, and what it brought is about to end as well.
    await vi.waitFor(async () => {
      await asked();
      expect(double.unanswered()).toBe(1);
    });
    await Promise.all(Array.from({ length: 8 }, asked));
    for (const name of ['a', 'b']) await client.write(name, Buffer.from('x'), {}, NEVER);
    expect(double.unanswered()).toBe(1);
  });

  it('that the authority refuses is auth_failed, or as busy as the authority, and no secret is told', async () => {
    const double = await startAuthority();
    const description = `AADSTS7000215: Invalid client secret provided: ${SECRET}`;
    double.refuse(401, { error: 'invalid_client', error_description: description, error_codes: [7000215] });
    const options = principal(double);
    const refused = await failureOf(clients.files(options));
    expect(refused).toMatchObject({
      code: 'auth_failed',
      message: 'the authority refused the identity: invalid_client AADSTS7000215',
    });
    expect(inspect(refused, { depth: 12, showHidden: true })).not.toContain(SECRET);
    double.refuse(429, { error: 'temporarily_unavailable' }, { 'retry-after': '7' });
    expect(await failureOf(clients.files(options))).toMatchObject({
      code: 'rate_limited',
      retryAfterMs: 7000,
    });
    double.refuse(200, { token_type: 'Bearer' });
    expect(await failureOf(clients.files(options))).toMatchObject({ code: 'backend_error' });
    const elsewhere = await startAuthority(selfSignedCertificate());
    expect(await failureOf(clients.files({ ...options, authority_host: elsewhere.url }))).toMatchObject({
      code: 'unavailable',
      message: expect.stringContaining('TLS'),
    });
  });

  it('waits for a silent authority no longer than its signal', async () => {
    const double = await startAuthority();
    double.fallSilent();
    const { containerName } = await server.container();
    const ending = new AbortController();
    const options = { ...principal(double), container: containerName };
    const opening = failureOf(clients.open(options, { signal: ending.signal }));
    await vi.waitFor(() => expect(double.requests).toHaveLength(1));
    ending.abort();
    expect(await opening).toMatchObject({ code: 'cancelled' });
  });

  it('signs addresses with a key of the account’s directory, which it asks for once', async () => {
    const double = await startAuthority();
    const { client } = await clients.files(principal(double));
    await client.write('signed', Buffer.from('content'), {}, NEVER);
    const reading = await client.presign?.('signed', { method: 'GET', expiresInSeconds: 604_800 }, NEVER);
    const writing = await client.presign?.('new ü', { method: 'PUT', expiresInSeconds: 60 }, NEVER);
    if (reading === undefined || writing === undefined) throw new Error('not signed');
    const query = (one: PresignedUrl) => Object.fromEntries(new URL(one.url).searchParams);
    expect(query(reading)).toMatchObject({
      sp: 'r',
      sr: 'b',
      spr: 'https',
      skoid: 'object',
      sktid: 'directory',
    });
    expect(query(writing)['ske']).toBe(query(reading)['ske']);
    expect(await (await use(reading)).text()).toBe('content');
    expect((await use(writing, 'put')).status).toBe(201);
    expect(text(await client.readBytes('new ü', undefined, NEVER))).toBe('put');
    expect((await use({ ...reading, method: 'PUT', headers: writing.headers }, 'no')).status).toBe(403);
  });
});

describe('the identity of the host', () => {
  const asHost = { authType: 'iam', trusted: true } satisfies Partial<OpenContext>;
  const opened = async (
    options: Readonly<Record<string, unknown>> = {},
    context: Partial<OpenContext> = asHost,
  ) => {
    const { containerName: container } = await server.container();
    return clients.open({ container, ca: certificate.cert, ...options }, context);
  };

  it('is asked for at the service that App Service names', async () => {
    vi.stubEnv('IDENTITY_ENDPOINT', `${host.url}/msi/token`);
    vi.stubEnv('IDENTITY_HEADER', 'header-of-the-host');
    const client = await opened({ identity_client_id: 'user-assigned' });
    expect(await client.write('a', Buffer.from('x'), {}, NEVER)).toMatchObject({ size: 1 });
    expect(host.requests).toMatchObject([
      {
        method: 'GET',
        path: '/msi/token',
        query: {
          resource: expect.stringMatching(/^https:\/\/storage\.azure\.com\/?$/),
          client_id: 'user-assigned',
        },
        headers: { 'x-identity-header': 'header-of-the-host' },
      },
    ]);
  });

  it('is that of the Kubernetes workload where the environment describes one', async () => {
    const double = await startAuthority();
    const folder = await mkdtemp(join(tmpdir(), 'azure-'));
    try {
      await writeFile(join(folder, 'token'), 'federated-token\n');
      vi.stubEnv('AZURE_FEDERATED_TOKEN_FILE', join(folder, 'token'));
      vi.stubEnv('AZURE_TENANT_ID', 'directory');
      vi.stubEnv('AZURE_CLIENT_ID', 'workload');
      vi.stubEnv('AZURE_AUTHORITY_HOST', `${double.url}/`);
      await opened();
      expect(double.requests).toMatchObject([
        {
          path: '/directory/oauth2/v2.0/token',
          form: {
            client_id: 'workload',
            client_assertion_type: 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer',
            client_assertion: 'federated-token',
          },
        },
      ]);
    } finally {
      await rm(folder, { recursive: true });
    }
  });

  it('that gives no token is auth_failed, and one that does not answer is waited for no longer than the signal', async () => {
    vi.stubEnv('IDENTITY_ENDPOINT', `${host.url}/msi/token`);
    vi.stubEnv('IDENTITY_HEADER', 'header-of-the-host');
    host.refuse(400, { error: 'invalid_request', error_description: 'Identity not found' });
    const refused = await failureOf(opened({ identity_client_id: 'unknown' }));
    expect(refused).toMatchObject({ code: 'auth_failed' });
    expect(inspect(refused, { depth: 12, showHidden: true })).not.toContain('header-of-the-host');
    expect(host.requests).toHaveLength(1);
    host.fallSilent();
    const ending = new AbortController();
    const opening = failureOf(opened({ identity_client_id: 'silent' }, { ...asHost, signal: ending.signal }));
    await vi.waitFor(() => expect(host.requests).toHaveLength(2));
    ending.abort();
    expect(await opening).toMatchObject({ code: 'cancelled' });
    await host.close();
    expect(await failureOf(opened({ identity_client_id: 'closed' }))).toMatchObject({ code: 'unavailable' });
  });

  it('is not for a connector that no administrator made', async () => {
    vi.stubEnv('IDENTITY_ENDPOINT', `${host.url}/msi/token`);
    vi.stubEnv('IDENTITY_HEADER', 'header-of-the-host');
    for (const options of [{}, { identity_client_id: 'x' }])
      expect(await failureOf(opened(options, { authType: 'iam', trusted: false }))).toMatchObject({
        code: 'permission_denied',
      });
    expect(await failureOf(opened({}, { trusted: true }))).toMatchObject({ code: 'invalid_argument' });
    expect(await failureOf(opened({ endpoint: server.endpoint.replace('https', 'http') }))).toMatchObject({
      issues: [{ path: 'endpoint' }],
    });
    expect(host.requests).toEqual([]);
  });
});
