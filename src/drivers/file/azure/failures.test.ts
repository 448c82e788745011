import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { inspect } from 'node:util';
import { afterAll, afterEach, describe, expect, it, vi } from 'vitest';
import type { FileClient, OpenContext } from '../../../driver.ts';
import { egressPolicy } from '../../../egress/addresses.ts';
import { network } from '../../../egress/network.ts';
import { NEVER } from '../../../policies/pipeline.ts';
import {
  blackHole,
  closedPort,
  nonsense,
  selfSigned,
  statusServer,
} from '../../../testing/faulty-servers.fixture.ts';
import { openContext } from '../../../testing/open-context.ts';
import { blobList } from './blob-list.fixture.ts';
import { failureOf } from './files.fixture.ts';
import driver from './index.ts';
import { checkIdentity } from './service.ts';

const KEY = Buffer.from('worthless-key-5d1c').toString('base64');
const double = await blobList(3);
const open: { close(): Promise<void> }[] = [];
afterEach(async () => {
  vi.unstubAllEnvs();
  for (const one of open.splice(0).toReversed()) await one.close();
});
afterAll(() => double.close());

type Settings = {
  readonly options?: Readonly<Record<string, unknown>>;
  readonly context?: Partial<OpenContext>;
};

async function start({ options, context }: Settings = {}): Promise<FileClient> {
  const given = { account: 'acme', container: 'files', endpoint: double.url, account_key: KEY, ...options };
  const client = await driver.open(
    driver.options.parse(given),
    openContext({ folder: '/nowhere', ...context }),
  );
  open.push(client);
  return client;
}

function kept<T extends { close(): Promise<void> }>(server: T): T {
  open.push(server);
  return server;
}

const xml = (code: string, detail = ''): string =>
  `<?xml version="1.0" encoding="utf-8"?><Error><Code>${code}</Code><Message>words of the server</Message>${detail}</Error>`;

describe('options', () => {
  const principal = { tenant_id: 't', client_id: 'c', client_secret: 's' };
  const sas = 'sv=2026-10-06&sig=worthless';
  const valid = (options: object) =>
    driver.options.safeParse({ account: 'acme', container: 'files', ...options });

  it('take one kind of credentials', () => {
    for (const one of [{}, { account_key: KEY }, { sas_token: sas }, { sas_token: `?${sas}` }, principal])
      expect(valid(one).success).toBe(true);
    const mixtures = [
      [{ account_key: KEY, sas_token: sas }, 'sas_token'],
      [{ account_key: KEY, ...principal }, 'client_id'],
      [{ sas_token: sas, identity_client_id: 'x' }, 'identity_client_id'],
    ] as const;
    for (const [mixture, path] of mixtures)
      expect(valid(mixture).error?.issues).toMatchObject([{ path: [path] }]);
  });

  it('refuse half a service principal, and tokens in clear', () => {
    for (const name of Object.keys(principal))
      expect(valid({ ...principal, [name]: undefined }).error?.issues).toMatchObject([{ path: [name] }]);
    for (const endpoint of ['http://127.0.0.1/acme', 'HTTP://127.0.0.1/acme'])
      expect(valid({ ...principal, endpoint }).error?.issues).toMatchObject([{ path: ['endpoint'] }]);
    const host = { account: 'acme', container: 'files', endpoint: 'HTTP://127.0.0.1/acme' };
    expect(() =>
      checkIdentity(driver.options.parse(host), openContext({ folder: '/nowhere', authType: 'iam' })),
    ).toThrow(expect.objectContaining({ issues: [expect.objectContaining({ path: 'endpoint' })] }));
  });

  it('refuse names that would be another address', () => {
    for (const container of ['a', 'Upper', 'a--b', '-ab', '../x', 'a/b', '$root'])
      expect(valid({ container }).error?.issues).toMatchObject([{ path: ['container'] }]);
    for (const account of ['ab', 'a.b.c', 'acme/x', 'acme@evil.example'])
      expect(valid({ account }).error?.issues).toMatchObject([{ path: ['account'] }]);
    for (const endpoint of ['http://u:p@h/', 'https://h/?sig=1', 'ftp://h/'])
      expect(valid({ endpoint }).error?.issues).toMatchObject([{ path: ['endpoint'] }]);
  });
});

