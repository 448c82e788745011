import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it, onTestFinished, vi } from 'vitest';
import { ConnectorRegistry, FileConnector } from '../../src/index.ts';
import type { PresignedUrl, PresignOptions } from '../../src/driver.ts';
import { serverLogger, startServer } from '../../src/server/index.ts';
import { testClock } from '../../src/testing/index.ts';

const lines: string[] = [];
const logger = serverLogger({ level: 'info' }, { write: (line: string) => void lines.push(line) });

async function start({ basePath = '' } = {}) {
  const clock = testClock();
  const registry = await ConnectorRegistry.open({ clock });
  const server = await startServer({ registry, port: 0, logger });
  onTestFinished(async () => {
    await server.close();
    await registry.close();
  });
  const tenant = registry.forTenant('acme');
  const files = await tenant.createFileConnector({ name: 'notes', basePath });
  return { clock, registry, server, tenant, files };
}

const use = (signed: Pick<PresignedUrl, 'url' | 'method'>, init: RequestInit = {}) =>
  fetch(signed.url, { method: signed.method, ...init });

const text = async (files: FileConnector, path: string) => Buffer.from(await files.readFile(path)).toString();

const PUT = { method: 'PUT', expiresInSeconds: 60 } as const satisfies PresignOptions;

it('reads one file, whole or in part, without a key', async () => {
  const { files, clock } = await start();
  await files.writeFile('folder/ö #%.txt', '0123456789');
  const signed = await files.presign('folder/ö #%.txt', { expiresInSeconds: 60 });
  expect(signed.expiresAt.getTime()).toBe(clock.now() + 60_000);
  const whole = await use(signed);
  expect(await whole.text()).toBe('0123456789');
  expect(whole.headers.get('content-disposition')).toBe('attachment');
  expect(whole.headers.get('content-security-policy')).toContain("default-src 'none'");
  const part = await use(signed, { headers: { range: 'bytes=2-4' } });
  expect([part.status, await part.text()]).toEqual([206, '234']);
  const head = await fetch(signed.url, { method: 'HEAD' });
  expect([head.status, head.headers.get('content-length')]).toEqual([200, '10']);
  const known = await use(signed, { headers: { 'if-none-match': head.headers.get('etag') ?? '' } });
  expect(known.status).toBe(304);
});

it('writes one file, and neither reads it nor removes it', async () => {
  const { files } = await start();
  const signed = await files.presign('a/new.txt', PUT);
  expect(await (await use(signed, { body: 'put' })).json()).toMatchObject({ path: 'a/new.txt', size: 3 });
  expect(await text(files, 'a/new.txt')).toBe('put');
  for (const method of ['GET', 'HEAD']) expect((await fetch(signed.url, { method })).status).toBe(403);
  for (const method of ['DELETE', 'POST', 'PATCH'])
    expect((await fetch(signed.url, { method })).status).toBe(404);
  const reading = await files.presign('a/new.txt');
  expect((await fetch(reading.url, { method: 'PUT', body: 'x' })).status).toBe(403);
  expect(await text(files, 'a/new.txt')).toBe('put');
});

it('holds what is put to its content type and its size, sent at once or in chunks', async () => {
  const { files } = await start();
  await files.writeFile('kept', 'old');
  const signed = await files.presign('kept', { ...PUT, contentType: 'image/png', maxBytes: 4 });
  expect(signed.headers).toEqual({ 'content-type': 'image/png' });
  const put = (body: string | ReadableStream, type = 'image/png') =>
    use(signed, { body, headers: { 'content-type': type }, duplex: 'half' });
  const chunked = (body: string) => new Blob([body]).stream();
  expect((await put('1234', 'text/html')).status).toBe(403);
  expect((await put('12345')).status).toBe(413);
  expect((await put(chunked('12345'))).status).toBe(413);
  expect(await text(files, 'kept')).toBe('old');
  expect((await put(chunked('1234'))).status).toBe(200);
  expect(await text(files, 'kept')).toBe('1234');
});

it('may be used by a page of any origin', async () => {
  const { files } = await start();
  const { url } = await files.presign('a', PUT);
  const asked = await fetch(url, {
    method: 'OPTIONS',
    headers: { origin: 'https://app.example.com', 'access-control-request-method': 'PUT' },
  });
  expect(asked.status).toBe(204);
  expect(asked.headers.get('access-control-allow-methods')).toContain('PUT');
  const put = await fetch(url, { method: 'PUT', body: 'x' });
  expect([put.status, put.headers.get('access-control-allow-origin')]).toEqual([200, '*']);
});

it('ends at its time', async () => {
  const { files, clock } = await start();
  await files.writeFile('a', 'x');
  const signed = await files.presign('a', { expiresInSeconds: 60 });
  await clock.advance(59_999);
  expect((await use(signed)).status).toBe(200);
  await clock.advance(1);
  expect((await use(signed)).status).toBe(403);
});

