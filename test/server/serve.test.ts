import { once } from 'node:events';
import { createHash, randomBytes } from 'node:crypto';
import { Agent, type IncomingMessage, request } from 'node:http';
import { connect, type Socket } from 'node:net';
import { Readable } from 'node:stream';
import { text } from 'node:stream/consumers';
import { expect, it, onTestFinished } from 'vitest';
import { ConnectorRegistry } from '../../src/index.ts';
import { httpApp, serverLogger, startServer } from '../../src/server/index.ts';
import { fakeDrivers } from './fake-drivers.ts';
import { SPECS } from './harness.ts';

const logger = serverLogger({ level: 'silent' });

async function start() {
  const registry = await ConnectorRegistry.open({ drivers: fakeDrivers });
  const server = await startServer({ registry, port: 0, logger });
  onTestFinished(async () => {
    await server.close();
    await registry.close();
  });
  const { key } = await registry.keys.create({ tenantId: 'acme', role: 'operator' });
  const make = async (kind: keyof typeof SPECS) => {
    const { connectorId } = await registry.forTenant('acme').createFromDict(SPECS[kind]);
    return `${server.url}/api/v1/connectors/${connectorId}`;
  };
  return { registry, server, make, headers: { authorization: `Bearer ${key}` } };
}

async function socketTo(url: string): Promise<Socket> {
  const { hostname, port } = new URL(url);
  const socket = connect(Number(port), hostname);
  onTestFinished(() => void socket.destroy());
  await once(socket, 'connect');
  return socket;
}

async function answerOf(socket: Socket): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of socket) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks).toString();
}

it.each([
  ['unread', 1, 'files/a.bin', 'PUT', { 'x-meta-1st': 'no such name' }],
  ['unread', 5_000_000, 'files/a.bin', 'PUT', { 'x-meta-1st': 'no such name' }],
  ['half read', 5_000_000, 'vectors', 'POST', { 'content-type': 'application/x-ndjson' }],
] as const)(
  'answers what is refused %s, of %d bytes, and then the next request on the connection',
  async (_how, size, path, method, more) => {
    const { make, headers } = await start();
    const [files, vectors] = [await make('file'), await make('vector')];
    const agent = new Agent({ keepAlive: true, maxSockets: 1 });
    onTestFinished(() => agent.destroy());
    const ask = async (what: string, url: string, body: Buffer, extra = {}) => {
      const asked = request(url, { method: what, agent, headers: { ...headers, ...extra } });
      asked.end(body);
      // An event carries its arguments as a list.
      const [answer] = (await once(asked, 'response')) as [IncomingMessage];
      await text(answer);
      return answer.statusCode;
    };
    const body = Buffer.alloc(size, 'no JSON\n');
    expect(await ask(method, `${path === 'vectors' ? vectors : files}/${path}`, body, more)).toBe(400);
    expect(await ask('GET', `${files}/files/a.bin`, Buffer.alloc(0))).toBe(404);
    expect(await ask('PUT', `${files}/files/a.bin`, body)).toBe(200);
  },
);

it('streams a file in and out over a socket, byte for byte', async () => {
  const { make, headers } = await start();
  const at = `${await make('file')}/files/big.bin`;
  const content = randomBytes(5_000_000);
  const chunks = Readable.from(
    (function* () {
      for (let i = 0; i < content.length; i += 70_000) yield content.subarray(i, i + 70_000);
    })(),
  );
  const put = await fetch(at, {
    method: 'PUT',
    headers,
    body: Readable.toWeb(chunks) as ReadableStream,
    duplex: 'half',
  });
  expect(await put.json()).toMatchObject({ size: content.length });
  const got = Buffer.from(await (await fetch(at, { headers })).arrayBuffer());
  expect(sha256(got)).toBe(sha256(content));
  const part = await fetch(at, { headers: { ...headers, range: 'bytes=1000000-1000099' } });
  expect(Buffer.from(await part.arrayBuffer())).toEqual(content.subarray(1_000_000, 1_000_100));
});

it('ends the operation of a client that goes away', async () => {
  const { registry, make, headers } = await start();
  const at = await make('serverless');
  const connector = await registry.forTenant('acme').serverless(at.split('/').at(-1) ?? '');
  const outcome = Promise.withResolvers<unknown>();
  const started = Promise.withResolvers<void>();
  const invoke = connector.invoke.bind(connector);
  connector.invoke = (name, payload, options) => {
    const running = invoke(name, payload, options);
    running.catch(outcome.resolve);
    started.resolve();
    return running;
  };
  const leaving = request(`${at}/functions/slow/invocations`, { method: 'POST', headers });
  leaving.on('error', () => {});
  leaving.end();
  await started.promise;
  leaving.destroy();
  expect(await outcome.promise).toMatchObject({ code: 'cancelled' });
});