describe('opening', () => {
  it('shows each stage', async () => {
    const stages: string[] = [];
    const stage: OpenContext['stage'] = (name, step) => (stages.push(name), step());
    await start({ context: { stage } });
    expect(stages).toEqual(['address', 'connect', 'credentials', 'bucket']);
  });

  it('fails by kind where there is no such server, or another one', async () => {
    const closed = await closedPort();
    await expect(start({ options: { endpoint: closed.url } })).rejects.toMatchObject({ code: 'unavailable' });
    const other = kept(await nonsense());
    for (let i = 0; i < 4; i++)
      await expect(start({ options: { endpoint: other.url } })).rejects.toMatchObject({
        code: 'backend_error',
      });
    const refusing = kept(await statusServer(401, { error: `no such key ${KEY}` }));
    await expect(start({ options: { endpoint: refusing.url } })).rejects.toMatchObject({
      code: 'auth_failed',
    });
  });

  it('ends with its signal where nobody answers, and lets go of the connection', async () => {
    const silent = kept(await blackHole());
    const ending = new AbortController();
    const opening = start({ options: { endpoint: silent.url }, context: { signal: ending.signal } });
    await silent.connected();
    ending.abort();
    await expect(opening).rejects.toMatchObject({ code: 'cancelled' });
    await silent.idle();
  });

  it('trusts a certificate of its own only where it was given', async () => {
    const answer = '<EnumerationResults><Blobs/><NextMarker/></EnumerationResults>';
    const secure = kept(
      await selfSigned((_request, response) =>
        response.writeHead(200, { 'content-type': 'application/xml', 'x-ms-request-id': 'x' }).end(answer),
      ),
    );
    await expect(start({ options: { endpoint: secure.url } })).rejects.toMatchObject({
      code: 'unavailable',
      message: expect.stringContaining('TLS'),
    });
    const client = await start({ options: { endpoint: secure.url, ca: secure.certificate } });
    expect(await client.check(NEVER)).toEqual([
      { level: 'info', message: 'container files of the account acme' },
    ]);
  });

  it('reaches no address that the operator does not allow', async () => {
    const before = double.requests();
    const guarded = network(egressPolicy({ allowPrivate: false }));
    await expect(start({ context: { network: guarded } })).rejects.toMatchObject({ code: 'egress_denied' });
    expect(double.requests()).toBe(before);
  });

  it('says so, too, where an address is no longer allowed for a later connection', async () => {
    let allowPrivate = true;
    const changing = network({ allows: (address) => egressPolicy({ allowPrivate }).allows(address) });
    const client = await start({ context: { network: changing } });
    allowPrivate = false;
    double.answerNext(200, { connection: 'close' });
    await failureOf(client.stat('a', NEVER));
    await expect(client.stat('a', NEVER)).rejects.toMatchObject({ code: 'egress_denied' });
  });

  it('refuses an account whose listings are in another order', async () => {
    const facts = { 'x-ms-request-id': 'x', 'x-ms-is-hns-enabled': 'true', 'x-ms-account-kind': 'StorageV2' };
    const opening = start({
      context: {
        stage(name, step) {
          if (name === 'bucket') double.answerNext(200, facts);
          return step();
        },
      },
    });
    await expect(opening).rejects.toMatchObject({ code: 'unsupported' });
  });
});

