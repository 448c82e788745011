import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { inspect } from 'node:util';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { canaryEnvironment } from '../../../clouds/aws/canary.fixture.ts';
import { egressPolicy } from '../../../egress/addresses.ts';
import { network } from '../../../egress/network.ts';
import driver from './index.ts';
import {
  clientTo,
  EMPTY_LIST,
  refusal,
  SECRET,
  wireServer,
  type Answer,
  type WireServer,
} from './wire.fixture.ts';

const NEVER = new AbortController().signal;
const FACTS = { etag: '"e"', 'last-modified': 'Fri, 27 Nov 2026 10:00:00 GMT', 'content-length': 0 };
const NO_KEYS = { access_key_id: undefined, secret_access_key: undefined };
const ROLE = { role_arn: 'arn:aws:iam::123456789012:role/files', external_id: `${SECRET}-external` };

let closing: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const close of closing.toReversed()) await close();
  closing = [];
  vi.unstubAllEnvs();
});

async function serverOf(answer: Answer): Promise<WireServer> {
  const server = await wireServer(answer);
  closing.push(() => server.close());
  return server;
}

const bucket: Answer = ({ url }, response) =>
  void (url.includes('list-type') ? response.end(EMPTY_LIST) : response.writeHead(200, FACTS).end());

const keyOf = (server: WireServer) =>
  new Set(
    server.asked.map(
      ({ headers }) => /Credential=([^/]+)\/\d+\/([^/]+)/.exec(headers.authorization ?? '')?.[1],
    ),
  );

/** Everything by which the SDK can be told of somebody else's keys, endpoints and habits. */
async function amidCanaries(): Promise<WireServer> {
  const canary = await serverOf((_asked, response) => void response.writeHead(200).end('{}'));
  const folder = await mkdtemp(join(tmpdir(), 's3-canary-'));
  closing.push(() => rm(folder, { recursive: true }));
  for (const [name, value] of Object.entries(canaryEnvironment(canary.url, folder))) vi.stubEnv(name, value);
  return canary;
}

describe('the environment of the host', () => {
  it('says nothing to a client that has keys of its own', async () => {
    const canary = await amidCanaries();
    const server = await serverOf(bucket);
    const client = await clientTo(server.url, { region: 'eu-west-1' }, { trusted: false });
    closing.push(() => client.close());
    await client.write('a', Buffer.from('x'), {}, NEVER);
    await client.stat('a', NEVER);
    await client.list('', { recursive: true, limit: 5 }, NEVER);
    const { url } = (await client.presign?.('a', { method: 'PUT', expiresInSeconds: 60 }, NEVER)) ?? {
      url: '',
    };
    expect(url).toContain(`${server.url}/files/a?`);
    expect(url).not.toMatch(/canary|checksum/i);
    expect(keyOf(server)).toEqual(new Set(['id']));
    for (const { headers, url } of server.asked) {
      expect(headers.authorization).toContain('/eu-west-1/s3/');
      expect(inspect([headers, url])).not.toMatch(/canary/i);
      expect(Object.keys(headers).filter((name) => name.includes('checksum'))).toEqual([]);
    }
    expect(canary.asked).toEqual([]);
  });

  it('says nothing to a client without any, or in whose name nobody asked for it', async () => {
    const canary = await amidCanaries();
    const server = await serverOf(bucket);
    const anonymous = await clientTo(server.url, NO_KEYS, { authType: 'none' });
    closing.push(() => anonymous.close());
    await anonymous.stat('a', NEVER);
    expect(server.asked.map(({ headers }) => headers.authorization)).toEqual([undefined, undefined]);
    const asked = server.asked.length;
    await expect(clientTo(server.url, NO_KEYS)).rejects.toMatchObject({
      code: 'invalid_argument',
      issues: [{ path: 'credentials.access_key_id' }],
    });
    for (const options of [NO_KEYS, { ...NO_KEYS, ...ROLE }])
      await expect(clientTo(server.url, options, { authType: 'iam', trusted: false })).rejects.toMatchObject({
        code: 'permission_denied',
      });
    expect(server.asked).toHaveLength(asked);
    expect(canary.asked).toEqual([]);
  });

  it('is the identity of a connector that an administrator made so', async () => {
    vi.stubEnv('AWS_ACCESS_KEY_ID', 'HOSTKEY');
    vi.stubEnv('AWS_SECRET_ACCESS_KEY', 'worthless');
    vi.stubEnv('AWS_PROFILE', undefined);
    const server = await serverOf(bucket);
    const client = await clientTo(server.url, NO_KEYS, { authType: 'iam', trusted: true });
    closing.push(() => client.close());
    await client.stat('a', NEVER);
    expect(keyOf(server)).toEqual(new Set(['HOSTKEY']));
  });

  it('that has no identity is auth_failed', async () => {
    const folder = await mkdtemp(join(tmpdir(), 's3-nobody-'));
    closing.push(() => rm(folder, { recursive: true }));
    for (const name of ['AWS_ACCESS_KEY_ID', 'AWS_SECRET_ACCESS_KEY', 'AWS_PROFILE'])
      vi.stubEnv(name, undefined);
    for (const name of ['AWS_CONFIG_FILE', 'AWS_SHARED_CREDENTIALS_FILE'])
      vi.stubEnv(name, join(folder, 'none'));
    vi.stubEnv('HOME', folder);
    vi.stubEnv('AWS_EC2_METADATA_DISABLED', 'true');
    const server = await serverOf(bucket);
    await expect(clientTo(server.url, NO_KEYS, { authType: 'iam', trusted: true })).rejects.toMatchObject({
      code: 'auth_failed',
    });
    expect(server.asked).toEqual([]);
  });
});

