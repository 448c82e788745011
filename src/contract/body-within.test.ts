import { once } from 'node:events';
import { createServer, type RequestListener } from 'node:http';
import type { AddressInfo } from 'node:net';
import { gzipSync } from 'node:zlib';
import { afterEach, expect, it } from 'vitest';
import { bodyWithin } from './body-within.ts';

const LIMIT = 1_000;
const closing: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0)) await close();
});

/** What a real server answers. */
async function answered(answer: RequestListener): Promise<Response> {
  const server = createServer(answer);
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  closing.push(async () => {
    server.closeAllConnections();
    server.close();
    await once(server, 'close');
  });
  const { port } = server.address() as AddressInfo; // a TCP server's address is never a pipe's name
  return fetch(`http://127.0.0.1:${port}`);
}

const text = 'é'.repeat(LIMIT / 2);
it.each<[string, string, RequestListener]>([
  ['with its length', text, (_request, response) => void response.end(text)],
  [
    'in pieces',
    text,
    (_request, response) => (response.write(text.slice(0, 100)), response.end(text.slice(100))),
  ],
  [
    'packed',
    text,
    (_request, response) => response.setHeader('content-encoding', 'gzip').end(gzipSync(text)),
  ],
  ['that is nothing', '', (_request, response) => response.writeHead(204).end()],
])('reads a body %s', async (_what, body, answer) => {
  expect(new TextDecoder().decode(await bodyWithin(await answered(answer), LIMIT))).toBe(body);
});

const long = 'x'.repeat(LIMIT + 1);
it.each<[string, RequestListener]>([
  ['says so', (_request, response) => void response.writeHead(200, { 'content-length': 1e9 }).write(long)],
  ['does not say so', (_request, response) => void response.write(long)],
  // A thousand times as long as it is on the way.
  [
    'is packed',
    (_request, response) => response.setHeader('content-encoding', 'gzip').end(gzipSync('x'.repeat(1e6))),
  ],
])('gives up a body that is too long and %s, and its connection', async (_what, answer) => {
  const closed = Promise.withResolvers<void>();
  const response = await answered((request, response) => {
    request.socket.once('close', () => closed.resolve());
    answer(request, response);
  });
  await expect(bodyWithin(response, LIMIT)).rejects.toMatchObject({
    code: 'payload_too_large',
    details: { maxBytes: LIMIT },
  });
  // What has come whole leaves the connection for the next.
  if (response.headers.get('content-encoding') === null) await closed.promise;
});

it('fails where the body is cut', async () => {
  const response = await answered((_request, response) => {
    response.writeHead(200, { 'content-length': 100 }).write('x', () => response.destroy());
  });
  await expect(bodyWithin(response, LIMIT)).rejects.toThrow('terminated');
});