describe('the environment', () => {
  const CANARY = 'canary-8f02';

  it('lends nothing to a connector without credentials', async () => {
    vi.stubEnv('AZURE_STORAGE_CONNECTION_STRING', `AccountName=acme;AccountKey=${KEY}`);
    for (const name of ['AZURE_STORAGE_KEY', 'AZURE_STORAGE_ACCOUNT', 'AZURE_STORAGE_SAS_TOKEN'])
      vi.stubEnv(name, CANARY);
    for (const name of ['AZURE_CLIENT_ID', 'AZURE_CLIENT_SECRET', 'AZURE_TENANT_ID'])
      vi.stubEnv(name, CANARY);
    vi.stubEnv('IDENTITY_ENDPOINT', `${double.url}/identity`);
    vi.stubEnv('IDENTITY_HEADER', CANARY);
    const before = double.requests();
    const none = { account_key: undefined };
    await expect(start({ options: none })).rejects.toMatchObject({
      code: 'invalid_argument',
      issues: [{ path: 'credentials' }],
    });
    await expect(
      start({ options: none, context: { authType: 'iam', trusted: false } }),
    ).rejects.toMatchObject({
      code: 'permission_denied',
      message: expect.stringContaining('administrator'),
    });
    expect(double.requests()).toBe(before);
  });

  it('neither signs nor leads away what the tenant’s own credentials ask for', async () => {
    const proxy = kept(await blackHole());
    for (const name of ['HTTP_PROXY', 'HTTPS_PROXY', 'ALL_PROXY']) vi.stubEnv(name, proxy.url);
    vi.stubEnv('AZURE_STORAGE_KEY', CANARY);
    vi.stubEnv('AZURE_HTTP_USER_AGENT', CANARY);
    vi.stubEnv('AZURE_AUTHORITY_HOST', proxy.url.replace('http', 'https'));
    await start({ options: { account_key: undefined, sas_token: 'sv=1&sig=own' } });
    expect(double.heard()['authorization']).toBeUndefined();
    await start();
    expect(double.heard()['authorization']).toMatch(/^SharedKey acme:/);
    expect(JSON.stringify(double.heard())).not.toContain(CANARY);
    expect(proxy.connections()).toBe(0);
    vi.stubEnv('HTTPS_PROXY', 'no address at all');
    await start();
  });
});

