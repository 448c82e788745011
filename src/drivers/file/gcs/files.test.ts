import { gzipSync } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import type { FileInfo, PresignOptions } from '../../../driver.ts';
import { NEVER } from '../../../policies/pipeline.ts';
import { collect } from '../../../testing/file-suite.ts';
import { bytes, clientsOfDouble } from './clients.fixture.ts';

const { double, start } = await clientsOfDouble();
const { bucket } = double;
const put = (name: string, content = 'x') => bucket.put({ name, content: Buffer.from(content) });

describe('listing', () => {
  const all = async (path: string, recursive: boolean, limit: number) => {
    const client = await start();
    const seen: string[] = [];
    let cursor: string | undefined;
    do {
      const page = await client.list(path, { recursive, limit, cursor }, NEVER);
      expect(page.files.length).toBeLessThanOrEqual(limit);
      seen.push(...page.files.map((file: FileInfo) => (file.isDirectory ? `${file.path}/` : file.path)));
      cursor = page.nextCursor;
    } while (cursor !== undefined);
    return seen;
  };

  it('leaves out what consoles make of a folder, and passes a folder at once', async () => {
    for (const name of ['top/', 'top/a/', 'top/a/1', 'top/a/2', 'top/b', 'top/c/', 'top/c0', 'top//odd'])
      put(name);
    for (const limit of [1, 2, 1000]) {
      const folders = (await all('top', false, limit)).filter((path) => !path.endsWith('//'));
      expect(folders).toEqual(['top/a/', 'top/b', 'top/c/', 'top/c0']);
      const files = (await all('top', true, limit)).filter((path) => !path.includes('//'));
      expect(files).toEqual(['top/a/1', 'top/a/2', 'top/b', 'top/c0']);
    }
  });

  it('asks for one more than wanted where the last one is answered again', async () => {
    const client = await start();
    for (const name of ['w/1', 'w/2', 'w/3']) put(name);
    const { nextCursor } = await client.list('w', { recursive: true, limit: 1 }, NEVER);
    await client.list('w', { recursive: true, limit: 2, cursor: nextCursor }, NEVER);
    expect(double.requests.at(-1)).toMatch(/maxResults=3&prefix=w%2F&startOffset=w%2F1/);
  });

  it('goes through 20,000 files in constant memory, and through their folders in few requests', async () => {
    const names = Array.from({ length: 20_000 }, (_, i) => `many/${String(i % 40)}/${i}`);
    for (const name of names) put(name);
    const client = await start();
    const before = { requests: double.requests.length, heap: process.memoryUsage().heapUsed };
    let count = 0;
    let last = '';
    let cursor: string | undefined;
    do {
      const page = await client.list('many', { recursive: true, limit: 1000, cursor }, NEVER);
      for (const { path } of page.files) {
        expect(Buffer.compare(Buffer.from(last), Buffer.from(path))).toBe(-1);
        last = path;
      }
      count += page.files.length;
      cursor = page.nextCursor;
    } while (cursor !== undefined);
    expect(count).toBe(20_000);
    // A fifth of the double's pages are empty, and as many are short.
    expect(double.requests.length - before.requests).toBeLessThan(40);
    expect(process.memoryUsage().heapUsed - before.heap).toBeLessThan(100 * 2 ** 20);
    expect(await all('many', false, 1000)).toHaveLength(40);
    bucket.clear();
  });
});

describe('reading', () => {
  it('answers one content even where it is replaced between the two requests of a stream', async () => {
    const client = await start();
    put('replaced', 'old');
    const replacing = double.before(/alt=media/, () => put('replaced', 'newer'));
    const { info, body } = await client.readStream('replaced', undefined, NEVER);
    const read = (await collect(body)).toString();
    expect({ size: info.size, read }).toEqual({ size: 5, read: 'newer' });
    expect(replacing.count()).toBe(1);
  });

  it('asks for the range alone, and of a stream for the very generation that it describes', async () => {
    const client = await start();
    const { generation } = put('ranged', '0123456789');
    const before = double.requests.length;
    const opened = await client.readStream('ranged', { start: 3, end: 4 }, NEVER);
    expect((await collect(opened.body)).toString()).toBe('34');
    expect(double.requests.slice(before)[1]).toContain(`alt=media&generation=${generation}`);
    expect(await client.readBytes('ranged', { start: 8 }, NEVER)).toEqual(bytes('89'));
  });

  it('answers content that is stored compressed as it was before, and no range of it', async () => {
    const client = await start();
    const text = 'much ado about nothing. '.repeat(100);
    bucket.put({ name: 'packed', content: gzipSync(text), contentEncoding: 'gzip' });
    expect(Buffer.from(await client.readBytes('packed', undefined, NEVER)).toString()).toBe(text);
    const refusal = { code: 'unsupported', details: { capability: 'ranges' } };
    await expect(client.readBytes('packed', { start: 1 }, NEVER)).rejects.toMatchObject(refusal);
    await expect(client.readStream('packed', { start: 1 }, NEVER)).rejects.toMatchObject(refusal);
  });

  it('leaves metadata as others wrote them, and times to the millisecond', async () => {
    const client = await start();
    bucket.put({ name: 'theirs', content: Buffer.from('x'), metadata: { 'Some-Thing': '100%', plain: 'ö' } });
    const info = await client.stat('theirs', NEVER);
    expect(info.metadata).toEqual({ 'Some-Thing': '100%', plain: 'ö' });
    const { files } = await client.list('', { recursive: true, limit: 1000 }, NEVER);
    expect(files).toContainEqual(info);
  });
});

