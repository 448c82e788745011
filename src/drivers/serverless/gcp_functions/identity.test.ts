import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { AUDIENCE, SUBJECT_TOKEN } from '../../../clouds/gcp/token-endpoints.fixture.ts';
import type { OpenContext } from '../../../driver.ts';
import { NEVER } from '../../../policies/pipeline.ts';
import { testClock } from '../../../testing/clock.ts';
import { blackHole, statusServer } from '../../../testing/faulty-servers.fixture.ts';
import { clientsOfDouble, failureOf, type Given, INVOCATION } from './clients.fixture.ts';
import { functionsFront } from './front.fixture.ts';
import driver from './index.ts';
import { audienceOf } from './places.ts';

const { google, start, folder, closing } = await clientsOfDouble();
const { issued } = google.tokens;
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
  token_url: `${google.url}/v1/token`,
  service_account_impersonation_url: `${google.url}/v1/projects/-/serviceAccounts/${google.email}:generateAccessToken`,
  credential_source: { file: file('subject', SUBJECT_TOKEN) },
  ...more,
});
/** A function behind a front that lets nobody in without an ID token for it, by URL and by the Cloud Run Admin API. */
async function guardedFunction(options: { readonly whole?: boolean } = {}) {
  const server = closing(await statusServer(200, { fine: true }));
  const front = closing(
    await functionsFront(new Map([['f', server.port]]), {
      audienceOf: (given) => google.tokens.audienceOf(given),
      ...options,
    }),
  );
  google.services.set('f', { uri: `${front.url}/f` });
  const byUrl = { ca: front.ca, functions: { f: `${front.url}/f` } };
  const byApi = { ca: front.ca, project_id: 'project-1', region: 'europe-west1', api_endpoint: google.url };
  return { front, byUrl, byApi };
}
const called = async (options: Given, context: Partial<OpenContext>) =>
  (await (await start(options, context)).invoke('f', null, INVOCATION, NEVER)).result;
const FINE = { fine: true };

describe('the options', () => {
  const problems = (given: Given) =>
    driver.options.safeParse(given).error?.issues.map((issue) => issue.path.join('.'));
  const url = 'https://f.example/f';

  it('say where the functions are, in one way', () => {
    expect(problems({})).toEqual(['functions']);
    expect(problems({ functions: { f: { signature: 'cloudevent' } } })).toEqual(['functions']);
    expect(problems({ functions: { f: url, g: { url, audience: 'custom' } } })).toBeUndefined();
    expect(problems({ endpoint: url, functions: { f: {} } })).toBeUndefined();
    expect(problems({ project_id: 'project-1' })).toEqual(['region']);
    expect(problems({ region: 'europe-west1', endpoint: url })).toEqual(['region']);
    expect(problems({ project_id: 'project-1', region: 'europe-west1' })).toBeUndefined();
    expect(problems({ project_id: 'acme.com:project-1', region: 'europe-west1' })).toBeUndefined();
    expect(problems({ project_id: 'a/../b', region: 'europe-west1' })).toEqual(['project_id']);
    expect(problems({ project_id: 'project-1', region: '../x' })).toEqual(['region']);
    expect(problems({ project_id: 'project-1', region: 'europe-west1', endpoint: url })).toEqual([
      'endpoint',
    ]);
  });

  it('take no URL with a user, a query or a fragment, and no name that is none', () => {
    for (const bad of [
      'https://u:p@a.example',
      'https://a.example?x',
      'https://a.example/#f',
      'ftp://a',
      'a',
    ]) {
      expect(new Set(problems({ endpoint: bad }))).toEqual(new Set(['endpoint']));
      expect(problems({ functions: { f: bad } })?.[0]).toMatch(/^functions/);
    }
    expect(problems({ functions: { '../f': url } })?.[0]).toMatch(/^functions/);
    expect(problems({ endpoint: url, api_endpoint: 'https://a.example/v2' })).toEqual(['api_endpoint']);
    expect(problems({ functions: { f: { url, event_type: 'line\nend' } } })?.[0]).toMatch(/^functions/);
  });

  it('take one identity, and no workload identity that cannot get ID tokens', () => {
    const credentials = { endpoint: url, service_account_key: google.key };
    expect(problems(credentials)).toBeUndefined();
    expect(problems({ endpoint: url, service_account_key: '{}' })).toEqual(['service_account_key']);
    expect(problems({ ...credentials, external_account: JSON.stringify(account()) })).toEqual([
      'external_account',
    ]);
    const alone = JSON.stringify(account({ service_account_impersonation_url: undefined }));
    expect(problems({ endpoint: url, external_account: alone })).toEqual(['external_account']);
    expect(problems({ endpoint: url, external_account: '{}' })).toEqual(['external_account']);
  });
});

