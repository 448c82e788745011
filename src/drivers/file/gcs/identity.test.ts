import { createPrivateKey, randomBytes } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { afterEach, describe, expect, it, vi } from 'vitest';
import type { OpenContext } from '../../../driver.ts';
import { NEVER } from '../../../policies/pipeline.ts';
import { blackHole, closedPort } from '../../../testing/faulty-servers.fixture.ts';
import { clientsOfDouble, type Given } from './clients.fixture.ts';
import { AUDIENCE, SUBJECT_TOKEN } from '../../../clouds/gcp/token-endpoints.fixture.ts';
import { gcsDouble } from './gcs.fixture.ts';
import driver from './index.ts';

const { double, start, folder, closing } = await clientsOfDouble();
const { issued } = double.tokens;
afterEach(() => {
  vi.unstubAllEnvs();
  issued.length = 0;
});

const file = (name: string, text: string): string => {
  const at = path.join(folder, name);
  writeFileSync(at, text);
  return at;
};
const account = (more: Given = {}): Given => ({
  type: 'external_account',
  audience: AUDIENCE,
  subject_token_type: 'urn:ietf:params:oauth:token-type:jwt',
  token_url: `${double.endpoint}/v1/token`,
  credential_source: { file: file('subject', SUBJECT_TOKEN) },
  ...more,
});
const NO_KEY = { service_account_key: undefined };
const external = (more?: Given) => ({ ...NO_KEY, external_account: JSON.stringify(account(more)) });
const impersonation = () =>
  `${double.endpoint}/v1/projects/-/serviceAccounts/${double.email}:generateAccessToken`;

/** A key of that size which took no time to make: its numbers are no primes, and nothing verifies what it signs. */
function rsaKey(bits: number): string {
  const part = (of: number): string => {
    const bytes = randomBytes(of / 8);
    bytes[0] = (bytes[0] ?? 0) | 0xc0;
    bytes[bytes.length - 1] = (bytes.at(-1) ?? 0) | 1;
    return bytes.toString('base64url');
  };
  const half = bits / 2;
  const [p, q, dp, dq, qi] = [part(half), part(half), part(half), part(half), part(half)];
  const key = { kty: 'RSA', e: 'AQAB', n: part(bits), d: part(bits), p, q, dp, dq, qi };
  return createPrivateKey({ key, format: 'jwk' }).export({ type: 'pkcs8', format: 'pem' }).toString();
}

describe('the options', () => {
  const problems = (given: Given) =>
    driver.options
      .safeParse({ ...double.options, ...given })
      .error?.issues.map((issue) => issue.path.join('.'));

  it('take no half of a key, no key of another kind, and never two identities', () => {
    const key = JSON.parse(double.key) as Given;
    for (const broken of [
      'no json',
      '{}',
      JSON.stringify({ ...key, private_key: undefined }),
      JSON.stringify({ ...key, client_email: undefined }),
      JSON.stringify({ ...key, private_key: 'no pem' }),
      JSON.stringify({ ...key, type: 'authorized_user' }),
    ])
      expect(problems({ service_account_key: broken })).toEqual(['service_account_key']);
    expect(problems({ external_account: JSON.stringify(account()) })).toEqual(['external_account']);
    expect(problems({})).toBeUndefined();
  });

  it('take no key whose signatures would take seconds', () => {
    const sizes = [8192, 16_384];
    const taken = sizes.map((bits) =>
      problems({
        service_account_key: JSON.stringify({
          ...(JSON.parse(double.key) as Given),
          private_key: rsaKey(bits),
        }),
      }),
    );
    expect(taken).toEqual([undefined, ['service_account_key']]);
  });

  it('take no workload identity that runs a program or brings a certificate', () => {
    for (const credential_source of [
      { executable: { command: '/bin/true' } },
      { certificate: { use_default_certificate_config: true } },
    ])
      expect(
        problems({ ...NO_KEY, external_account: JSON.stringify(account({ credential_source })) }),
      ).toContain('external_account');
  });

  it('take no endpoint with a path, a user or a query', () => {
    for (const endpoint of ['https://a.example/b', 'https://u:p@a.example', 'https://a.example?x', 'ftp://a'])
      expect(problems({ endpoint })).toContain('endpoint');
  });
});

