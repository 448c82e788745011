import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import { type AddressInfo, connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, expect, it } from 'vitest';

const MAIN = fileURLToPath(new URL('../../src/cli/main.ts', import.meta.url));
const TENANT = 'acme';

let folder: string;
/** Functions that never answer. */
let silent: Server;
const closing: (() => unknown)[] = [];

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'connectors-stopping-'));
  silent = createServer(() => {}).listen(0, '127.0.0.1');
  await once(silent, 'listening');
});
afterEach(async () => {
  for (const close of closing.splice(0)) close();
  silent.closeAllConnections();
  silent.close();
  await rm(folder, { recursive: true });
});

/** A server in a process of its own, and calls of it as its administrator. */
async function served() {
  const child = spawn(process.execPath, [MAIN, 'serve'], {
    stdio: ['ignore', 'ignore', 'pipe'],
    env: { PATH: process.env['PATH'], CONNECTORS_DATA_DIR: folder, CONNECTORS_PORT: '0' },
  });
  closing.push(() => child.kill('SIGKILL'));
  let shown = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => (shown += text));
  while (!shown.includes('listening on')) await once(child.stderr, 'data');
  const url = /listening on (\S+);/.exec(shown)?.[1] ?? '';
  const key = /(crk_\S+)/.exec(shown)?.[1] ?? '';
  const call = async (method: string, path: string, body?: object) => {
    const response = await fetch(`${url}/api/v1${path}`, {
      method,
      headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json' },
      ...(body && { body: JSON.stringify(body) }),
    });
    return { status: response.status, body: (await response.json()) as Record<string, string> };
  };
  return { child, call, url };
}

it(
  'answers who waits, ends what runs and exits within ten seconds after SIGTERM',
  { timeout: 60_000 },
  async () => {
    const { child, call } = await served();
    const { port } = silent.address() as AddressInfo;
    const made = await call('POST', `/connectors?tenant_id=${TENANT}`, {
      ...{ connector_type: 'serverless', provider: 'http', name: 'f' },
      config: { options: { endpoint: `http://127.0.0.1:${port}/` }, timeout_seconds: 600, max_retries: 0 },
    });
    expect(made).toMatchObject({ status: 201 });
    const path = `/connectors/${made.body['connector_id']}`;
    const running = once(silent, 'request');
    const accepted = await call('POST', `${path}/functions/default/invocations?tenant_id=${TENANT}`, {
      payload: 1,
      async: true,
    });
    await running;
    const waiting = call(
      'GET',
      `${path}/invocations/${accepted.body['request_id']}?wait=60&tenant_id=${TENANT}`,
    );
    const cutOff = call('POST', `${path}/functions/default/invocations?tenant_id=${TENANT}`, { payload: 2 });
    const failed = expect(cutOff).rejects.toThrow(TypeError);
    await once(silent, 'request');
    const stoppedMs = performance.now();
    child.kill('SIGTERM');
    const answered = waiting.then((answer) => ({ ...answer, ms: performance.now() - stoppedMs }));
    const [code] = (await once(child, 'close')) as [number];
    const tookMs = performance.now() - stoppedMs;
    const { status, body, ms } = await answered;
    expect({ status, state: body['status'] }).toEqual({ status: 200, state: 'running' });
    expect(ms).toBeLessThan(3_000);
    await failed;
    expect(tookMs).toBeLessThan(10_000);
    expect(code).toBe(0);
  },
);

it('keeps no idle, unused or half-sent connection when it stops', { timeout: 30_000 }, async () => {
  const { child, url } = await served();
  const { hostname, port } = new URL(url);
  const opened = async (sent: string) => {
    const socket = connect(Number(port), hostname);
    closing.push(() => socket.destroy());
    await once(socket, 'connect');
    socket.write(sent);
    return socket;
  };
  const idle = await opened('GET /readyz HTTP/1.1\r\nhost: localhost\r\n\r\n');
  expect(String(await once(idle, 'data'))).toMatch(/^HTTP\/1\.1 200 [^]*keep-alive/);
  const others = [await opened(''), await opened('GET /readyz HTTP/1.1\r\nhost: lo')];
  const ended = [idle, ...others].map((socket) => once(socket.resume(), 'close'));
  // Each was accepted: the one that follows them was answered.
  expect(await fetch(`${url}/healthz`)).toMatchObject({ status: 200 });
  const stoppedMs = performance.now();
  child.kill('SIGTERM');
  const [code] = (await once(child, 'close')) as [number];
  expect({ code, inTime: performance.now() - stoppedMs < 10_000 }).toEqual({ code: 0, inTime: true });
  await Promise.all(ended);
});