describe('who a connector is', () => {
  it('is said: without credentials it does not open, and none are sent where auth_type is none', async () => {
    const { byUrl, byApi } = await guardedFunction();
    await expect(start(byUrl)).rejects.toMatchObject({
      code: 'invalid_argument',
      issues: [{ path: 'service_account_key' }],
    });
    const none = { authType: 'none' } as const;
    for (const options of [byApi, { ...byUrl, ...google.credentials }])
      await expect(start(options, none)).rejects.toMatchObject({ issues: [{ path: 'auth_type' }] });
    const client = await start(byUrl, none);
    expect(await client.check(NEVER)).toEqual([
      { level: 'info', message: '1 functions by URL, without credentials' },
    ]);
    await expect(client.invoke('f', null, INVOCATION, NEVER)).rejects.toMatchObject({ code: 'auth_failed' });
    expect(issued).toEqual([]);
  });

  it('is never the host’s where no administrator says so, whatever lies about on the host', async () => {
    const hole = closing(await blackHole());
    const { byUrl, byApi, front } = await guardedFunction();
    vi.stubEnv('GOOGLE_APPLICATION_CREDENTIALS', file('canary.json', google.key));
    vi.stubEnv('google_application_credentials', file('canary.json', google.key));
    vi.stubEnv('GCE_METADATA_HOST', `${hole.host}:${hole.port}`);
    vi.stubEnv('METADATA_SERVER_DETECTION', 'assume-present');
    vi.stubEnv('CLOUDSDK_CONFIG', folder);
    vi.stubEnv('GOOGLE_CLOUD_QUOTA_PROJECT', 'canary');
    vi.stubEnv('GOOGLE_CLOUD_UNIVERSE_DOMAIN', 'canary.example');
    for (const proxy of ['HTTP_PROXY', 'HTTPS_PROXY', 'http_proxy', 'https_proxy', 'ALL_PROXY'])
      vi.stubEnv(proxy, hole.url);
    const external = { external_account: JSON.stringify(account()) };
    const refusal = { code: 'permission_denied', message: expect.stringContaining('administrator') };
    for (const options of [byUrl, byApi]) {
      await expect(start(options, { authType: 'iam' })).rejects.toMatchObject(refusal);
      await expect(start({ ...options, ...external }, { authType: 'iam' })).rejects.toMatchObject(refusal);
      await expect(start(options)).rejects.toMatchObject({ code: 'invalid_argument' });
    }
    expect(issued).toEqual([]);
    expect(front.passed).toEqual([]);
    // The tenant's own key goes its own way, past every proxy, and to no address that the key names.
    const since = google.headers.length;
    expect(await called({ ...byApi, ...google.credentials }, { authType: 'iam' })).toEqual(FINE);
    expect(issued).toEqual(['key', 'key id']);
    expect(hole.connections()).toBe(0);
    const headers = google.headers.slice(since);
    expect(headers.length).toBe(4);
    expect(headers.filter((one) => JSON.stringify(one).includes('canary'))).toEqual([]);
  });

  it('is a workload identity that an administrator names: ID tokens are those of its service account', async () => {
    const { byUrl, byApi } = await guardedFunction();
    const external = { external_account: JSON.stringify(account()) };
    const trusted = { trusted: true, authType: 'iam' } as const;
    expect(await called({ ...byUrl, ...external }, trusted)).toEqual(FINE);
    expect(issued.splice(0)).toEqual(['exchange', 'impersonation id']);
    expect(await called({ ...byApi, ...external }, trusted)).toEqual(FINE);
    expect(issued).toEqual(['exchange', 'impersonation', 'exchange', 'impersonation id']);
    const wrong = JSON.stringify(account({ credential_source: { file: file('wrong', 'another-token') } }));
    await expect(start({ ...byUrl, external_account: wrong }, trusted)).rejects.toMatchObject({
      code: 'auth_failed',
    });
  });

  it('is this host where an administrator says so: its file, the one of gcloud, or its metadata service', async () => {
    const { byUrl, byApi } = await guardedFunction();
    const host = { trusted: true, authType: 'iam' } as const;
    vi.stubEnv('CLOUDSDK_CONFIG', path.join(folder, 'nothing'));
    vi.stubEnv('GCE_METADATA_HOST', new URL(google.url).host);
    expect(await called(byUrl, host)).toEqual(FINE);
    expect(await called(byApi, host)).toEqual(FINE);
    expect(issued.splice(0)).toEqual(['machine id', 'machine', 'machine id']);
    expect(await (await start(byUrl, host)).check(NEVER)).toContainEqual({
      level: 'info',
      message: '1 functions by URL, as this host',
    });
    issued.length = 0;
    const user = { type: 'authorized_user', client_id: 'a', client_secret: 'b' };
    const named = {
      key: google.key,
      user: JSON.stringify({ ...user, refresh_token: 'worthless-refresh' }),
      workload: JSON.stringify(account()),
    };
    for (const [name, text] of Object.entries(named)) {
      vi.stubEnv('GOOGLE_APPLICATION_CREDENTIALS', file(`${name}.json`, text));
      const own = { ...byUrl, token_endpoint: `${google.url}/token` };
      expect(await called(own, host)).toEqual(FINE);
    }
    expect(issued).toEqual(['key id', 'user id', 'exchange', 'impersonation id']);
    const bare = JSON.stringify(account({ service_account_impersonation_url: undefined }));
    vi.stubEnv('GOOGLE_APPLICATION_CREDENTIALS', file('bare.json', bare));
    await expect(start(byUrl, host)).rejects.toMatchObject({
      code: 'auth_failed',
      message: expect.stringContaining('service_account_impersonation_url'),
    });
    vi.stubEnv(
      'GOOGLE_APPLICATION_CREDENTIALS',
      file('refused.json', JSON.stringify({ ...user, refresh_token: 'x' })),
    );
    const refused = start({ ...byUrl, token_endpoint: `${google.url}/token` }, host);
    await expect(refused).rejects.toMatchObject({ code: 'auth_failed' });
  });
});

