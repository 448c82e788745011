import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { inspect } from 'node:util';
import { describe, expect, it } from 'vitest';
import { ConnectorError, type OpenContext } from '../../../driver.ts';
import { egressPolicy } from '../../../egress/addresses.ts';
import { network } from '../../../egress/network.ts';
import { NEVER } from '../../../policies/pipeline.ts';
import {
  blackHole,
  closedPort,
  garbage,
  nonsense,
  selfSigned,
  statusServer,
} from '../../../testing/faulty-servers.fixture.ts';
import { bytes, clientsOfDouble, failureOf } from './clients.fixture.ts';
import { gcsDouble } from './gcs.fixture.ts';

const { double, start, closing } = await clientsOfDouble();
const LIMIT = { limit: 10, recursive: true } as const;

/** The stages that opening went through, and which of them failed. */
function stages(): { readonly seen: string[]; readonly stage: OpenContext['stage'] } {
  const seen: string[] = [];
  return {
    seen,
    async stage(name, step) {
      try {
        const answer = await step();
        seen.push(name);
        return answer;
      } catch (error) {
        seen.push(`${name} failed`);
        throw error;
      }
    },
  };
}

describe('opening fails', () => {
  it('as auth_failed for a key that Google does not know', async () => {
    const other = closing(await gcsDouble());
    const { seen, stage } = stages();
    const error = await failureOf(start({ service_account_key: other.key }, { stage }));
    expect(error).toMatchObject({
      code: 'auth_failed',
      message: 'the token endpoint refused the credentials (invalid_grant)',
    });
    expect(seen).toEqual(['address', 'connect', 'credentials failed']);
  });

  it('as auth_failed where Google gives a token that the bucket does not take', async () => {
    double.fail({ match: /\/storage\/v1/, status: 401, body: { error: { message: 'Invalid Credentials' } } });
    await expect(start()).rejects.toMatchObject({ code: 'auth_failed' });
    await expect(start({ service_account_key: undefined }, { authType: 'none' })).rejects.toMatchObject({
      code: 'auth_failed',
    });
  });

  it('as not_found without the bucket, and as permission_denied without the right to list it, in the last stage', async () => {
    const missing = stages();
    await expect(start({ bucket: 'no-such-bucket' }, { stage: missing.stage })).rejects.toMatchObject({
      code: 'not_found',
      message: 'there is no bucket no-such-bucket',
    });
    expect(missing.seen).toEqual(['address', 'connect', 'credentials', 'bucket failed']);
    double.forbidden.add('objects.list');
    try {
      const denied = stages();
      await expect(start({}, { stage: denied.stage })).rejects.toMatchObject({
        code: 'permission_denied',
        message: expect.stringContaining('does not have storage.objects.list access'),
      });
      expect(denied.seen.at(-1)).toBe('bucket failed');
    } finally {
      double.forbidden.clear();
    }
  });

  it('as unavailable where nobody listens, be it for the bucket or for tokens', async () => {
    const { url } = await closedPort();
    for (const options of [{ endpoint: url }, { token_endpoint: `${url}/token` }])
      await expect(start(options)).rejects.toMatchObject({ code: 'unavailable' });
  });

  it('as unavailable naming TLS where the certificate is not to be trusted', async () => {
    const server = closing(await selfSigned());
    for (const options of [{ endpoint: server.url }, { token_endpoint: `${server.url}/token` }])
      await expect(start(options)).rejects.toMatchObject({
        code: 'unavailable',
        message: expect.stringContaining('TLS'),
      });
  });

  it('as backend_error where something else answers, and does not where ca vouches for the server', async () => {
    for (const server of [await nonsense(), await garbage()]) {
      closing(server);
      for (let i = 0; i < 4; i++) {
        await expect(start({ endpoint: server.url })).rejects.toMatchObject({ code: 'backend_error' });
        await expect(start({ token_endpoint: server.url })).rejects.toMatchObject({ code: 'backend_error' });
      }
    }
    const trusted = closing(
      await selfSigned((_request, response) => void response.end('{"kind":"storage#objects"}')),
    );
    const anonymous = { service_account_key: undefined, token_endpoint: undefined };
    const options = { ...anonymous, endpoint: trusted.url, ca: trusted.certificate };
    expect(await (await start(options, { authType: 'none' })).check(NEVER)).toHaveLength(2);
  });

  it('as backend_error for a redirect, so that the token goes nowhere else', async () => {
    const elsewhere = closing(await statusServer(302, '', { location: double.endpoint }));
    const before = double.requests.filter((line) => line.includes('/storage/')).length;
    await expect(start({ endpoint: elsewhere.url })).rejects.toMatchObject({ code: 'backend_error' });
    await expect(start({ token_endpoint: elsewhere.url })).rejects.toMatchObject({ code: 'backend_error' });
    expect(double.requests.filter((line) => line.includes('/storage/'))).toHaveLength(before);
  });

  it('as egress_denied where this machine may not be reached, before a connection is made', async () => {
    const hole = closing(await blackHole());
    const denied = network(egressPolicy({ allowPrivate: false }));
    await expect(start({ endpoint: hole.url }, { network: denied })).rejects.toMatchObject({
      code: 'egress_denied',
    });
    // The endpoint may be reached, where tokens come from may not.
    const allowed = network(egressPolicy({ allowPrivate: false, allowCidrs: ['127.0.0.1/32'] }));
    const elsewhere = `http://127.0.0.2:${hole.port}/token`;
    await expect(start({ token_endpoint: elsewhere }, { network: allowed })).rejects.toMatchObject({
      code: 'egress_denied',
    });
    expect(hole.connections()).toBe(0);
  });

  it('with the signal, for its reason, where nobody answers', async () => {
    const hole = closing(await blackHole());
    for (const options of [{ endpoint: hole.url }, { token_endpoint: hole.url }]) {
      const giving = new AbortController();
      const reason = new ConnectorError('timeout', 'took too long');
      const stage: OpenContext['stage'] = async (name, step) => {
        const running = step();
        if (name === 'credentials') giving.abort(reason);
        return running;
      };
      await expect(start(options, { signal: giving.signal, stage })).rejects.toBe(reason);
    }
  });
});

