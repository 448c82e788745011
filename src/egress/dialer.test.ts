import { once } from 'node:events';
import { get } from 'node:http';
import { createServer, type AddressInfo, type Server } from 'node:net';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ConnectorError } from '../errors/error.ts';
import { egressPolicy } from './addresses.ts';
import { assertHostAllowed, guardedConnect, guardedLookup, type Resolve } from './dialer.ts';
import { LOOPBACK_HOSTS, PRIVATE_HOSTS, PUBLIC_ADDRESSES, ZONED_HOSTS } from './spellings.fixture.ts';

const closed = egressPolicy({ allowPrivate: false });
const open = egressPolicy({ allowPrivate: true });

// Listens on every address of the machine, so that a connection by any spelling would be seen.
let server: Server;
let port = 0;
let seen = 0;
beforeAll(async () => {
  server = createServer((socket) => {
    seen += 1;
    // Clients of these tests hang up without reading the answer.
    socket.on('error', () => {});
    socket.end('HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n');
  }).listen(0);
  await once(server, 'listening');
  ({ port } = server.address() as AddressInfo); // a TCP server's address is never a pipe's name
});
afterAll(() => void server.close());

/** A name service of the test's own: the answers in their order, the last one for ever. */
function names(...answers: readonly (readonly string[])[]) {
  const asked: string[] = [];
  const resolve: Resolve = (host, _options, done) => {
    const addresses = answers[Math.min(asked.length, answers.length - 1)] ?? [];
    asked.push(host);
    queueMicrotask(() =>
      done(
        null,
        addresses.map((address) => ({ address, family: address.includes(':') ? 6 : 4 })),
      ),
    );
  };
  return { resolve, asked };
}
const toLoopback = () => names(['127.0.0.1']).resolve;

/** `connected`, or the code of the error. */
async function dial(host: string, policy = closed, resolve: Resolve = toLoopback()): Promise<string> {
  const socket = guardedConnect({ host, port }, policy, resolve);
  try {
    await once(socket, 'connect');
    return 'connected';
  } catch (error) {
    return error instanceof ConnectorError ? error.code : String(error);
  } finally {
    socket.destroy();
  }
}

const LITERALS = [...LOOPBACK_HOSTS, ...PRIVATE_HOSTS];

it('holds at least 150 spellings, each once', () => {
  expect(new Set(LITERALS).size).toBe(LITERALS.length);
  expect(LITERALS.length + ZONED_HOSTS.length).toBeGreaterThanOrEqual(150);
});

describe.each([...LITERALS, ...ZONED_HOSTS])('%s', (host) => {
  it('is refused as it stands, and nothing connects', async () => {
    const before = seen;
    expect(() => assertHostAllowed(host, closed)).toThrow(expect.objectContaining({ code: 'egress_denied' }));
    expect(await dial(host)).toBe('egress_denied');
    expect(seen).toBe(before);
  });
});

it.each([
  ...LITERALS.map((host) => `http://${host}/`),
  ...LOOPBACK_HOSTS.map((host) => `https://api.example.com:x@${host}:8443/v1?u=http://8.8.8.8/#8.8.8.8`),
])('refuses the host of %s', async (url) => {
  const { hostname } = new URL(url);
  const before = seen;
  expect(() => assertHostAllowed(hostname, closed)).toThrow(
    expect.objectContaining({ code: 'egress_denied' }),
  );
  expect(await dial(hostname)).toBe('egress_denied');
  expect(seen).toBe(before);
});

it.each([
  'localhost',
  'LOCALHOST',
  'localhost.',
  'a.localhost',
  'metadata.google.internal',
  '127.0.0.1.nip.io',
  'x_y',
])('refuses the name %s for the address that it stands for', async (host) => {
  const before = seen;
  expect(() => assertHostAllowed(host, closed)).not.toThrow();
  expect(await dial(host)).toBe('egress_denied');
  expect(seen).toBe(before);
});

