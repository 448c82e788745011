import { describe, expect, it, onTestFinished, vi } from 'vitest';
import { systemClock, type Clock } from '../../../driver.ts';
import { egressPolicy } from '../../../egress/addresses.ts';
import { network } from '../../../egress/network.ts';
import { NEVER } from '../../../policies/pipeline.ts';
import { selfSignedCertificate } from '../../../testing/certificate.fixture.ts';
import {
  blackHole,
  closedPort,
  garbage,
  nonsense,
  selfSigned,
  statusServer,
  type FaultyServer,
} from '../../../testing/faulty-servers.fixture.ts';
import { bytes, describeLive, failureOf, liveBench, openAt, textOf } from './clients.fixture.ts';
import { startFront } from './front.fixture.ts';
import { startWebdav, USER } from './webdav.fixture.ts';

async function closing<S extends FaultyServer>(starting: Promise<S>): Promise<S> {
  const server = await starting;
  onTestFinished(() => server.close());
  return server;
}

const STATUSES: readonly [number, string][] = [
  [200, 'backend_error'],
  [301, 'backend_error'],
  [400, 'backend_error'],
  [401, 'auth_failed'],
  [403, 'permission_denied'],
  [404, 'not_found'],
  [405, 'backend_error'],
  [414, 'invalid_argument'],
  [423, 'conflict'],
  [429, 'rate_limited'],
  [500, 'backend_error'],
  [502, 'unavailable'],
  [503, 'unavailable'],
  [504, 'timeout'],
  [507, 'backend_error'],
];

describe('opening fails', () => {
  it.each(STATUSES)('on status %d with %s', async (status, code) => {
    const { url } = await closing(statusServer(status, 'a page of its own', { 'retry-after': '7' }));
    const failure = await failureOf(openAt({ endpoint: `${url}/dav`, ...USER }));
    expect(failure).toMatchObject({
      code,
      message: expect.not.stringContaining('a page of its own'),
      ...((status === 429 || status === 503) && { retryAfterMs: 7_000 }),
    });
  });

  it('with unavailable and no time to wait where the server names none', async () => {
    const { url } = await closing(statusServer(503));
    const failure = await failureOf(openAt({ endpoint: url, ...USER }));
    expect(failure).toMatchObject({ code: 'unavailable', retryAfterMs: undefined });
  });

  it('without following a redirect', async () => {
    const other = await closing(statusServer(207, 'never asked'));
    const { url } = await closing(statusServer(302, '', { location: `${other.url}/` }));
    const failure = await failureOf(openAt({ endpoint: url, ...USER }));
    expect(failure).toMatchObject({ code: 'backend_error', message: expect.stringMatching(/redirects/) });
    expect(other.connections()).toBe(0);
  });

  it('with unavailable where nobody listens', async () => {
    const { url } = await closedPort();
    expect(await failureOf(openAt({ endpoint: url, ...USER }))).toMatchObject({ code: 'unavailable' });
  });

  it('with backend_error where something else answers', async () => {
    const page = await closing(nonsense());
    for (let i = 0; i < 4; i += 1)
      expect(await failureOf(openAt({ endpoint: page.url, ...USER }))).toMatchObject({
        code: 'backend_error',
      });
    const noise = await closing(garbage());
    expect(await failureOf(openAt({ endpoint: noise.url, ...USER }))).toMatchObject({
      code: 'backend_error',
      message: expect.stringMatching(/does not speak HTTP/),
    });
    const cut = await closing(statusServer(207, '<multistatus xmlns="DAV:"><response>'));
    expect(await failureOf(openAt({ endpoint: cut.url, ...USER }))).toMatchObject({ code: 'backend_error' });
  });

  it('with backend_error where the server has another path for the root', async () => {
    const answer =
      '<multistatus xmlns="DAV:"><response><href>/internal/</href><propstat><prop><resourcetype><collection/></resourcetype></prop><status>HTTP/1.1 200 OK</status></propstat></response></multistatus>';
    const { url } = await closing(statusServer(207, answer));
    expect(await failureOf(openAt({ endpoint: `${url}/dav`, ...USER }))).toMatchObject({
      code: 'backend_error',
      message: expect.stringMatching(/another path/),
    });
  });

  it('at the end of its attempt where nobody answers, and leaves no connection', async () => {
    const silent = await closing(blackHole());
    const ending = new AbortController();
    const opening = failureOf(openAt({ endpoint: silent.url, ...USER }, { signal: ending.signal }));
    await silent.connected();
    ending.abort();
    expect(await opening).toMatchObject({ code: 'cancelled' });
    await silent.idle();
  });

  it('with egress_denied where the network is closed to the address', async () => {
    const silent = await closing(blackHole());
    const closed = { network: network(egressPolicy({ allowPrivate: false })) };
    const opening = openAt({ endpoint: silent.url, ...USER }, closed);
    expect(await failureOf(opening)).toMatchObject({ code: 'egress_denied' });
    expect(silent.connections()).toBe(0);
  });

  it('with unavailable that names TLS where the certificate is not trusted', async () => {
    const server = await closing(selfSigned());
    const failure = await failureOf(openAt({ endpoint: server.url, ...USER }));
    expect(failure).toMatchObject({ code: 'unavailable', message: expect.stringContaining('TLS') });
    const trusting = openAt({ endpoint: server.url, ...USER, ca: server.certificate });
    expect(await failureOf(trusting)).toMatchObject({ code: 'backend_error' });
  });

  it('without asking the proxies of the environment', async () => {
    const canary = await closing(blackHole());
    for (const name of ['HTTP_PROXY', 'http_proxy', 'HTTPS_PROXY', 'ALL_PROXY', 'NODE_USE_ENV_PROXY'])
      vi.stubEnv(name, name === 'NODE_USE_ENV_PROXY' ? '1' : canary.url);
    onTestFinished(() => void vi.unstubAllEnvs());
    const { url } = await closing(statusServer(503));
    expect(await failureOf(openAt({ endpoint: url, ...USER }))).toMatchObject({ code: 'unavailable' });
    expect(canary.connections()).toBe(0);
  });
});