describe('a role', () => {
  const assumed = (
    expires = '2100-01-01T00:00:00Z',
  ) => `<AssumeRoleResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleResult><Credentials>
    <AccessKeyId>ROLEKEY</AccessKeyId><SecretAccessKey>worthless</SecretAccessKey><SessionToken>a-token</SessionToken>
    <Expiration>${expires}</Expiration></Credentials></AssumeRoleResult></AssumeRoleResponse>`;

  it('is assumed once by the keys, with its external id, and the bucket sees it alone', async () => {
    const canary = await amidCanaries();
    const sts = await serverOf((_asked, response) => void response.end(assumed()));
    const server = await serverOf(bucket);
    const client = await clientTo(server.url, { ...ROLE, sts_endpoint: sts.url }, { trusted: false });
    closing.push(() => client.close());
    await Promise.all(Array.from({ length: 5 }, () => client.stat('a', NEVER)));
    expect(keyOf(sts)).toEqual(new Set(['id']));
    expect(sts.asked).toHaveLength(1);
    const form = new URLSearchParams(sts.asked[0]?.body.toString());
    expect(Object.fromEntries(form)).toMatchObject({
      Action: 'AssumeRole',
      RoleArn: ROLE.role_arn,
      ExternalId: ROLE.external_id,
    });
    expect(keyOf(server)).toEqual(new Set(['ROLEKEY']));
    expect(server.asked.every(({ headers }) => headers['x-amz-security-token'] === 'a-token')).toBe(true);
    expect(canary.asked).toEqual([]);
  });

  it('that is refused says so, with no word of the keys and the external id', async () => {
    for (const [code, status, kind] of [
      ['AccessDenied', 403, 'permission_denied'],
      ['InvalidClientTokenId', 403, 'auth_failed'],
      ['SignatureDoesNotMatch', 403, 'auth_failed'],
      ['Throttling', 400, 'rate_limited'],
      ['ServiceUnavailable', 503, 'unavailable'],
    ] as const) {
      const said = `<ErrorResponse>${refusal(code, `not with ${ROLE.external_id} and ${SECRET}`).slice(21)}</ErrorResponse>`;
      const sts = await serverOf((_asked, response) => void response.writeHead(status).end(said));
      const server = await serverOf(bucket);
      const failure: unknown = await clientTo(server.url, { ...ROLE, sts_endpoint: sts.url }).catch(
        (error: unknown) => error,
      );
      expect(failure).toMatchObject({
        code: kind,
        message: expect.stringContaining('the role could not be assumed'),
      });
      expect(inspect(failure, { depth: 10, showHidden: true })).not.toContain(SECRET);
      expect(server.asked).toEqual([]);
      expect(sts.asked).toHaveLength(1);
    }
  });

  it('is assumed again before its credentials end, for which no call waits longer than its signal', async () => {
    let isSilent = false;
    const soon = new Date(Date.now() + 60_000).toISOString();
    const sts = await serverOf((_asked, response) => void (isSilent || response.end(assumed(soon))));
    const server = await serverOf(bucket);
    const client = await clientTo(server.url, { ...ROLE, sts_endpoint: sts.url });
    closing.push(() => client.close());
    await client.stat('a', NEVER);
    const asked = sts.asked.length;
    expect(asked).toBeGreaterThan(1);
    isSilent = true;
    const ending = new AbortController();
    const outcome = client.stat('a', ending.signal).catch((error: unknown) => error);
    await sts.request(() => sts.asked.length > asked);
    ending.abort();
    expect(await outcome).toMatchObject({ code: 'cancelled' });
  });

  it('is waited for no longer than the signal, and asked for only where the network allows', async () => {
    const sts = await serverOf(() => {});
    const server = await serverOf(bucket);
    const ending = new AbortController();
    const opening = clientTo(server.url, { ...ROLE, sts_endpoint: sts.url }, { signal: ending.signal });
    const outcome = opening.catch((error: unknown) => error);
    await sts.request(() => true);
    ending.abort();
    expect(await outcome).toMatchObject({ code: 'cancelled' });
    await sts.idle();
    const rule = egressPolicy({ allowPrivate: false, allowCidrs: ['127.0.0.1/32'] });
    const guarded = network(rule);
    await expect(
      clientTo(server.url, { ...ROLE, sts_endpoint: 'http://10.0.0.1:1' }, { network: guarded }),
    ).rejects.toMatchObject({ code: 'egress_denied' });
  });
});