describe('copying and moving', () => {
  it('goes on until a large file is copied', async () => {
    const client = await start();
    const content = Buffer.alloc(5 * 2 ** 20, 7);
    bucket.put({ name: 'large', content, contentType: 'image/png', metadata: { a: 'b' } });
    const before = double.requests.length;
    expect(await client.copy?.('large', 'copied', NEVER)).toMatchObject({
      path: 'copied',
      size: 5 * 2 ** 20,
    });
    expect(double.requests.length - before).toBe(5);
    expect(await client.stat('copied', NEVER)).toMatchObject({
      ...{ contentType: 'image/png', metadata: { a: 'b' } },
    });
  });

  it('moves in one request, and not at all onto itself', async () => {
    const client = await start();
    put('from');
    const before = double.requests.length;
    await client.move?.('from', 'to', NEVER);
    expect(double.requests.slice(before)).toHaveLength(1);
    const { generation } = bucket.get('to') ?? {};
    expect(await client.move?.('to', 'to', NEVER)).toMatchObject({ etag: generation });
  });

  it('refuses names that Google takes no file by before anything is sent', async () => {
    const client = await start();
    const before = double.requests.length;
    for (const path of ['a\nb', 'a\rb', '.well-known/acme-challenge/x']) {
      const refusal = { code: 'invalid_argument', issues: [{ path: 'path' }] };
      await expect(client.write(path, bytes('x'), {}, NEVER)).rejects.toMatchObject(refusal);
      await expect(client.copy?.('from', path, NEVER)).rejects.toMatchObject(refusal);
      await expect(client.move?.('from', path, NEVER)).rejects.toMatchObject(refusal);
    }
    expect(double.requests).toHaveLength(before);
  });
});

describe('a signed address', () => {
  const signed = async (path: string, options: Partial<PresignOptions> = {}) => {
    const answer = await (
      await start()
    ).presign?.(path, { method: 'PUT', expiresInSeconds: 60, ...options }, NEVER);
    if (answer === undefined) throw new Error('no address');
    return answer;
  };
  const send = (url: string, headers: Readonly<Record<string, string>>, body = 'x') =>
    fetch(url, { method: 'PUT', headers, body: bytes(body) });

  it('holds for exactly what it says: its headers, its time, its method', async () => {
    const { url, headers } = await signed('put', { contentType: 'text/plain', maxBytes: 3 });
    expect(headers).toEqual({ 'content-type': 'text/plain', 'x-goog-content-length-range': '0,3' });
    const outcomes = [
      send(url, headers),
      send(url, { 'content-type': 'text/plain' }),
      send(url, { ...headers, 'x-goog-content-length-range': '0,9' }),
      send(url, { ...headers, 'x-goog-if-generation-match': '0' }),
      send(url.replace('X-Goog-Expires=60', 'X-Goog-Expires=600'), headers),
      send(url, headers, 'xxxx'),
      fetch(url),
    ];
    expect((await Promise.all(outcomes)).map(({ status }) => status)).toEqual([
      200, 403, 403, 403, 403, 400, 403,
    ]);
  });

  it('is of any name, and needs nothing of the network', async () => {
    const before = double.requests.length;
    const path = "a b/ö/100%/(x)!'*/~/+&?#=,;:@$[]";
    const { url, headers } = await signed(path, { expiresInSeconds: 604_800 });
    expect(double.requests.slice(before).filter((line) => !line.includes('maxResults=1&'))).toEqual([
      'POST /token',
    ]);
    expect((await send(url, headers, 'named')).status).toBe(200);
    expect(await (await start()).readBytes(path, undefined, NEVER)).toEqual(bytes('named'));
  });
});