it('leaves the old file where the upload of a new one is cut off', async () => {
  const { make, headers } = await start();
  const at = `${await make('file')}/files/kept`;
  await fetch(at, { method: 'PUT', headers, body: 'old' });
  const { pathname } = new URL(at);
  const socket = await socketTo(at);
  socket.write(
    `PUT ${pathname} HTTP/1.1\r\nhost: localhost\r\nauthorization: ${headers.authorization}\r\ncontent-length: 100\r\n\r\nnew`,
  );
  socket.destroySoon();
  await once(socket, 'close');
  expect(await (await fetch(at, { headers })).text()).toBe('old');
});

it('finishes what it accepted when it stops, and refuses what comes later', async () => {
  const { registry, server, make, headers } = await start();
  const at = await make('serverless');
  const connector = await registry.forTenant('acme').serverless(at.split('/').at(-1) ?? '');
  const started = Promise.withResolvers<void>();
  const release = Promise.withResolvers<void>();
  const invoke = connector.invoke.bind(connector);
  connector.invoke = async (name, payload, options) => {
    started.resolve();
    await release.promise;
    return invoke(name, payload, options);
  };
  const accepted = fetch(`${at}/functions/echo/invocations`, { method: 'POST', headers });
  await started.promise;
  const closed = server.close();
  await expect(fetch(at, { headers })).rejects.toThrow('fetch failed');
  release.resolve();
  expect(await (await accepted).json()).toMatchObject({ status: 'completed' });
  await closed;
});

it('says to a request that was under way that it stops, and when to ask again', async () => {
  const { server } = await start();
  const socket = await socketTo(server.url);
  socket.write('GET /readyz HTTP/1.1\r\nhost: local');
  // The connection was accepted: one that came later was answered.
  expect(await fetch(`${server.url}/readyz`)).toMatchObject({ status: 200 });
  const closed = server.close();
  socket.write('host\r\n\r\n');
  const answer = await answerOf(socket);
  expect(answer).toMatch(/^HTTP\/1\.1 503 [^]*\r\nretry-after: 1\r\n[^]*"code":"unavailable"/);
  await closed;
});

it.each([
  ['GARBAGE\r\n\r\n', '400', 'invalid_argument'],
  [`GET / HTTP/1.1\r\nhost: localhost\r\nx-long: ${'x'.repeat(20_000)}\r\n\r\n`, '431', 'payload_too_large'],
  [
    'GET / HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n',
    '400',
    'invalid_argument',
  ],
])('answers %j with a problem', async (text, status, code) => {
  const { server } = await start();
  const socket = await socketTo(server.url);
  socket.write(text);
  const answer = await answerOf(socket);
  expect(answer).toMatch(new RegExp(`^HTTP/1.1 ${status} `));
  expect(answer).toContain('content-type: application/problem+json');
  expect(JSON.parse(answer.split('\r\n\r\n')[1] ?? '')).toMatchObject({ code });
});

it('waits for headers at most ten seconds and for bodies as long as they move', async () => {
  const { registry } = await start();
  const app = await httpApp({ registry, logger, host: '127.0.0.1' });
  onTestFinished(() => app.close());
  expect(app.server).toMatchObject({ headersTimeout: 10_000, requestTimeout: 0, keepAliveTimeout: 5_000 });
});

it.each(['0.0.0.0', '::', '192.0.2.1', 'example.org'])(
  'refuses to listen on %s without TLS',
  async (host) => {
    const registry = await ConnectorRegistry.open({ drivers: fakeDrivers });
    onTestFinished(() => registry.close());
    await expect(startServer({ registry, host, port: 0, logger })).rejects.toMatchObject({
      code: 'invalid_argument',
      message: expect.stringMatching(/TLS certificate.*--insecure-http/),
    });
  },
);

it('listens on every address when that is asked for, and then answers to any host', async () => {
  const registry = await ConnectorRegistry.open({ drivers: fakeDrivers });
  const server = await startServer({ registry, host: '0.0.0.0', port: 0, insecureHttp: true, logger });
  onTestFinished(async () => {
    await server.close();
    await registry.close();
  });
  const url = server.url.replace('0.0.0.0', '127.0.0.1');
  const socket = await socketTo(url);
  socket.write('GET /healthz HTTP/1.1\r\nhost: api.example.org\r\nconnection: close\r\n\r\n');
  expect(await answerOf(socket)).toMatch(/^HTTP\/1.1 200 /);
});

it('says which port is taken', async () => {
  const { registry, server } = await start();
  const port = Number(new URL(server.url).port);
  await expect(startServer({ registry, port, logger })).rejects.toMatchObject({
    code: 'unavailable',
    message: `cannot listen on 127.0.0.1 port ${port}: another process has it`,
  });
});

function sha256(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}