describe('who a connector is', () => {
  it('is said: without credentials it does not open, and none are sent where auth_type is none', async () => {
    await expect(start(NO_KEY)).rejects.toMatchObject({
      code: 'invalid_argument',
      issues: [{ path: 'service_account_key' }],
    });
    await expect(start({}, { authType: 'none' })).rejects.toMatchObject({
      issues: [{ path: 'auth_type' }],
    });
    const open = closing(await gcsDouble({ anonymous: true }));
    const client = await start({ ...open.options, ...NO_KEY }, { authType: 'none' });
    await client.write('a', Buffer.from('x'), {}, NEVER);
    expect(await client.check(NEVER)).toContainEqual({
      level: 'info',
      message: 'bucket suite-bucket of Google Cloud Storage, without credentials',
    });
    expect(open.tokens.issued).toEqual([]);
  });

  it('is never the host’s where no administrator says so, whatever lies about on the host', async () => {
    const hole = closing(await blackHole());
    const canary = file('canary.json', double.key);
    vi.stubEnv('GOOGLE_APPLICATION_CREDENTIALS', canary);
    vi.stubEnv('google_application_credentials', canary);
    vi.stubEnv('GCE_METADATA_HOST', `${hole.host}:${hole.port}`);
    vi.stubEnv('CLOUDSDK_CONFIG', folder);
    vi.stubEnv('GOOGLE_CLOUD_QUOTA_PROJECT', 'canary');
    vi.stubEnv('STORAGE_EMULATOR_HOST', hole.url);
    for (const proxy of ['HTTP_PROXY', 'HTTPS_PROXY', 'http_proxy', 'https_proxy', 'ALL_PROXY'])
      vi.stubEnv(proxy, hole.url);
    const untrusted: Partial<OpenContext> = { trusted: false, authType: 'iam' };
    const refusal = { code: 'permission_denied', message: expect.stringContaining('administrator') };
    await expect(start(NO_KEY, untrusted)).rejects.toMatchObject(refusal);
    await expect(start(external(), untrusted)).rejects.toMatchObject(refusal);
    await expect(start(NO_KEY, { trusted: false })).rejects.toMatchObject({ code: 'invalid_argument' });
    expect(issued).toEqual([]);
    // The tenant's own key goes its own way, past every proxy, and to no address that the key names.
    const before = double.requests.length;
    await (await start({}, { trusted: false })).check(NEVER);
    expect(double.requests.slice(before)[0]).toBe('POST /token');
    expect(issued).toEqual(['key']);
    expect(hole.connections()).toBe(0);
  });

  it('is a workload identity that an administrator names, by a file and by an address', async () => {
    const trusted: Partial<OpenContext> = { trusted: true, authType: 'iam' };
    await (await start(external(), trusted)).check(NEVER);
    const url = {
      url: `${double.endpoint}/subject`,
      headers: { 'x-subject': 'yes' },
      format: { type: 'json', subject_token_field_name: 'id_token' },
    };
    const client = await start(
      external({ credential_source: url, service_account_impersonation_url: impersonation() }),
      trusted,
    );
    await client.check(NEVER);
    expect(issued).toEqual(['exchange', 'exchange', 'impersonation']);
    await expect(client.presign?.('a', { method: 'GET', expiresInSeconds: 60 }, NEVER)).rejects.toMatchObject(
      { code: 'unsupported', details: { capability: 'presign' } },
    );
  });

  it('is refused as auth_failed where the workload identity is not what it says', async () => {
    const trusted: Partial<OpenContext> = { trusted: true };
    for (const more of [
      { credential_source: { file: path.join(folder, 'missing') } },
      { credential_source: { file: file('wrong', 'another-token') } },
      { credential_source: {} },
      { audience: 'another' },
      { credential_source: { url: `${double.endpoint}/subject` } },
    ]) {
      const code = 'url' in (more.credential_source ?? {}) ? 'permission_denied' : 'auth_failed';
      await expect(start(external(more), trusted)).rejects.toMatchObject({ code });
    }
    const { url } = await closedPort();
    await expect(start(external({ token_url: url }), trusted)).rejects.toMatchObject({ code: 'unavailable' });
  });

  it('is this host where an administrator says so: its file, the one of gcloud, or its metadata service', async () => {
    const host: Partial<OpenContext> = { trusted: true, authType: 'iam' };
    vi.stubEnv('CLOUDSDK_CONFIG', path.join(folder, 'nothing'));
    vi.stubEnv('GCE_METADATA_HOST', new URL(double.endpoint).host);
    await (await start(NO_KEY, host)).check(NEVER);
    vi.stubEnv('CLOUDSDK_CONFIG', folder);
    const user = { type: 'authorized_user', client_id: 'a', client_secret: 'b' };
    file(
      'application_default_credentials.json',
      JSON.stringify({ ...user, refresh_token: 'worthless-refresh' }),
    );
    await (await start(NO_KEY, host)).check(NEVER);
    vi.stubEnv('GOOGLE_APPLICATION_CREDENTIALS', file('named.json', double.key));
    await (await start(NO_KEY, host)).check(NEVER);
    vi.stubEnv('GOOGLE_APPLICATION_CREDENTIALS', file('workload.json', JSON.stringify(account())));
    await (await start(NO_KEY, host)).check(NEVER);
    expect(issued).toEqual(['machine', 'user', 'key', 'exchange']);
    vi.stubEnv('GOOGLE_APPLICATION_CREDENTIALS', path.join(folder, 'missing.json'));
    await expect(start(NO_KEY, host)).rejects.toMatchObject({ code: 'auth_failed' });
    vi.stubEnv('GOOGLE_APPLICATION_CREDENTIALS', file('odd.json', '{"type":"gdch_service_account"}'));
    await expect(start(NO_KEY, host)).rejects.toMatchObject({ code: 'auth_failed' });
  });
});