describe('answers', () => {
  const cases = [
    [503, 'ServerBusy', { code: 'rate_limited', retryAfterMs: 30_000 }],
    [503, '', { code: 'unavailable', retryAfterMs: 30_000 }],
    [500, 'InternalError', { code: 'unavailable' }],
    [500, 'OperationTimedOut', { code: 'timeout' }],
    [403, 'AuthenticationFailed', { code: 'auth_failed' }],
    [403, 'AccountIsDisabled', { code: 'auth_failed' }],
    [403, 'AuthorizationPermissionMismatch', { code: 'permission_denied' }],
    [403, 'AuthorizationFailure', { code: 'permission_denied' }],
    [404, 'ContainerNotFound', { code: 'not_found', details: { container: 'files' } }],
    [404, 'BlobNotFound', { code: 'not_found', details: { path: 'a/b' } }],
    [409, 'BlobArchived', { code: 'invalid_state' }],
    [409, 'BlobImmutableDueToPolicy', { code: 'permission_denied' }],
    [409, 'ContainerBeingDeleted', { code: 'unavailable' }],
    [412, 'LeaseIdMissing', { code: 'conflict' }],
    [413, 'RequestBodyTooLarge', { code: 'payload_too_large' }],
    [400, 'InvalidResourceName', { code: 'invalid_argument', issues: [{ path: 'path' }] }],
    [400, 'InvalidHeaderValue', { code: 'backend_error' }],
    [418, '', { code: 'backend_error' }],
  ] as const;

  it.each(cases)('of %d %s are told apart, in one request each', async (status, code, expected) => {
    const client = await start();
    const before = double.requests();
    const headers = { 'retry-after': '30', ...(code !== '' && { 'x-ms-error-code': code }) };
    for (const ask of [
      () => client.write('a/b', Buffer.from('x'), {}, NEVER),
      () => client.stat('a/b', NEVER),
      () => client.readBytes('a/b', undefined, NEVER),
    ]) {
      double.answerNext(status, headers, code === '' ? '<html>Busy' : xml(code));
      await expect(ask()).rejects.toMatchObject(expected);
    }
    expect(double.requests() - before).toBe(3);
  });

  it('wait no time that the backend does not name', async () => {
    const client = await start();
    double.answerNext(503, { 'x-ms-error-code': 'ServerBusy' }, xml('ServerBusy'));
    const failure = await failureOf(client.stat('a', NEVER));
    expect(failure).toMatchObject({ code: 'rate_limited' });
    expect((failure as { readonly retryAfterMs?: number }).retryAfterMs).toBeUndefined();
    const date = new Date(Date.now() + 60_000).toUTCString();
    double.answerNext(503, { 'x-ms-error-code': 'ServerBusy', 'retry-after': date });
    expect(await failureOf(client.stat('a', NEVER))).toMatchObject({ retryAfterMs: expect.any(Number) });
  });

  it('of a missing file are false to a deletion alone', async () => {
    const client = await start();
    double.answerNext(404, { 'x-ms-error-code': 'BlobNotFound' }, xml('BlobNotFound'));
    expect(await client.delete('a', NEVER)).toBe(false);
    double.answerNext(404, { 'x-ms-error-code': 'ContainerNotFound' }, xml('ContainerNotFound'));
    await expect(client.delete('a', NEVER)).rejects.toMatchObject({
      code: 'not_found',
      message: expect.stringContaining('container files'),
    });
  });

  it('that lead elsewhere are not followed', async () => {
    const elsewhere = kept(await statusServer(200));
    const client = await start();
    const before = double.requests();
    for (const location of [elsewhere.url, `${double.url}/files/b`]) {
      double.answerNext(307, { location });
      await expect(client.stat('a', NEVER)).rejects.toMatchObject({ code: 'backend_error' });
    }
    expect(elsewhere.connections()).toBe(0);
    expect(double.requests() - before).toBe(2);
  });

  it('that are none of Azure’s are backend_error', async () => {
    const client = await start();
    const asks = [
      () => client.list('', { recursive: true, limit: 10 }, NEVER),
      () => client.list('', { recursive: false, limit: 10 }, NEVER),
      () => client.stat('a', NEVER),
      () => client.readBytes('a', undefined, NEVER),
      () => client.write('a', Buffer.from('x'), {}, NEVER),
    ];
    const named = { 'x-ms-request-id': 'x' };
    for (const ask of asks)
      for (const [headers, body] of [
        [{}, '<html><h1>It works!</h1></html>'],
        [{ ...named, 'content-type': 'text/html' }, '<html><h1>It works!</h1></html>'],
        [{ ...named, 'content-type': 'application/json' }, '{"result": ['],
        [named, '<EnumerationResults><Blobs><Blob><Name/></Blob></Blobs></EnumerationResults>'],
        [named, ''],
      ] as const) {
        double.answerNext(ask === asks[4] ? 201 : 200, headers, body);
        await expect(ask(), `${String(ask)} ${body}`).rejects.toMatchObject({ code: 'backend_error' });
      }
  });

  it('of a web server that has such a file are not taken for Azure’s', async () => {
    const client = await start();
    const headers = { etag: '"1"', 'last-modified': new Date().toUTCString(), 'content-length': '2' };
    for (const ask of [() => client.stat('a', NEVER), () => client.readBytes('a', undefined, NEVER)]) {
      double.answerNext(200, headers, 'ab');
      await expect(ask()).rejects.toMatchObject({ code: 'backend_error' });
    }
  });

  it('repeat no key, signature or token in what becomes of them', async () => {
    const sas = 'sv=2026-10-06&sig=canary-77e1';
    for (const options of [{}, { account_key: undefined, sas_token: sas }]) {
      const client = await start({ options });
      const detail = `<AuthenticationErrorDetail>The MAC signature 'canary-77e1' is not the same as '${KEY}'</AuthenticationErrorDetail>`;
      const headers = { 'x-ms-error-code': 'AuthenticationFailed' };
      double.answerNext(403, headers, xml('AuthenticationFailed', detail));
      const refused = await failureOf(client.write('a', Buffer.from('x'), {}, NEVER));
      const signature = double.heard()['authorization']?.split(':')[1] ?? 'canary-77e1';
      double.answerNext(400, {}, xml('InvalidInput', detail));
      const invalid = await failureOf(client.readBytes('a', undefined, NEVER));
      await client.close();
      const closed = await failureOf(client.stat('a', AbortSignal.timeout(2000)));
      const shown = inspect([refused, invalid, closed], { depth: 12, showHidden: true });
      for (const secret of [KEY, signature, 'canary-77e1', 'words of the server'])
        expect(shown).not.toContain(secret);
    }
  });
});