describe('a call fails', () => {
  const failure = (message: string, reason: string) => ({ error: { message, errors: [{ reason }] } });

  it.each([
    [400, failure('no: because', 'invalid'), 'backend_error', {}],
    [403, failure('no: because', 'forbidden'), 'permission_denied', {}],
    [403, failure('no: because', 'rateLimitExceeded'), 'rate_limited', { retryAfterMs: 30_000 }],
    [429, failure('no: because', 'rateLimitExceeded'), 'rate_limited', { retryAfterMs: 30_000 }],
    [500, failure('no: because', 'backendError'), 'unavailable', { retryAfterMs: 30_000 }],
    [503, failure('no: because', 'backendError'), 'unavailable', { retryAfterMs: 30_000 }],
  ])('with status %d as its reason says, once, with what Google said', async (status, body, code, more) => {
    const client = await start();
    const before = double.requests.length;
    double.fail({ status, body, headers: { 'retry-after': '30' } });
    await expect(client.stat('a', NEVER)).rejects.toMatchObject({
      code,
      message: expect.stringContaining('no: because'),
      details: { backend_status: status, backend_code: body.error.errors[0]?.reason },
      ...more,
    });
    expect(double.requests.length - before).toBe(1);
  });

  it('without a time to wait where the backend names none', async () => {
    const client = await start();
    double.fail({ status: 503, body: 'Service Unavailable' });
    const error = await failureOf(client.list('', LIMIT, NEVER));
    expect(error).toMatchObject({ code: 'unavailable', retryAfterMs: undefined });
  });

  it('as backend_error for answers that are none, and repeats none of them', async () => {
    const client = await start();
    const cases = ['<html>It works!</html>', '{', '', '[]', '{"kind":7}', '{"name":"a","size":"x"}'];
    for (const body of cases) {
      const calls = [
        () => client.list('', LIMIT, NEVER),
        () => client.stat('a', NEVER),
        () => client.readStream('a', undefined, NEVER),
        () => client.write('a', bytes('x'), {}, NEVER),
        () => client.copy?.('a', 'b', NEVER) ?? Promise.resolve(),
        () => client.move?.('a', 'b', NEVER) ?? Promise.resolve(),
        () => client.check(NEVER),
      ];
      for (const call of calls) {
        double.fail({ status: 200, body });
        const error = await failureOf(call());
        expect(error).toMatchObject({ code: 'backend_error' });
        expect(inspect(error, { depth: 9 }).length).toBeLessThan(4000);
      }
    }
  });

  it('as not_found naming the bucket once that is removed, also where there was nothing to delete', async () => {
    const client = await start();
    const gone = {
      GET: { status: 404, body: 'The specified bucket does not exist.' },
      json: { status: 404, body: failure('The specified bucket does not exist.', 'notFound') },
    };
    const named = { code: 'not_found', message: `there is no bucket ${double.bucket.name}` };
    const calls = [
      [gone.GET, () => client.readBytes('a', undefined, NEVER)],
      [gone.json, () => client.stat('a', NEVER)],
      [gone.json, () => client.delete('a', NEVER)],
      [gone.json, () => client.list('', LIMIT, NEVER)],
      [gone.json, () => client.write('a', bytes('x'), {}, NEVER)],
    ] as const;
    for (const [fault, call] of calls) {
      double.fail(fault);
      await expect(call()).rejects.toMatchObject(named);
    }
  });

  it('as unavailable where a body breaks off, in memory and as a stream', async () => {
    const client = await start();
    await client.write('cut', Buffer.alloc(100_000, 1), {}, NEVER);
    double.fail({ match: /alt=media/, how: 'truncated', times: 2 });
    await expect(client.readBytes('cut', undefined, NEVER)).rejects.toMatchObject({ code: 'unavailable' });
    const { body } = await client.readStream('cut', undefined, NEVER);
    const reading = async () => {
      for await (const chunk of body) expect(chunk.byteLength).toBeGreaterThan(0);
    };
    await expect(reading()).rejects.toMatchObject({ code: 'unavailable' });
  });

  it('with the signal, for its reason, where the backend falls silent, before a body and within it', async () => {
    const client = await start();
    await client.write('stalled', Buffer.alloc(100_000, 1), {}, NEVER);
    const reason = new ConnectorError('timeout', 'took too long');
    const calls = [
      ['silent', (signal: AbortSignal) => client.stat('stalled', signal)],
      ['silent', (signal: AbortSignal) => client.readBytes('stalled', undefined, signal)],
      ['silent', (signal: AbortSignal) => client.list('', LIMIT, signal)],
      ['silent', (signal: AbortSignal) => client.write('stalled', bytes('x'), {}, signal)],
      ['silent', (signal: AbortSignal) => client.delete('stalled', signal)],
      ['stalled', (signal: AbortSignal) => client.readBytes('stalled', undefined, signal)],
    ] as const;
    for (const [how, call] of calls) {
      const giving = new AbortController();
      double.fail({ how });
      const [met, attempt] = [double.met(), call(giving.signal)];
      const failed = failureOf(attempt);
      await met;
      giving.abort(reason);
      expect(await failed).toBe(reason);
    }
    const giving = new AbortController();
    double.fail({ match: /alt=media/, how: 'stalled' });
    const { body } = await client.readStream('stalled', undefined, giving.signal);
    const reading = (async () => {
      for await (const chunk of body) if (chunk.byteLength > 0) giving.abort(reason);
    })();
    await expect(reading).rejects.toBe(reason);
  });

  it('leaves no connection behind once the client is closed, whatever became of its calls', async () => {
    const own = closing(await gcsDouble());
    const client = await start(own.options);
    await client.write('a', Buffer.alloc(3_000_000), {}, NEVER);
    const unread = await client.readStream('a', undefined, NEVER);
    expect(unread.info.size).toBe(3_000_000);
    own.fail({ how: 'silent' });
    const met = own.met();
    const silent = failureOf(client.stat('a', NEVER));
    await met;
    await client.close();
    expect(await silent).toMatchObject({ code: 'unavailable' });
    await own.idle();
  });
});