describe('an ID token', () => {
  it('is for one audience: the function, the whole service below an endpoint, or what the options name', async () => {
    const { byUrl, front } = await guardedFunction({ whole: true });
    const whole = { ca: front.ca, endpoint: front.url, ...google.credentials };
    expect(await called(whole, {})).toEqual(FINE);
    expect(await called({ ...whole, endpoint: `${front.url}/` }, {})).toEqual(FINE);
    await expect(called({ ...byUrl, ...google.credentials }, {})).rejects.toMatchObject({
      code: 'auth_failed',
    });
    const custom = { f: { url: `${front.url}/f`, audience: front.url } };
    expect(await called({ ...byUrl, ...google.credentials, functions: custom }, {})).toEqual(FINE);
  });

  it('has the URL of the service as its audience, without what a service of run.app has none of', () => {
    expect(audienceOf('https://f-abc-ew.a.run.app/path')).toBe('https://f-abc-ew.a.run.app');
    expect(audienceOf('https://f-123.europe-west1.run.app/')).toBe('https://f-123.europe-west1.run.app');
    expect(audienceOf('https://europe-west1-p.cloudfunctions.net/f')).toBe(
      'https://europe-west1-p.cloudfunctions.net/f',
    );
    expect(audienceOf('https://own.example/')).toBe('https://own.example');
    expect(audienceOf('https://run.app.example/f')).toBe('https://run.app.example/f');
  });

  it('is fetched once for all that wait for it, and anew before it ends', async () => {
    const { byUrl } = await guardedFunction();
    const clock = testClock();
    const client = await start({ ...byUrl, ...google.credentials }, { clock });
    const invoke = async () => client.invoke('f', null, INVOCATION, NEVER);
    await Promise.all(Array.from({ length: 20 }, invoke));
    expect(issued).toEqual(['key id']);
    await clock.advance(3_600_000 - 20_000);
    await Promise.all(Array.from({ length: 20 }, invoke));
    expect(issued).toEqual(['key id', 'key id']);
  });

  it('that cannot be had fails the call before the function is reached', async () => {
    const { byUrl, front } = await guardedFunction();
    const clock = testClock();
    const client = await start({ ...byUrl, ...google.credentials }, { clock });
    const passed = front.passed.length;
    await clock.advance(3_600_000);
    for (const [body, code] of [
      ['<html>', 'backend_error'],
      ['{"id_token":"no.token.at-all"}', 'backend_error'],
      ['{"access_token":"another","expires_in":3600}', 'backend_error'],
    ] as const) {
      google.fail({ match: /POST \/token/, body });
      expect(await failureOf(client.invoke('f', null, INVOCATION, NEVER))).toMatchObject({
        code,
        details: { sent: false },
      });
    }
    google.fail({ match: /POST \/token/, status: 503 });
    const since = google.requests.length;
    expect(await failureOf(client.invoke('f', null, INVOCATION, NEVER))).toMatchObject({
      code: 'unavailable',
      details: { sent: false },
    });
    expect(google.requests.length - since).toBe(1);
    expect(front.passed).toHaveLength(passed);
  });

  it('is sent in clear where the URL says so, and a note says that', async () => {
    const server = closing(await statusServer(200, FINE));
    const client = await start({ ...google.credentials, functions: { f: server.url } });
    expect(await client.check(NEVER)).toContainEqual({
      level: 'warn',
      message: 'ID tokens are sent in clear; use https',
    });
  });
});
