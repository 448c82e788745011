import { mkdtemp, rm } from 'node:fs/promises';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { inspect } from 'node:util';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { canaryEnvironment } from '../../../clouds/aws/canary.fixture.ts';
import { egressPolicy } from '../../../egress/addresses.ts';
import { network } from '../../../egress/network.ts';
import driver from './index.ts';
import { errorAnswer } from './model.fixture.ts';
import { lambdaConfig, loadSdk } from './sdk.ts';
import { CALL, closing, failure, NEVER } from './wire-clients.fixture.ts';
import { answers, besidesListing, bodyOf, clientTo, KEY, SECRET, type WireLambda } from './wire.fixture.ts';

const { later, lambda } = closing();
afterEach(() => void vi.unstubAllEnvs());

const NO_KEYS = { access_key_id: undefined, secret_access_key: undefined };
const ROLE = { role_arn: 'arn:aws:iam::123456789012:role/invoker', external_id: `${SECRET}-external` };
const ROLE_KEY = { id: 'ROLEKEY', secret: 'role-worthless', region: 'us-east-1' };
const HOST_KEY = { id: 'HOSTKEY', secret: 'host-worthless', region: 'us-east-1' };

const functions = (keys = [KEY]): Promise<WireLambda> =>
  lambda(
    besidesListing(() => answers(1)),
    { keys },
  );

type Answered = (body: Buffer, response: ServerResponse, request: IncomingMessage) => void;
/** Any server, and what it was asked. */
async function serverOf(answer: Answered) {
  const asked: { readonly headers: IncomingMessage['headers']; readonly body: Buffer }[] = [];
  const server = createServer((request, response) => void serve(request, response));
  const serve = async (request: IncomingMessage, response: ServerResponse) => {
    const body = (await bodyOf(request)) ?? Buffer.alloc(0);
    asked.push({ headers: request.headers, body });
    answer(body, response, request);
  };
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  later(async () => {
    server.closeAllConnections();
    server.close();
  });
  const { port } = server.address() as AddressInfo; // a TCP server's address is never a pipe's name
  return { url: `http://127.0.0.1:${port}`, asked };
}

/** The double of STS: the answer of `AssumeRole` as https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRole.html has it (read 2026-11-28). */
const assumed = (
  expires = '2100-01-01T00:00:00Z',
) => `<AssumeRoleResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleResult><Credentials>
    <AccessKeyId>${ROLE_KEY.id}</AccessKeyId><SecretAccessKey>${ROLE_KEY.secret}</SecretAccessKey><SessionToken>a-token</SessionToken>
    <Expiration>${expires}</Expiration></Credentials></AssumeRoleResult></AssumeRoleResponse>`;

async function amidCanaries() {
  const canary = await serverOf((_body, response) => void response.end('{}'));
  const folder = await mkdtemp(join(tmpdir(), 'lambda-canary-'));
  later(() => rm(folder, { recursive: true }));
  for (const [name, value] of Object.entries(canaryEnvironment(canary.url, folder))) vi.stubEnv(name, value);
  return canary;
}

const signersOf = ({ calls }: WireLambda) =>
  new Set(calls.map(({ headers }) => /Credential=([^/]+)/.exec(headers.authorization ?? '')?.[1]));

describe('the environment of the host', () => {
  it('says nothing to a client that has keys of its own', async () => {
    const canary = await amidCanaries();
    const server = await functions();
    const client = await clientTo(server.url, {}, { trusted: false });
    later(() => client.close());
    await client.invoke('f', 1, CALL, NEVER);
    await client.listFunctions(NEVER);
    await client.check(NEVER);
    expect(signersOf(server)).toEqual(new Set(['id']));
    for (const { headers, url } of server.calls)
      expect(inspect([headers, url])).not.toMatch(/canary-1|CANARY/);
    expect(canary.asked).toEqual([]);
  });

  it.each([
    ['iam', NO_KEYS],
    ['iam', { ...NO_KEYS, ...ROLE }],
    ['api_key', { ...NO_KEYS, ...ROLE }],
  ] as const)('is not for a connector of a tenant: %s with %o', async (authType, options) => {
    const canary = await amidCanaries();
    const server = await functions();
    expect(await failure(clientTo(server.url, options, { authType, trusted: false }))).toMatchObject({
      code: 'permission_denied',
    });
    expect([canary.asked, server.calls]).toEqual([[], []]);
  });

  it.each([
    ['none', { path: 'auth_type' }],
    ['api_key', { path: 'credentials.access_key_id' }],
    [undefined, { path: 'credentials.access_key_id' }],
  ] as const)('is not taken where nobody asked for it: %s', async (authType, issue) => {
    const canary = await amidCanaries();
    const server = await functions();
    expect(await failure(clientTo(server.url, NO_KEYS, { authType, trusted: true }))).toMatchObject({
      code: 'invalid_argument',
      issues: [issue],
    });
    expect([canary.asked, server.calls]).toEqual([[], []]);
  });

  it('is the identity of a connector that an administrator made so', async () => {
    vi.stubEnv('AWS_ACCESS_KEY_ID', HOST_KEY.id);
    vi.stubEnv('AWS_SECRET_ACCESS_KEY', HOST_KEY.secret);
    vi.stubEnv('AWS_PROFILE', undefined);
    const server = await functions([HOST_KEY]);
    const client = await clientTo(server.url, NO_KEYS, { authType: 'iam', trusted: true });
    later(() => client.close());
    expect(await client.invoke('f', 1, CALL, NEVER)).toMatchObject({ result: 1 });
    expect(signersOf(server)).toEqual(new Set([HOST_KEY.id]));
  });

  it('that has no identity is auth_failed', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'lambda-nobody-'));
    later(() => rm(folder, { recursive: true }));
    for (const name of ['AWS_ACCESS_KEY_ID', 'AWS_SECRET_ACCESS_KEY', 'AWS_PROFILE'])
      vi.stubEnv(name, undefined);
    for (const name of ['AWS_CONFIG_FILE', 'AWS_SHARED_CREDENTIALS_FILE'])
      vi.stubEnv(name, join(folder, 'none'));
    vi.stubEnv('HOME', folder);
    vi.stubEnv('AWS_EC2_METADATA_DISABLED', 'true');
    const server = await functions();
    expect(await failure(clientTo(server.url, NO_KEYS, { authType: 'iam', trusted: true }))).toMatchObject({
      code: 'auth_failed',
      details: { sent: false },
    });
    expect(server.calls).toEqual([]);
  });
});