it('refuses localhost as the machine itself resolves it', async () => {
  const socket = guardedConnect({ host: 'localhost', port }, closed);
  await expect(once(socket, 'connect')).rejects.toMatchObject({ code: 'egress_denied' });
});

it('refuses a name of which one address is private among public ones', async () => {
  expect(await dial('mixed.example', closed, names(['93.184.216.34', '10.0.0.1']).resolve)).toBe(
    'egress_denied',
  );
  expect(await dial('mixed.example', closed, names(['2606:4700::1111', '::1']).resolve)).toBe(
    'egress_denied',
  );
});

it('refuses a name without an address', async () => {
  expect(await dial('empty.example', closed, names([]).resolve)).toBe('egress_denied');
});

it('refuses a name that moved to a private address since it was last asked', async () => {
  const { resolve } = names(['93.184.216.34'], ['127.0.0.1']);
  const lookup = guardedLookup(closed, resolve);
  const ask = async () =>
    new Promise((done) => {
      lookup('rebind.example', { all: true }, (error, addresses) => done(error ?? addresses));
    });
  expect(await ask()).toEqual([{ address: '93.184.216.34', family: 4 }]);
  expect(await ask()).toMatchObject({ code: 'egress_denied' });
});

it('connects to the address that it checked, without asking again', async () => {
  const policy = egressPolicy({ allowPrivate: false, allowCidrs: ['127.0.0.1/32'] });
  const { resolve, asked } = names(['127.0.0.1'], ['127.0.0.2']);
  const socket = guardedConnect({ host: 'pinned.example', port }, policy, resolve);
  await once(socket, 'connect');
  expect(socket.remoteAddress).toBe('127.0.0.1');
  expect(asked).toEqual(['pinned.example']);
  socket.destroy();
});

it('guards a request over HTTP by its lookup and by its connection', async () => {
  const before = seen;
  const byName = get({ host: 'internal.example', port, lookup: guardedLookup(closed, toLoopback()) });
  await expect(once(byName, 'response')).rejects.toMatchObject({ code: 'egress_denied' });
  const byAddress = get({
    host: '127.0.0.1',
    port,
    createConnection: () => guardedConnect({ host: '127.0.0.1', port }, closed),
  });
  await expect(once(byAddress, 'response')).rejects.toMatchObject({ code: 'egress_denied' });
  expect(seen).toBe(before);
});

it('connects where the operator allows private addresses', async () => {
  for (const host of ['127.0.0.1', '127.1', 'service.internal', '::ffff:127.0.0.1']) {
    expect(await dial(host, open)).toBe('connected');
  }
});

it('passes on the failure of a name service unchanged', async () => {
  const failure = Object.assign(new Error('no such name'), { code: 'ENOTFOUND' });
  const lookup = guardedLookup(closed, (_host, _options, done) => done(failure, []));
  expect(await new Promise((done) => lookup('none.example', {}, done))).toBe(failure);
});

it('answers one address to a caller who asked for one', async () => {
  const lookup = guardedLookup(closed, names(['93.184.216.34', '93.184.216.35']).resolve);
  const answer = await new Promise((done) => lookup('a.example', {}, (...all) => done(all)));
  expect(answer).toEqual([null, '93.184.216.34', 4]);
});

it.each(PUBLIC_ADDRESSES)('lets %s pass', (address) => {
  expect(() => assertHostAllowed(address, closed)).not.toThrow();
});

it('names the host that was asked for, and no address of the network behind it', async () => {
  const lookup = guardedLookup(closed, names(['10.20.30.40']).resolve);
  const error = await new Promise((done) => lookup('db.internal', {}, done));
  expect(error).toMatchObject({
    message: expect.stringContaining('db.internal'),
    details: { host: 'db.internal' },
  });
  expect(JSON.stringify(error)).not.toContain('10.20.30.40');
});