describeLive('a client', () => {
  const { server, front } = liveBench();

  it('speaks TLS to a server that it is told to trust', async () => {
    const certificate = selfSignedCertificate();
    const secure = await startWebdav({ certificate });
    onTestFinished(() => secure.close());
    const client = await openAt({ endpoint: secure.url, ...USER, ca: certificate.cert });
    const content = Buffer.alloc(600_000, 7);
    const stream = async function* () {
      yield content;
    };
    await client.write('a/secure', stream(), {}, NEVER);
    expect(Buffer.compare(await client.readBytes('a/secure', undefined, NEVER), content)).toBe(0);
    expect(await client.check(NEVER)).toEqual([]);
  });

  it('warns of credentials that anybody on the way can read', async () => {
    const client = await openAt({ endpoint: server().url, ...USER });
    expect(await client.check(NEVER)).toEqual([{ level: 'warn', message: expect.stringMatching(/http/) }]);
  });

  it('does not open where there is no folder', async () => {
    const failure = await failureOf(openAt({ endpoint: `${server().url}/none`, ...USER }));
    expect(failure).toMatchObject({ code: 'not_found', message: expect.stringMatching(/endpoint/) });
    const client = await openAt({ endpoint: server().url });
    await client.write('a-file', bytes('x'), {}, NEVER);
    expect(await failureOf(openAt({ endpoint: `${server().url}/a-file` }))).toMatchObject({
      code: 'not_found',
    });
  });

  const refusals: readonly [number, string, number | undefined][] = [
    [403, 'permission_denied', undefined],
    [429, 'rate_limited', 3_000],
    [503, 'unavailable', 3_000],
    [507, 'backend_error', undefined],
  ];
  it.each(refusals)('fails on status %d of any verb with %s', async (status, code, retryAfterMs) => {
    front().intercept(() => false);
    const client = await openAt({ endpoint: front().url });
    await client.write(`kept/${status}`, bytes('old'), {}, NEVER);
    const calls: Readonly<Record<string, () => Promise<unknown>>> = {
      PROPFIND: () => client.list('', { recursive: true, limit: 10 }, NEVER),
      GET: () => client.readBytes(`kept/${status}`, undefined, NEVER),
      PUT: () => client.write(`kept/${status}`, bytes('new'), {}, NEVER),
      MOVE: () => client.move(`kept/${status}`, 'elsewhere', NEVER),
      COPY: () => client.copy(`kept/${status}`, 'elsewhere', NEVER),
      DELETE: () => client.delete(`kept/${status}`, NEVER),
      MKCOL: () => client.write(`new-${status}/file`, bytes('new'), {}, NEVER),
    };
    for (const [verb, call] of Object.entries(calls)) {
      front().intercept((request, response) => {
        if (request.method !== verb) return false;
        request.resume();
        response.writeHead(status, retryAfterMs ? { 'retry-after': '3' } : {}).end('<html>no</html>');
        return true;
      });
      const failure = await failureOf(call());
      expect(failure, verb).toMatchObject({ code, ...(retryAfterMs && { retryAfterMs }) });
    }
    front().intercept(() => false);
    expect(await textOf(client, `kept/${status}`)).toBe('old');
  });

  it('waits for a lock that is held for a moment, and is in conflict with one that lasts', async () => {
    const waitsMs: number[] = [];
    const clock: Clock = {
      ...systemClock,
      after(ms, task) {
        waitsMs.push(ms);
        return systemClock.after(0, task);
      },
    };
    front().intercept(() => false);
    const client = await openAt({ endpoint: front().url }, { clock });
    let locks = 0;
    const lock = (verb: string, times: number) => {
      locks = times;
      front().intercept((request, response) => {
        const isLocked = request.method === verb && locks > 0;
        if (isLocked) {
          locks -= 1;
          request.resume();
          response.writeHead(423).end();
        }
        return isLocked;
      });
    };
    for (const verb of ['PUT', 'MOVE', 'COPY', 'MKCOL', 'DELETE']) {
      lock(verb, 2);
      waitsMs.length = 0;
      await client.write(`locked-${verb}/from`, bytes('content'), {}, NEVER);
      await client.copy(`locked-${verb}/from`, `locked-${verb}/to`, NEVER);
      expect(await client.delete(`locked-${verb}/from`, NEVER)).toBe(true);
      expect({ verb, locks, waitsMs }).toEqual({ verb, locks: 0, waitsMs: [50, 100] });
    }
    waitsMs.length = 0;
    lock('DELETE', 1000);
    expect(await failureOf(client.delete('locked-PUT/to', NEVER))).toMatchObject({ code: 'conflict' });
    expect(waitsMs).toEqual([50, 100, 200, 400]);
    front().intercept(() => false);
  });

  it('is unavailable where an answer breaks off, and tells no content that is not whole', async () => {
    front().intercept(() => false);
    const client = await openAt({ endpoint: front().url });
    await client.write('cut', bytes('0123456789'), {}, NEVER);
    for (const sent of ['', '01234']) {
      front().intercept((request, response) => {
        if (request.method !== 'GET') return false;
        // The facts are those of the file, so that it is not taken for one that was replaced.
        response.writeHead(200, { 'content-length': 10, 'content-type': 'text/plain' });
        response.flushHeaders();
        response.write(sent, () => response.destroy());
        if (sent === '') response.destroy();
        return true;
      });
      expect(await failureOf(client.readBytes('cut', undefined, NEVER))).toMatchObject({
        code: 'unavailable',
      });
    }
  });

  it('ends at once what is aborted: a silent answer, a stalled body, a stalled write', async () => {
    front().intercept(() => false);
    const client = await openAt({ endpoint: front().url });
    await client.write('stalled', bytes('0123456789'), {}, NEVER);
    const aborted = async (start: (signal: AbortSignal) => Promise<unknown>, verb: string) => {
      const { promise: reached, resolve } = Promise.withResolvers<void>();
      front().intercept((request, response) => {
        if (request.method !== verb) return false;
        if (verb === 'GET') response.writeHead(200, { 'content-length': 10 }).write('01234');
        resolve();
        return true;
      });
      const ending = new AbortController();
      const failing = failureOf(start(ending.signal));
      await reached;
      ending.abort();
      expect(await failing).toMatchObject({ code: 'cancelled' });
    };
    const endless = async function* () {
      for (;;) yield Buffer.alloc(1_000_000);
    };
    await aborted((signal) => client.stat('stalled', signal), 'PROPFIND');
    await aborted((signal) => client.readBytes('stalled', undefined, signal), 'GET');
    await aborted((signal) => client.write('stalled', bytes('new'), {}, signal), 'PUT');
    await aborted((signal) => client.write('stalled', endless(), {}, signal), 'PUT');
    await aborted((signal) => client.move('stalled', 'other', signal), 'MOVE');
    front().intercept(() => false);
    expect(await textOf(client, 'stalled')).toBe('0123456789');
  });

  it('has no connection left when it is closed', async () => {
    const own = await startFront(server().url);
    onTestFinished(() => own.close());
    const client = await openAt({ endpoint: own.url });
    await Promise.all(
      Array.from({ length: 8 }, (_, i) => client.write(`many/${i}`, bytes(`${i}`), {}, NEVER)),
    );
    const { body } = await client.readStream('many/1', undefined, NEVER);
    expect(own.connections()).toBeGreaterThan(0);
    await client.close();
    await own.idle();
    await body[Symbol.asyncIterator]().return?.();
  });
});