it('answers in the same words whatever is wrong with an address', async () => {
  const { files, tenant, registry } = await start();
  const other = await registry.forTenant('other').createFileConnector({ name: 'notes' });
  const second = await tenant.createFileConnector({ name: 'second' });
  const vectors = await tenant.createVectorConnector({ name: 'v', vectorDimension: 2 });
  for (const each of [files, other, second]) await each.writeFile('a', 'secret');
  const { url } = await files.presign('a');
  const sealed = url.slice(url.lastIndexOf('/') + 1);
  const at = (id: string, token = sealed) => `/signed/${id}/${token}`;
  const flipped = [...sealed].map((letter, i) =>
    letter === '.' ? undefined : sealed.slice(0, i) + (letter === 'A' ? 'B' : 'A') + sealed.slice(i + 1),
  );
  const gone = await tenant.createFileConnector({ name: 'gone' });
  await gone.writeFile('a', 'x');
  const old = await gone.presign('a');
  await tenant.delete(gone.connectorId);
  const wrong = [
    ...[other, second, vectors].map(({ connectorId }) => at(connectorId)),
    ...[at('nobody'), at(encodeURIComponent('../x')), new URL(old.url).pathname],
    ...flipped.filter((token) => token !== undefined).map((token) => at(files.connectorId, token)),
    ...['x', 'v1.x', sealed.slice(0, -1), `${sealed}A`].map((token) => at(files.connectorId, token)),
  ];
  const said = new Set<string>();
  // Each server has whoever fails twenty times wait.
  for (let first = 0; first < wrong.length; first += 20) {
    const server = await startServer({ registry, port: 0, logger });
    for (const path of wrong.slice(first, first + 20)) {
      const response = await fetch(`${server.url}${path}`);
      expect([response.status, path]).toEqual([403, path]);
      said.add(await response.text());
    }
    await server.close();
  }
  expect([...said]).toHaveLength(1);
  expect((await fetch(url)).status).toBe(200);
}, 20_000);

it('is for a path below the base path of its connector', async () => {
  const { files, tenant } = await start({ basePath: 'one' });
  await files.writeFile('a', 'x');
  const { url } = await files.presign('a');
  expect(await (await fetch(url)).text()).toBe('x');
  const root = await tenant.createFileConnector({ name: 'root' });
  const elsewhere = await root.presign('one/a');
  expect((await fetch(elsewhere.url)).status).toBe(404);
});

it('ends when its connector leads elsewhere, and not with anything else that changes', async () => {
  const { files, registry } = await start();
  const root = await mkdtemp(join(tmpdir(), 'signed-'));
  onTestFinished(() => rm(root, { recursive: true }));
  await writeFile(join(root, 'a'), 'another');
  await files.writeFile('a', 'x');
  const { url } = await files.presign('a');
  await registry.update(files.connectorId, { name: 'renamed', config: { timeoutSeconds: 5 } });
  expect(await (await fetch(url)).text()).toBe('x');
  await registry.update(files.connectorId, { config: { options: { root } } });
  expect((await fetch(url)).status).toBe(403);
  expect(await (await fetch((await files.presign('a')).url)).text()).toBe('another');
});

it('is named by the operator, and never logged', async () => {
  const registry = await ConnectorRegistry.open({ publicUrl: 'https://files.example.com/' });
  onTestFinished(() => registry.close());
  const files = await registry.createFileConnector({ tenantId: 'acme', name: 'notes' });
  const { url } = await files.presign('a');
  expect(url).toMatch(/^https:\/\/files\.example\.com\/signed\/[^/]+\/v1\./);
  expect(url).not.toContain('acme');
  expect(lines.length).toBeGreaterThan(0);
  expect(lines.join('')).not.toMatch(/v1\.[0-9a-f]{16}\./);
});

it('needs a server that is known', async () => {
  const registry = await ConnectorRegistry.open();
  onTestFinished(() => registry.close());
  const files = await registry.createFileConnector({ tenantId: 'acme', name: 'notes' });
  await expect(files.presign('a')).rejects.toMatchObject({
    code: 'unsupported',
    message: expect.stringContaining('publicUrl'),
  });
});

it('says of a file what headers can hold, whatever its backend says of it', async () => {
  const { files } = await start();
  await files.writeFile('a', 'content');
  const odd = { etag: 'x"\r\nset-cookie: 日', contentType: 'text/plain\r\nset-cookie: 日' };
  const { openFile, statFile } = FileConnector.prototype;
  const opening = vi.spyOn(FileConnector.prototype, 'openFile').mockImplementation(async function (
    this: FileConnector,
    ...given
  ) {
    const { info, body } = await openFile.apply(this, given);
    return { info: { ...info, ...odd }, body };
  });
  const looking = vi.spyOn(FileConnector.prototype, 'statFile').mockImplementation(async function (
    this: FileConnector,
    ...given
  ) {
    return { ...(await statFile.apply(this, given)), ...odd };
  });
  onTestFinished(() => {
    opening.mockRestore();
    looking.mockRestore();
  });
  const { url } = await files.presign('a');
  for (const method of ['GET', 'HEAD']) {
    const answer = await fetch(url, { method });
    expect([answer.status, await answer.text()]).toEqual([200, method === 'GET' ? 'content' : '']);
    expect([answer.headers.get('etag'), answer.headers.get('set-cookie')]).toEqual([null, null]);
    expect(answer.headers.get('content-type')).toBe('application/octet-stream');
  }
});