it('Lambda is where the region says, whatever the environment does', async () => {
  await amidCanaries();
  const options = driver.options.parse({ region: 'eu-west-1' });
  const agents = network(egressPolicy({ allowPrivate: false })).agents();
  const credentials = { accessKeyId: KEY.id, secretAccessKey: KEY.secret };
  const { LambdaClient } = await loadSdk();
  const client = new LambdaClient({ ...lambdaConfig(options, agents), credentials });
  expect(await client.config.endpoint?.()).toMatchObject({
    protocol: 'https:',
    hostname: 'lambda.eu-west-1.amazonaws.com',
  });
  client.destroy();
  agents.close();
});

describe('a role', () => {
  it('is assumed once for all calls by the keys, with its external id, and Lambda sees it alone', async () => {
    const canary = await amidCanaries();
    const sts = await serverOf((_body, response) => void response.end(assumed()));
    const server = await functions([ROLE_KEY]);
    const client = await clientTo(server.url, { ...ROLE, sts_endpoint: sts.url }, { trusted: false });
    later(() => client.close());
    await Promise.all(Array.from({ length: 5 }, () => client.invoke('f', 1, CALL, NEVER)));
    await client.check(NEVER);
    expect(sts.asked).toHaveLength(1);
    expect(sts.asked[0]?.headers.authorization).toContain(`Credential=${KEY.id}/`);
    expect(Object.fromEntries(new URLSearchParams(sts.asked[0]?.body.toString()))).toMatchObject({
      ...{ Action: 'AssumeRole', RoleArn: ROLE.role_arn, ExternalId: ROLE.external_id },
    });
    expect(signersOf(server)).toEqual(new Set([ROLE_KEY.id]));
    expect(server.calls.every(({ headers }) => headers['x-amz-security-token'] === 'a-token')).toBe(true);
    expect(canary.asked).toEqual([]);
  });

  it('is assumed anew before its credentials end', async () => {
    const soon = new Date(Date.now() + 60_000).toISOString();
    const sts = await serverOf((_body, response) => void response.end(assumed(soon)));
    const server = await functions([ROLE_KEY]);
    const client = await clientTo(server.url, { ...ROLE, sts_endpoint: sts.url }, { trusted: false });
    later(() => client.close());
    await client.invoke('f', 1, CALL, NEVER);
    expect(sts.asked.length).toBeGreaterThan(1);
  });

  it.each([
    ['AccessDenied', 403, 'permission_denied'],
    ['InvalidClientTokenId', 403, 'auth_failed'],
    ['SignatureDoesNotMatch', 403, 'auth_failed'],
    ['Throttling', 400, 'rate_limited'],
    ['ServiceUnavailable', 503, 'unavailable'],
  ])(
    'that is refused with %s (%i) is %s, with no word of the keys and the external id',
    async (name, status, code) => {
      const said = `<ErrorResponse><Error><Code>${name}</Code><Message>not with ${ROLE.external_id}</Message></Error></ErrorResponse>`;
      const sts = await serverOf((_body, response) => void response.writeHead(status).end(said));
      const server = await functions([ROLE_KEY]);
      expect(await failure(clientTo(server.url, { ...ROLE, sts_endpoint: sts.url }))).toMatchObject({
        code,
        message: expect.stringContaining('the role could not be assumed'),
        details: { sent: false },
      });
      expect(server.calls).toEqual([]);
    },
  );
});

it('a temporary key pair sends its token, and one that has ended is auth_failed', async () => {
  const server = await lambda(
    besidesListing(() =>
      errorAnswer(403, 'ExpiredTokenException', { message: `${SECRET}-token has expired` }),
    ),
  );
  const client = await clientTo(server.url, { session_token: `${SECRET}-token` });
  later(() => client.close());
  expect(await failure(client.invoke('f', 1, CALL, NEVER))).toMatchObject({ code: 'auth_failed' });
  expect(server.calls.every(({ headers }) => headers['x-amz-security-token'] === `${SECRET}-token`)).toBe(
    true,
  );
});
