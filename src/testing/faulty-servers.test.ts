import { once } from 'node:events';
import { request } from 'node:https';
import { connect } from 'node:net';
import { expect, it } from 'vitest';
import {
  blackHole,
  closedPort,
  garbage,
  nonsense,
  selfSigned,
  statusServer,
} from './faulty-servers.fixture.ts';

it('refuses connections at a closed port', async () => {
  const { host, port } = await closedPort();
  await expect(once(connect(port, host), 'connect')).rejects.toMatchObject({ code: 'ECONNREFUSED' });
});

it('takes a connection into a black hole, and ends it when it closes', async () => {
  const hole = await blackHole();
  const socket = connect(hole.port, hole.host);
  await once(socket, 'connect');
  let answered = 0;
  socket.on('data', () => (answered += 1));
  // The end is a reset where the server had not read everything yet.
  socket.on('error', () => {});
  const ended = new Promise<void>((done) => void socket.once('close', () => done()));
  await new Promise((done) => void socket.write('GET / HTTP/1.1\r\n\r\n', done));
  await hole.close();
  await ended;
  expect(answered).toBe(0);
});

it('speaks TLS that only those accept who trust its certificate', async () => {
  const server = await selfSigned();
  await expect(once(request(server.url).end(), 'response')).rejects.toMatchObject({
    code: 'DEPTH_ZERO_SELF_SIGNED_CERT',
  });
  const [response] = await once(request(server.url, { ca: server.certificate }).end(), 'response');
  expect(response).toMatchObject({ statusCode: 200 });
  await server.close();
});

it('answers nonsense with a status of success', async () => {
  const server = await nonsense();
  const bodies: string[] = [];
  for (let i = 0; i < 4; i++) bodies.push(await (await fetch(`${server.url}/x`)).text());
  expect(new Set(bodies).size).toBe(4);
  await server.close();
});

it('answers bytes of no protocol', async () => {
  const server = await garbage();
  await expect(fetch(server.url)).rejects.toThrow('fetch failed');
  await server.close();
});

it('answers the status, the body and the headers that it is told', async () => {
  const server = await statusServer(429, { error: 'slow down' }, { 'retry-after': '2' });
  const response = await fetch(`${server.url}/any`, { method: 'POST', body: 'x' });
  expect([response.status, response.headers.get('retry-after')]).toEqual([429, '2']);
  expect(await response.json()).toEqual({ error: 'slow down' });
  await server.close();
});
