import { once } from 'node:events';
import http from 'node:http';
import https from 'node:https';
import type { AddressInfo, Socket } from 'node:net';
import { afterEach, describe, expect, it } from 'vitest';
import { networkFailure } from '../contract/backend-error.ts';
import type { Agents, FetcherOptions } from '../contract/network.ts';
import {
  blackHole,
  closedPort,
  selfSigned,
  statusServer,
  type FaultyServer,
} from '../testing/faulty-servers.fixture.ts';
import { egressPolicy } from './addresses.ts';
import type { Resolve } from './dialer.ts';
import { network } from './network.ts';

const everywhere = egressPolicy({ allowPrivate: true });
const publicOnly = egressPolicy({ allowPrivate: false });
const toLoopback: Resolve = (_host, _options, done) => done(null, [{ address: '127.0.0.1', family: 4 }]);

const closing: (() => Promise<void> | void)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
});

function agents(options?: FetcherOptions, net = network(everywhere)): Agents {
  const made = net.agents(options);
  closing.push(() => made.close());
  return made;
}

async function using(opening: Promise<FaultyServer>): Promise<FaultyServer> {
  const server = await opening;
  closing.push(() => server.close());
  return server;
}

/** The status of one GET, or its failure as a driver would pass it on. */
async function get(url: string, { http: plain, https: secure }: Agents): Promise<unknown> {
  const request = url.startsWith('https:')
    ? https.get(url, { agent: secure })
    : http.get(url, { agent: plain });
  try {
    const [response] = (await once(request, 'response')) as [http.IncomingMessage];
    response.resume();
    await once(response, 'end');
    return response.statusCode;
  } catch (error) {
    return networkFailure(error);
  }
}

describe('agents', () => {
  it.each(['127.0.0.1', '[::1]', '10.0.0.1', '169.254.169.254', '[::ffff:127.0.0.1]'])(
    'refuse %s where only public addresses are allowed',
    async (host) => {
      const made = agents({}, network(publicOnly));
      expect(await get(`http://${host}:8000/`, made)).toMatchObject({ code: 'egress_denied' });
      expect(await get(`https://${host}:8000/`, made)).toMatchObject({ code: 'egress_denied' });
    },
  );

  it('refuse a name that stands for loopback, and nothing connects', async () => {
    const server = await using(statusServer(200));
    const made = agents({}, network(publicOnly, toLoopback));
    expect(await get(`http://backend.example:${server.port}/`, made)).toMatchObject({
      code: 'egress_denied',
      details: { host: 'backend.example' },
    });
    expect(server.connections()).toBe(0);
  });

  it('use one connection for calls that follow one another', async () => {
    const server = await using(statusServer(204));
    const made = agents();
    for (let i = 0; i < 3; i++) expect(await get(server.url, made)).toBe(204);
    expect(server.connections()).toBe(1);
  });

  it('end an idle connection before its server does', async () => {
    const server = http.createServer((_request, response) => response.end('{}'));
    server.keepAliveTimeout = 2_000; // announced as such
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    closing.push(() => void server.close());
    const connected = once(server, 'connection') as Promise<[Socket]>;
    const { port } = server.address() as AddressInfo; // a TCP server's address is never a pipe's name
    expect(await get(`http://127.0.0.1:${port}/`, agents())).toBe(200);
    const [socket] = await connected;
    // The end that comes from the other side; one that the server itself begins has no such event.
    await once(socket, 'end');
  });

  it('say that nobody listens, and that a certificate is not trusted', async () => {
    const closed = await using(closedPort());
    expect(await get(closed.url, agents())).toMatchObject({ code: 'unavailable' });
    const server = await using(selfSigned());
    expect(await get(server.url, agents())).toMatchObject({
      code: 'unavailable',
      message: expect.stringContaining('TLS'),
    });
  });

  it('give up a connection that never becomes ready', async () => {
    const silent = await using(blackHole());
    const made = agents({}, network(everywhere, undefined, 50));
    expect(await get(silent.url.replace('http:', 'https:'), made)).toMatchObject({ code: 'timeout' });
  });

  it('end what is in flight when they are closed', async () => {
    const silent = await using(blackHole());
    const made = agents();
    const answer = get(silent.url, made);
    await silent.connected();
    made.close();
    expect(await answer).toMatchObject({ code: 'unavailable' });
  });
});