describe('an access token', () => {
  it('is fetched once for all that wait for it, and sent by all', async () => {
    const client = await start();
    double.tokens.revoke();
    const before = issued.length;
    const found = await Promise.all(Array.from({ length: 20 }, async () => client.delete('none', NEVER)));
    expect(found).toEqual(Array.from({ length: 20 }, () => false));
    // The one that was good is refused to all of them; the next serves them all.
    expect(issued.length - before).toBe(1);
  });

  it('that is refused although it is new is not asked for again', async () => {
    const client = await start();
    const before = issued.length;
    double.fail({ match: /DELETE/, status: 401, times: 2 });
    await expect(client.delete('none', NEVER)).rejects.toMatchObject({ code: 'auth_failed' });
    expect(issued.length - before).toBe(1);
    expect(await client.delete('none', NEVER)).toBe(false);
  });

  it('bills the project that is named', async () => {
    const before = double.requests.length;
    const client = await start({ user_project: 'payer-1' });
    await client.write('paid', Buffer.alloc(9 * 2 ** 20), {}, NEVER);
    await client.delete('paid', NEVER);
    const asked = double.requests.slice(before).filter((line) => !line.includes('/token'));
    expect(asked.length).toBeGreaterThan(4);
    for (const line of asked) expect(line).toContain('userProject=payer-1');
    const signed = await client.presign?.('paid', { method: 'GET', expiresInSeconds: 60 }, NEVER);
    expect(signed?.url).toContain('userProject=payer-1');
  });
});