describe('copies', () => {
  const facts = (etag: string, bytes: number) => ({
    ...{ 'x-ms-request-id': 'x', etag: `"${etag}"`, 'last-modified': new Date().toUTCString() },
    'content-length': String(bytes),
  });
  const done = { 'x-ms-request-id': 'x', etag: '"new"', 'last-modified': new Date().toUTCString() };

  it('ask for the state of the source that was looked at, with a signature for it alone', async () => {
    const client = await start();
    double.answerNext(200, facts('old', 5));
    double.answerNext(202, { ...done, 'x-ms-copy-status': 'success' });
    expect(await client.copy?.('a ü/b', 'c', NEVER)).toEqual({ path: 'c', size: 5, etag: 'new' });
    const heard = double.heard();
    expect(heard['x-ms-source-if-match']).toBe('"old"');
    const source = new URL(String(heard['x-ms-copy-source']));
    expect(source.pathname).toBe('/acme/files/a%20%C3%BC/b');
    expect(Object.fromEntries(source.searchParams)).toMatchObject({
      sp: 'r',
      sr: 'b',
      sig: expect.any(String),
    });
  });

  it('of what Azure does not copy at once are put together from blocks of one state of the source', async () => {
    const client = await start();
    const before = double.requests();
    double.answerNext(200, facts('old', 300 * 2 ** 20));
    for (let i = 0; i < 3; i++) double.answerNext(201, { 'x-ms-request-id': 'x' });
    double.answerNext(200, facts('old', 300 * 2 ** 20));
    double.answerNext(201, done);
    expect(await client.copy?.('a', 'b', NEVER)).toEqual({ path: 'b', size: 300 * 2 ** 20, etag: 'new' });
    expect(double.requests() - before).toBe(6);
    const ranges = [2, 3, 4].map((index) => double.heard(index)['x-ms-source-range']);
    expect(new Set(ranges)).toEqual(
      new Set([
        `bytes=0-${2 ** 27 - 1}`,
        `bytes=${2 ** 27}-${2 ** 28 - 1}`,
        `bytes=${2 ** 28}-${300 * 2 ** 20 - 1}`,
      ]),
    );
  });

  it('are not put together from two states of the source', async () => {
    const client = await start();
    const before = double.requests();
    double.answerNext(200, facts('old', 300 * 2 ** 20));
    for (let i = 0; i < 3; i++) double.answerNext(201, { 'x-ms-request-id': 'x' });
    double.answerNext(200, facts('newer', 300 * 2 ** 20));
    await expect(client.copy?.('a', 'b', NEVER)).rejects.toMatchObject({ code: 'conflict' });
    expect(double.requests() - before).toBe(5);
  });

  it('that move leave a source that was replaced meanwhile, and say so', async () => {
    const client = await start();
    double.answerNext(200, facts('old', 5));
    double.answerNext(202, { ...done, 'x-ms-copy-status': 'success' });
    double.answerNext(412, { 'x-ms-error-code': 'ConditionNotMet' }, xml('ConditionNotMet'));
    await expect(client.move?.('a', 'b', NEVER)).rejects.toMatchObject({ code: 'conflict' });
    expect(double.heard()['if-match']).toBe('"old"');
  });
});

describe('an answer that has no end', () => {
  const chunk = Buffer.alloc(2 ** 20, ' ');

  /** Answers all that matches so, and everything else as the double does. */
  async function endless(status: number, match: RegExp) {
    const server = createServer((request, response) => {
      const isEndless = match.test(`${request.method} ${request.url}`);
      response.writeHead(isEndless ? status : 200, {
        'x-ms-request-id': '1',
        'content-type': 'application/xml',
      });
      if (!isEndless)
        return void response.end('<EnumerationResults><Blobs/><NextMarker/></EnumerationResults>');
      const more = (): void => {
        while (!response.destroyed && response.write(chunk)) continue;
      };
      response.on('drain', more);
      more();
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    kept({
      async close() {
        server.closeAllConnections();
        server.close();
      },
    });
    const { port } = server.address() as AddressInfo; // a TCP server's address is never a pipe's name
    return { endpoint: `http://127.0.0.1:${port}` };
  }

  it.each([200, 500])('is given up, after %d to a listing', async (status) => {
    const options = await endless(status, /comp=list/);
    expect(await failureOf(start({ options }))).toMatchObject({
      code: 'backend_error',
      details: { maxBytes: 32 * 2 ** 20 },
    });
  });

  it('is left unread where it is the refusal of a file', async () => {
    const client = await start({ options: await endless(503, /GET \/files\/a$/) });
    expect(await failureOf(client.readBytes('a', undefined, NEVER))).toMatchObject({ code: 'unavailable' });
  });
});