describe('what may not be seen', () => {
  it('is in no error: neither the key, nor a token, nor a signature, whatever the backend repeats', async () => {
    const client = await start();
    const secrets = /worthless|PRIVATE KEY|MII[A-Za-z0-9+/]{20}|eyJ[\w-]{10}/;
    const errors: unknown[] = [];
    for (const match of [/\/token/, /\/storage\//])
      for (const fault of [
        { status: 400, body: { error: 'worthless-secret', error_description: 'worthless-secret' } },
        { status: 401, body: { error: 'worthless secret' } },
        { status: 503, body: '<html>worthless-secret</html>' },
        { status: 200, body: 'worthless-secret' },
      ]) {
        double.fail({ match, ...fault });
        errors.push(await failureOf(start()));
      }
    double.fail({ match: /\/token/, how: 'truncated' });
    const cut = await failureOf(start());
    expect(cut).toMatchObject({ code: 'unavailable' });
    errors.push(cut);
    const { url } = await closedPort();
    errors.push(await failureOf(start({ token_endpoint: url })));
    double.fail({ status: 503 });
    errors.push(await failureOf(client.write('a', bytes('x'), {}, NEVER)));
    for (const error of errors) {
      expect(error).toBeInstanceOf(ConnectorError);
      expect(inspect(error, { depth: 12, showHidden: true })).not.toMatch(secrets);
    }
  });
});

it('a token that a backend repeats in its refusal is shown nowhere', async () => {
  const token = 'canary-token-51c7';
  const server = createServer(({ url = '', headers: { authorization = '' } }, response) => {
    if (url === '/token') return void response.end(JSON.stringify({ access_token: token, expires_in: 3600 }));
    if (url.includes('/o?')) return void response.end('{"kind":"storage#objects"}');
    const error = { message: `not with ${authorization}`, errors: [{ reason: authorization }] };
    response
      .writeHead(403)
      .end(url.includes('json') ? JSON.stringify({ error }) : `not with ${authorization}`);
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  closing({ close: async () => server.close() });
  const { port } = server.address() as AddressInfo; // a TCP server's address is never a pipe's name
  const endpoint = `http://127.0.0.1:${port}`;
  const client = await start({ endpoint, token_endpoint: `${endpoint}/token` });
  for (const path of ['json', 'text']) {
    const error = await failureOf(client.stat(path, NEVER));
    expect(error).toMatchObject({
      code: 'permission_denied',
      message: expect.stringContaining('Bearer ***'),
    });
    expect(inspect(error, { depth: 10, showHidden: true })).not.toContain(token);
  }
});
