import { once } from 'node:events';
import { createServer, type RequestListener, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';
import { inspect } from 'node:util';
import { gzipSync } from 'node:zlib';
import { afterEach, describe, expect, it } from 'vitest';
import { networkFailure } from '../contract/backend-error.ts';
import type { Fetcher, FetcherOptions } from '../contract/network.ts';
import {
  blackHole,
  closedPort,
  garbage,
  selfSigned,
  statusServer,
  type FaultyServer,
} from '../testing/faulty-servers.fixture.ts';
import { egressPolicy } from './addresses.ts';
import type { Resolve } from './dialer.ts';
import { network } from './network.ts';

const everywhere = egressPolicy({ allowPrivate: true });
const publicOnly = egressPolicy({ allowPrivate: false });

const closing: (() => Promise<void> | void)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
});

/** A fetcher, and a server that is closed after the test. */
function fetcher(options?: FetcherOptions, net = network(everywhere)): Fetcher {
  const made = net.fetcher(options);
  closing.push(() => made.close());
  return made;
}

async function using(opening: Promise<FaultyServer>): Promise<FaultyServer> {
  const server = await opening;
  closing.push(() => server.close());
  return server;
}

/** A server of the test's own, with the ports that its clients called from. */
async function serving(answer: RequestListener) {
  const callers = new Set<number | undefined>();
  let ended = 0;
  const server: Server = createServer((request, response) => {
    callers.add(request.socket.remotePort);
    answer(request, response);
  });
  server.on('connection', (socket) => {
    socket.once('close', () => {
      ended += 1;
      server.emit('ended', ended);
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  closing.push(() => {
    server.closeAllConnections();
    server.close();
  });
  const { port } = server.address() as AddressInfo; // a TCP server's address is never a pipe's name
  return { server, port, url: `http://127.0.0.1:${port}`, callers };
}

const named = (address: string): Resolve => {
  return (_host, _options, done) => done(null, [{ address, family: address.includes(':') ? 6 : 4 }]);
};

/** The failure as a driver would pass it on. */
const failure = async (attempt: Promise<unknown>) =>
  attempt.then(
    () => expect.fail('it succeeded'),
    (error: unknown) => networkFailure(error),
  );

describe('where only public addresses are allowed', () => {
  it.each(['127.0.0.1', '[::1]', '0x7f.1', '10.0.0.1', '169.254.169.254', '[::ffff:127.0.0.1]'])(
    'a request to %s is refused',
    async (host) => {
      const { fetch } = fetcher({}, network(publicOnly));
      expect(await failure(fetch(`http://${host}:8000/`))).toMatchObject({ code: 'egress_denied' });
      expect(await failure(fetch(`https://${host}:8000/`))).toMatchObject({ code: 'egress_denied' });
    },
  );

  it('a request to a name that stands for loopback is refused, and nothing connects', async () => {
    const server = await using(statusServer(200));
    const { fetch } = fetcher({}, network(publicOnly, named('127.0.0.1')));
    expect(await failure(fetch(`http://backend.example:${server.port}/`))).toMatchObject({
      code: 'egress_denied',
      details: { host: 'backend.example' },
    });
    expect(server.connections()).toBe(0);
  });

  it('resolving says so, for an address and for a name', async () => {
    const denied = { code: 'egress_denied' };
    await expect(network(publicOnly).resolve('127.0.0.1')).rejects.toMatchObject(denied);
    await expect(network(publicOnly).resolve('2130706433')).rejects.toMatchObject(denied);
    await expect(network(publicOnly).resolve('localhost')).rejects.toMatchObject(denied);
  });

  it('a socket says so by its error', async () => {
    const socket = network(publicOnly).connect({ host: '127.0.0.1', port: 1 });
    const [error] = await once(socket, 'error');
    expect(error).toMatchObject({ code: 'egress_denied' });
  });
});

it('follows no redirect, wherever it leads', async () => {
  const target = await using(statusServer(200, 'stolen'));
  for (const location of [target.url, 'http://127.0.0.1.nip.io/', '/elsewhere']) {
    const server = await using(statusServer(307, '', { location }));
    expect(await failure(fetcher().fetch(server.url, { redirect: 'follow' }))).toMatchObject({
      code: 'backend_error',
      message: 'the backend failed: unexpected redirect',
    });
    expect(server.connections()).toBe(1);
  }
  expect(target.connections()).toBe(0);
});

it('answers a redirect as it is to who asks for that, and follows it no more', async () => {
  const target = await using(statusServer(200, 'stolen'));
  const server = await using(statusServer(308, '', { location: target.url, range: 'bytes=0-7' }));
  const answer = await fetcher().fetch(server.url, { method: 'PUT', body: 'part', redirect: 'manual' });
  expect({ status: answer.status, range: answer.headers.get('range') }).toEqual({
    status: 308,
    range: 'bytes=0-7',
  });
  expect(target.connections()).toBe(0);
});

describe('resolve', () => {
  it('answers an address as it is, and every address of a name', async () => {
    const resolve: Resolve = (_host, _options, done) =>
      done(null, [
        { address: '93.184.216.34', family: 4 },
        { address: '2606:4700::1111', family: 6 },
      ]);
    const { resolve: ask } = network(publicOnly, resolve);
    expect(await ask('93.184.216.35')).toEqual(['93.184.216.35']);
    expect(await ask('2606:4700::1112')).toEqual(['2606:4700::1112']);
    expect(await ask('db.example')).toEqual(['93.184.216.34', '2606:4700::1111']);
  });

  it.each(['ENOTFOUND', 'EAI_AGAIN', 'EAI_FAIL'])(
    'names the host that cannot be found (%s)',
    async (code) => {
      const broken: Resolve = (_host, _options, done) => done(Object.assign(new Error('x'), { code }), []);
      await expect(network(publicOnly, broken).resolve('nowhere.example')).rejects.toMatchObject({
        code: 'unavailable',
        message: 'the address of nowhere.example could not be found',
      });
    },
  );
});

describe('requests', () => {
  it('carry their body and their headers, and answers come as a stream', async () => {
    const seen: unknown[] = [];
    const { url } = await serving((request, response) => {
      const { method, headers } = request;
      void text(request).then((body) => {
        seen.push([method, headers['x-key'], body]);
        response.write('first ');
        response.end('second');
      });
    });
    const { fetch } = fetcher();
    const stream = new Blob(['streamed']).stream();
    const sent = [
      { method: 'POST', headers: { 'x-key': 'k' }, body: 'text' },
      { method: 'PUT', headers: new Headers({ 'x-key': 'k' }), body: Buffer.from('bytes') },
      { method: 'PATCH', headers: [['x-key', 'k']], body: stream, duplex: 'half' },
    ] as const;
    for (const init of sent) {
      const response = await fetch(url, init as unknown as RequestInit);
      const parts: string[] = [];
      for await (const part of response.body ?? []) parts.push(Buffer.from(part).toString());
      expect(parts.join('')).toBe('first second');
    }
    await fetch(new Request(url, { method: 'POST', headers: { 'x-key': 'k' }, body: 'request' }));
    expect(seen).toEqual([
      ['POST', 'k', 'text'],
      ['PUT', 'k', 'bytes'],
      ['PATCH', 'k', 'streamed'],
      ['POST', 'k', 'request'],
    ]);
  });

  it('use a connection again that has become free', async () => {
    const { url, callers } = await serving((_request, response) => response.end('x'));
    const { fetch } = fetcher();
    for (let i = 0; i < 20; i++) await (await fetch(url)).text();
    // A request that is made in the very turn in which the answer ends may find the connection busy still.
    expect(callers.size).toBeLessThanOrEqual(2);
  });

  it('wait for one of the connections that there are at most', async () => {
    const waiting: (() => void)[] = [];
    const { url, callers, server } = await serving((_request, response) => {
      waiting.push(() => response.end('x'));
      if (waiting.length === 2) server.emit('full');
    });
    const { fetch } = fetcher({ connections: 2 });
    const full = once(server, 'full');
    const all = Promise.all(Array.from({ length: 6 }, async () => (await fetch(url)).text()));
    await full;
    server.on('request', () => waiting.splice(0).forEach((answer) => answer()));
    waiting.splice(0).forEach((answer) => answer());
    expect(await all).toHaveLength(6);
    expect(callers.size).toBe(2);
  });

  it('never show a credential that no header can hold', async () => {
    const { fetch } = fetcher();
    const attempt = fetch('http://127.0.0.1:8000', { headers: { 'x-key': 'hunter2\nhunter2' } });
    const error = await failure(attempt);
    expect(error).toMatchObject({ code: 'invalid_argument' });
    expect(inspect(error, { depth: 9, showHidden: true })).not.toContain('hunter2');
  });
});

describe('an answer that is read as a whole', () => {
  const MIB = 2 ** 20;
  const packed = gzipSync(Buffer.alloc(130 * MIB, ' '));

  it.each(['text', 'json', 'arrayBuffer', 'bytes'] as const)(
    'fails in time where it unpacks to more than there is room for, by %s',
    async (how) => {
      expect(packed.byteLength).toBeLessThan(MIB);
      const { url } = await serving((_, response) => {
        response.writeHead(200, { 'content-encoding': 'gzip' }).end(packed);
      });
      const response = await fetcher().fetch(url);
      await expect(response[how]()).rejects.toMatchObject({
        code: 'backend_error',
        details: { maxBytes: 128 * MIB },
      });
    },
  );

  it('fails where it has no end, and ends the connection', async () => {
    const { server, url } = await serving((_, response) => {
      const chunk = Buffer.alloc(MIB, ' ');
      const more = (): void => {
        while (!response.destroyed && response.write(chunk)) continue;
      };
      response.on('drain', more);
      more();
    });
    const response = await fetcher().fetch(url);
    const ended = once(server, 'ended');
    await expect(response.text()).rejects.toMatchObject({ code: 'backend_error' });
    await ended;
  });

  it('is what was sent, packed or not, with or without its length', async () => {
    const sent = '\ufeff{"ü":1}';
    const { url } = await serving((request, response) => {
      if (request.url === '/packed')
        response.writeHead(200, { 'content-encoding': 'gzip' }).end(gzipSync(sent));
      else if (request.url === '/chunked') response.write(sent, () => response.end());
      else response.end(sent);
    });
    for (const path of ['', '/packed', '/chunked']) {
      const { fetch } = fetcher();
      expect(await (await fetch(url + path)).json()).toEqual({ ü: 1 });
      expect(await (await fetch(url + path)).text()).toBe('{"ü":1}');
      expect(Buffer.from(await (await fetch(url + path)).arrayBuffer()).toString()).toBe(sent);
    }
  });
});

describe('during', () => {
  it('ends every request of the task when the signal is aborted, with its reason', async () => {
    const hole = await using(blackHole());
    const { fetch, during } = fetcher();
    const caller = new AbortController();
    const reason = new Error('given up');
    const requests = during(caller.signal, async () =>
      Promise.allSettled([fetch(hole.url), Promise.resolve().then(async () => fetch(`${hole.url}/later`))]),
    );
    const other = fetch(`${hole.url}/other`, { signal: AbortSignal.any([]) });
    caller.abort(reason);
    expect(await requests).toEqual([
      { status: 'rejected', reason },
      { status: 'rejected', reason },
    ]);
    await hole.close();
    expect(await failure(other)).toMatchObject({ code: 'unavailable' });
  });

  it('leaves alone what was asked outside, and obeys a signal of the request as well', async () => {
    const hole = await using(blackHole());
    const { fetch, during } = fetcher();
    const [outer, inner] = [new AbortController(), new AbortController()];
    const request = during(outer.signal, async () => fetch(hole.url, { signal: inner.signal }));
    inner.abort(new Error('inner'));
    await expect(request).rejects.toThrow('inner');
    await expect(during(AbortSignal.abort(new Error('before')), async () => fetch(hole.url))).rejects.toThrow(
      'before',
    );
  });

  it('ends an answer that is still coming', async () => {
    const { url } = await serving((_request, response) => void response.write('begun'));
    const { fetch, during } = fetcher();
    const caller = new AbortController();
    const answer = await during(caller.signal, async () => fetch(url));
    const body = answer.text();
    caller.abort(new Error('given up'));
    await expect(body).rejects.toThrow('given up');
  });
});

describe('TLS', () => {
  it('is refused, and named, where nobody vouches for the certificate', async () => {
    const server = await using(selfSigned());
    expect(await failure(fetcher().fetch(server.url))).toMatchObject({
      code: 'unavailable',
      message: expect.stringMatching(/^the TLS connection was refused \(DEPTH_ZERO_SELF_SIGNED_CERT\)/),
    });
  });

  it('is accepted where its certificate is trusted, by address and by name', async () => {
    const server = await selfSigned((request, response) => void response.end(request.headers.host));
    closing.push(() => server.close());
    const { fetch } = fetcher({ ca: server.certificate });
    expect(await (await fetch(server.url)).text()).toBe(`127.0.0.1:${server.port}`);
    expect(await (await fetch(`https://localhost:${server.port}`)).text()).toBe(`localhost:${server.port}`);
  });

  it('is refused for another name than the certificate bears', async () => {
    const server = await selfSigned();
    closing.push(() => server.close());
    const net = network(everywhere, named('127.0.0.1'));
    const { fetch } = fetcher({ ca: server.certificate }, net);
    expect(await failure(fetch(`https://other.example:${server.port}`))).toMatchObject({
      code: 'unavailable',
      message: expect.stringContaining('ERR_TLS_CERT_ALTNAME_INVALID'),
    });
  });

  it('is refused, and named, by a port that does not speak it', async () => {
    for (const opening of [statusServer(200), garbage()]) {
      const server = await using(opening);
      const error = await failure(fetcher().fetch(server.url.replace('http:', 'https:')));
      expect(error).toMatchObject({
        code: 'unavailable',
        message: expect.stringMatching(/^the TLS connection was refused \(ERR_SSL_\w+\)$/),
      });
    }
  });
});

describe('a backend that is not there', () => {
  it('is unavailable where nobody listens', async () => {
    const { url } = await closedPort();
    expect(await failure(fetcher().fetch(url))).toMatchObject({
      code: 'unavailable',
      details: { backend_code: 'ECONNREFUSED' },
    });
  });

  it('is a failure of the backend where it speaks no HTTP, in words that say so', async () => {
    const { url } = await using(garbage());
    const error = await failure(fetcher().fetch(url));
    expect(error).toMatchObject({ code: 'backend_error', message: expect.stringContaining('HTTP') });
  });

  it('is a timeout where the connection is never ready, though nobody waits for it any more', async () => {
    const hole = await using(blackHole());
    const { fetch } = fetcher({ connections: 1 }, network(everywhere, undefined, 20));
    const url = hole.url.replace('http:', 'https:');
    const caller = new AbortController();
    const givenUp = fetch(url, { signal: caller.signal });
    const waiting = fetch(url);
    caller.abort(new Error('given up'));
    await expect(givenUp).rejects.toThrow('given up');
    expect(await failure(waiting)).toMatchObject({ code: 'timeout' });
  });
});

describe('close', () => {
  it('ends idle connections and requests in flight', async () => {
    const { url, server, callers } = await serving((request, response) => {
      if (request.url === '/hang') server.emit('hanging');
      else response.end('x');
    });
    const made = network(everywhere).fetcher();
    await (await made.fetch(url)).text();
    const hanging = once(server, 'hanging');
    const [flight, idle] = [made.fetch(`${url}/hang`), made.fetch(url).then((answer) => answer.text())];
    await Promise.all([hanging, idle]);
    const ended = new Promise<void>((done) => {
      server.on('ended', (count: number) => {
        if (count === callers.size) done();
      });
    });
    const failed = failure(flight);
    await made.close();
    expect(await failed).toMatchObject({ code: 'unavailable' });
    await ended;
  });

  it('ends connections that are not ready yet', async () => {
    const hole = await using(blackHole());
    const made = network(everywhere, undefined, 3_600_000).fetcher();
    const caller = new AbortController();
    const request = made.fetch(hole.url.replace('http:', 'https:'), { signal: caller.signal });
    await hole.connected();
    caller.abort(new Error('given up'));
    await expect(request).rejects.toThrow('given up');
    await made.close();
    await hole.idle();
  });

  it('does nothing where nothing was asked', async () => {
    await expect(network(everywhere).fetcher().close()).resolves.toBeUndefined();
  });
});

it('connects a socket where it is allowed to', async () => {
  const server = await using(statusServer(200, 'raw'));
  const socket = network(everywhere).connect({ host: 'localhost', port: server.port });
  socket.end('GET / HTTP/1.0\r\n\r\n');
  expect(await text(socket)).toMatch(/raw$/);
});