describe("Amazon's own endpoint", () => {
  it('has the bucket in its name, checksums with all that is written, and conditions for parts', async () => {
    const server = await serverOf((asked, response) => {
      if (asked.url.includes('uploads')) {
        const id = '<UploadId>u</UploadId>';
        response.end(`<InitiateMultipartUploadResult>${id}</InitiateMultipartUploadResult>`);
      } else if (asked.method === 'POST')
        response.end('<CompleteMultipartUploadResult><ETag>"w-2"</ETag></CompleteMultipartUploadResult>');
      else {
        const sum = asked.headers['x-amz-checksum-crc32'];
        response
          .writeHead(200, { ...FACTS, ...(sum !== undefined && { 'x-amz-checksum-crc32': sum }) })
          .end();
      }
    });
    const toLoopback = network(egressPolicy({ allowPrivate: true }), (_name, _options, done) =>
      done(null, [{ address: '127.0.0.1', family: 4 }]),
    );
    const options = { region: 'eu-west-1', force_path_style: false, part_mebibytes: 5 };
    const endpoint = `http://s3.eu-west-1.amazonaws.com:${server.port}`;
    const client = await clientTo(endpoint, options, { network: toLoopback });
    closing.push(() => client.close());
    await client.write('small', Buffer.from('x'), { ifMatch: 'e' }, NEVER);
    const source = async function* () {
      for (let i = 0; i < 6; i++) yield new Uint8Array(2 ** 20);
    };
    await client.write('large', source(), { ifNoneMatch: '*' }, NEVER);
    const [, small, create, one, two, complete] = server.asked;
    expect(small?.headers).toMatchObject({
      host: `files.s3.eu-west-1.amazonaws.com:${server.port}`,
      'if-match': '"e"',
      'x-amz-checksum-crc32': expect.any(String),
    });
    expect(create?.headers).toMatchObject({ 'x-amz-checksum-algorithm': 'CRC32' });
    for (const part of [one, two]) expect(part?.headers).toHaveProperty('x-amz-checksum-crc32');
    expect(complete?.headers).toMatchObject({ 'if-none-match': '*' });
    expect(complete?.body.toString().match(/<ChecksumCRC32>[^<]+</g)).toHaveLength(2);
    const signed = await client.presign?.('small', { method: 'PUT', expiresInSeconds: 60 }, NEVER);
    expect(signed?.url).not.toMatch(/checksum/i);
  });
});

describe('the options', () => {
  const issuesOf = (options: Readonly<Record<string, unknown>>) =>
    driver.options.safeParse({ bucket: 'files', ...options }).error?.issues.map(({ path }) => path.join('.'));
  it('are refused where one lacks its other', () => {
    expect(issuesOf({})).toBeUndefined();
    expect(issuesOf({ access_key_id: 'id' })).toEqual(['secret_access_key']);
    expect(issuesOf({ secret_access_key: 'secret' })).toEqual(['secret_access_key']);
    expect(issuesOf({ session_token: 'token' })).toEqual(['session_token']);
    expect(issuesOf({ external_id: 'agreed' })).toEqual(['role_arn']);
    expect(issuesOf({ kms_key_id: 'key', server_side_encryption: 'AES256' })).toEqual(['kms_key_id']);
    expect(issuesOf({ bucket: 'files--use1-az4--x-s3' })).toEqual(['bucket']);
    expect(issuesOf({ bucket: '../other' })).toEqual(['bucket']);
    expect(issuesOf({ endpoint: 'https://key:secret@host' })).toEqual(['endpoint']);
  });

  it('say how what is written is stored', async () => {
    const server = await serverOf(bucket);
    const client = await clientTo(server.url, {
      ...{ storage_class: 'STANDARD_IA', server_side_encryption: 'aws:kms', kms_key_id: 'a-key' },
    });
    closing.push(() => client.close());
    await client.write('a', Buffer.from('x'), {}, NEVER);
    expect(server.asked.at(-1)?.headers).toMatchObject({
      'x-amz-storage-class': 'STANDARD_IA',
      'x-amz-server-side-encryption': 'aws:kms',
      'x-amz-server-side-encryption-aws-kms-key-id': 'a-key',
    });
  });
});
