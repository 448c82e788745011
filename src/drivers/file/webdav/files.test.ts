import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createClient } from 'webdav';
import { beforeEach, expect, it } from 'vitest';
import { systemClock } from '../../../driver.ts';
import { NEVER } from '../../../policies/pipeline.ts';
import { bytes, describeLive, failureOf, filesOnDisk, liveBench, openAt, textOf } from './clients.fixture.ts';
import { ABANDONED_AFTER_MS, isTemporary, temporaryName } from './temporary.ts';

const EVERYTHING = { recursive: true, limit: 1000 };

describeLive('files on a WebDAV server', () => {
  const { server, front } = liveBench();
  beforeEach(() => front().intercept(() => false));
  const disk = (path: string) => join(server().folder, path);
  async function* chunks(count: number, bytesEach = 100_000) {
    for (let i = 0; i < count; i += 1) yield Buffer.alloc(bytesEach, i + 1);
  }

  it('are those that the official client sees, and the other way round', async () => {
    const client = await openAt({ endpoint: server().url });
    const official = createClient(server().url);
    const name = "both/a b%20#?+&'ö😀";
    await client.write(name, bytes('ours'), {}, NEVER);
    expect(await official.getFileContents(`/${name}`, { format: 'text' })).toBe('ours');
    await official.putFileContents(`/${name}`, 'theirs', { overwrite: true });
    expect(await textOf(client, name)).toBe('theirs');
    const { files } = await client.list('both', EVERYTHING, NEVER);
    const [theirs] = (await official.getDirectoryContents('/both')) as { etag: string; size: number }[]; // without details it is a list
    expect(files).toMatchObject([{ path: name, size: theirs?.size, etag: theirs?.etag }]);
  });

  it('are on its disk when they are acknowledged, and unfinished ones are not', async () => {
    const client = await openAt({ endpoint: server().url });
    await client.write('disk/bytes', bytes('content'), {}, NEVER);
    await client.write('disk/stream', chunks(12), {}, NEVER);
    expect(await readFile(disk('disk/bytes'), 'utf8')).toBe('content');
    expect(await readFile(disk('disk/stream'))).toHaveLength(1_200_000);
    expect(await filesOnDisk(disk('disk'))).toEqual(['bytes', 'stream']);
  });

  it('leave nothing behind when a write is aborted or its source breaks', async () => {
    const client = await openAt({ endpoint: server().url });
    await client.write('broken/file', bytes('old'), {}, NEVER);
    const ending = new AbortController();
    const abortedLate = async function* () {
      yield* chunks(20);
      ending.abort();
      yield* chunks(1);
    };
    const breaking = async function* () {
      yield* chunks(20);
      throw new Error('the source broke');
    };
    expect(await failureOf(client.write('broken/file', abortedLate(), {}, ending.signal))).toMatchObject({
      code: 'cancelled',
    });
    await expect(client.write('broken/file', breaking(), {}, NEVER)).rejects.toMatchObject({
      message: expect.stringContaining('the source broke'),
    });
    await client.close();
    expect(await filesOnDisk(disk('broken'))).toEqual(['file']);
    expect(await readFile(disk('broken/file'), 'utf8')).toBe('old');
  });

  it('under temporary names are not listed, and refused as paths', async () => {
    const client = await openAt({ endpoint: server().url });
    const name = temporaryName(Date.now());
    expect(isTemporary(name)).toBe(true);
    await mkdir(disk('hidden'));
    await writeFile(disk(`hidden/${name}`), 'half');
    await writeFile(disk('hidden/.~write-mine'), 'mine');
    const { files } = await client.list('hidden', EVERYTHING, NEVER);
    expect(files.map((file) => file.name)).toEqual(['.~write-mine']);
    const refusal = { code: 'invalid_argument', issues: [{ path: 'path' }] };
    for (const path of [`hidden/${name}`, `${name}/below`]) {
      await expect(client.stat(path, NEVER)).rejects.toMatchObject(refusal);
      await expect(client.readBytes(path, undefined, NEVER)).rejects.toMatchObject(refusal);
      await expect(client.readStream(path, undefined, NEVER)).rejects.toMatchObject(refusal);
      await expect(client.write(path, bytes('x'), {}, NEVER)).rejects.toMatchObject(refusal);
      await expect(client.delete(path, NEVER)).rejects.toMatchObject(refusal);
      await expect(client.copy('a', path, NEVER)).rejects.toMatchObject(refusal);
      await expect(client.move(path, 'a', NEVER)).rejects.toMatchObject(refusal);
      await expect(client.list(path, EVERYTHING, NEVER)).rejects.toMatchObject(refusal);
    }
  });

  it('that were left unfinished a day ago are removed at opening, once a day', async () => {
    const now = Date.now();
    const old = temporaryName(now - ABANDONED_AFTER_MS - 1);
    const young = temporaryName(now - ABANDONED_AFTER_MS + 60_000);
    await mkdir(disk('swept/deep/er'), { recursive: true });
    for (const path of [`swept/${old}`, `swept/deep/er/${old}`, `swept/${young}`, 'swept/deep/kept'])
      await writeFile(disk(path), 'x');
    const { promise: swept, resolve } = Promise.withResolvers<unknown>();
    const nothing = (): void => {};
    const log = {
      debug: nothing,
      warn: nothing,
      error: nothing,
      info: (_: string, fields?: unknown) => resolve(fields),
    };
    const folder = join(server().folder, '..', 'connector');
    await openAt({ endpoint: server().url }, { log, folder });
    expect(await swept).toEqual({ removed: 2 });
    expect(await filesOnDisk(disk('swept'))).toEqual([young, 'deep/kept'].sort());

    front().requests.length = 0;
    await openAt({ endpoint: front().url }, { folder });
    const later = { ...systemClock, now: () => now + 2 * ABANDONED_AFTER_MS };
    const again = Promise.withResolvers<unknown>();
    const laterLog = { ...log, info: (_: string, fields?: unknown) => again.resolve(fields) };
    expect(front().requests).toHaveLength(1);
    await openAt({ endpoint: front().url }, { folder, clock: later, log: laterLog });
    await again.promise;
    expect(await filesOnDisk(disk('swept'))).toEqual(['deep/kept']);
  });

  it('do not replace a folder, nor lie below a file', async () => {
    const client = await openAt({ endpoint: server().url });
    await client.write('tree/folder/file', bytes('kept'), {}, NEVER);
    await client.write('tree/from', bytes('from'), {}, NEVER);
    const inTheWay = { code: 'already_exists' };
    await expect(client.write('tree/folder', bytes('x'), {}, NEVER)).rejects.toMatchObject(inTheWay);
    await expect(client.write('tree/folder', chunks(5), {}, NEVER)).rejects.toMatchObject(inTheWay);
    await expect(client.copy('tree/from', 'tree/folder', NEVER)).rejects.toMatchObject(inTheWay);
    await expect(client.move('tree/from', 'tree/folder', NEVER)).rejects.toMatchObject(inTheWay);
    await expect(client.move('tree/folder', 'tree/moved', NEVER)).rejects.toMatchObject({
      code: 'not_found',
    });
    for (const path of ['tree/from/below', 'tree/from/far/below'])
      for (const content of [bytes('x'), chunks(5)])
        await expect(client.write(path, content, {}, NEVER)).rejects.toMatchObject(inTheWay);
    await expect(client.move('tree/from', 'tree/folder/file/x', NEVER)).rejects.toMatchObject(inTheWay);
    expect(await client.delete('tree/folder', NEVER)).toBe(false);
    await client.close();
    expect(await filesOnDisk(disk('tree'))).toEqual(['folder/file', 'from']);
  });

  it('do not replace a folder that is made in the last moment', async () => {
    const client = await openAt({ endpoint: front().url });
    front().intercept((request, response) => {
      if (request.method !== 'MOVE' || request.headers['overwrite'] !== 'F') return false;
      front().intercept(() => false);
      void mkdir(disk('late/place/deep'), { recursive: true }).then(() => response.writeHead(412).end());
      return true;
    });
    await expect(client.write('late/place', bytes('x'), {}, NEVER)).rejects.toMatchObject({
      code: 'already_exists',
    });
    expect(front().requests.filter(({ headers }) => headers['overwrite'] === 'T')).toEqual([]);
  });

  it('are read in part from servers that leave ranges alone', async () => {
    const client = await openAt({ endpoint: front().url });
    await client.write('whole', bytes('0123456789'), {}, NEVER);
    front().intercept((request) => {
      delete request.headers.range;
      return false;
    });
    for (const [range, expected] of [
      [{ start: 3, end: 5 }, '345'],
      [{ start: 8 }, '89'],
      [{ start: 0, end: 99 }, '0123456789'],
    ] as const) {
      expect(Buffer.from(await client.readBytes('whole', range, NEVER)).toString()).toBe(expected);
    }
    await expect(client.readBytes('whole', { start: 10 }, NEVER)).rejects.toMatchObject({
      issues: [{ path: 'range' }],
    });
  });

  it('are not read where another part is sent than was asked for', async () => {
    const client = await openAt({ endpoint: front().url });
    await client.write('part', bytes('0123456789'), {}, NEVER);
    for (const contentRange of ['bytes 0-2/10', 'bytes 3-4/10', 'bytes 3-5', '', 'bytes */10']) {
      front().intercept((request, response) => {
        if (request.method !== 'GET') return false;
        response
          .writeHead(206, { 'content-range': contentRange, etag: '"x"', 'content-type': 'a/b' })
          .end('345');
        return true;
      });
      const reading = client.readBytes('part', { start: 3, end: 5 }, NEVER);
      await expect(reading, contentRange).rejects.toMatchObject({ code: 'backend_error' });
    }
  });

  it('are unavailable where less of a part is sent than was announced', async () => {
    const client = await openAt({ endpoint: front().url });
    await client.write('announced', bytes('0123456789'), {}, NEVER);
    front().intercept((request, response) => {
      if (request.method !== 'GET') return false;
      response
        .writeHead(206, { 'content-range': 'bytes 3-5/10', etag: '"x"', 'content-type': 'a/b' })
        .end('34');
      return true;
    });
    const reading = client.readBytes('announced', { start: 3, end: 5 }, NEVER);
    await expect(reading).rejects.toMatchObject({ code: 'unavailable' });
  });

  it('are not mistaken for the page or the redirect that a server answers for a folder', async () => {
    const client = await openAt({ endpoint: front().url });
    await client.write('pages/folder/file', bytes('x'), {}, NEVER);
    const page = '<title>Index of /pages/folder</title>';
    const answers: readonly [number, Readonly<Record<string, string>>][] = [
      [200, { 'content-type': 'text/html', etag: '"1"', 'content-length': `${page.length}` }],
      [200, {}],
      [301, { location: `${front().url}/pages/folder/` }],
      [403, {}],
      [501, {}],
    ];
    for (const [status, headers] of answers) {
      front().intercept((request, response) => {
        if (request.method !== 'GET') return false;
        response.writeHead(status, headers).end(page);
        return true;
      });
      for (const path of ['pages/folder', 'pages/none'])
        await expect(client.readBytes(path, undefined, NEVER)).rejects.toMatchObject({ code: 'not_found' });
    }
    // Apache answers so when a folder is named without its slash.
    front().intercept((request, response) => {
      if (request.url?.endsWith('/pages/folder') !== true) return false;
      request.resume();
      response.writeHead(301, { location: `${front().url}/pages/folder/` }).end();
      return true;
    });
    await expect(client.stat('pages/folder', NEVER)).rejects.toMatchObject({ code: 'not_found' });
    await expect(client.write('pages/folder', bytes('x'), {}, NEVER)).rejects.toMatchObject({
      code: 'already_exists',
    });
    expect(await client.delete('pages/folder', NEVER)).toBe(false);
  });

  it('that are pages themselves, or packed, come as they are', async () => {
    const client = await openAt({ endpoint: front().url });
    await client.write('site/page.html', bytes('<p>é'), {}, NEVER);
    expect(await textOf(client, 'site/page.html')).toBe('<p>é');
    await client.write('site/a.gz', bytes('\u001f\u008bno gzip at all'), {}, NEVER);
    front().intercept((request, response) => {
      const writeHead = response.writeHead.bind(response);
      if (request.method === 'GET')
        response.writeHead = (status: number, headers?: unknown) =>
          writeHead(status, { ...(headers as object), 'content-encoding': 'gzip' }); // the front gives headers as an object
      return false;
    });
    expect(await textOf(client, 'site/a.gz')).toBe('\u001f\u008bno gzip at all');
  });

  it('are not taken for written where the server keeps less than it was sent', async () => {
    const client = await openAt({ endpoint: front().url });
    await client.write('kept', bytes('old'), {}, NEVER);
    front().intercept((request, response) => {
      if (request.method !== 'PUT') return false;
      // What PHP behind some web servers makes of content without a length.
      request.resume().once('end', () => {
        const at =
          decodeURIComponent(request.url ?? '')
            .split('/')
            .at(-1) ?? '';
        void writeFile(disk(at), '').then(() => response.writeHead(201).end());
      });
      return true;
    });
    const failure = await failureOf(client.write('kept', chunks(10), {}, NEVER));
    expect(failure).toMatchObject({
      code: 'backend_error',
      message: expect.stringMatching(/kept 0 of 1000000 bytes/),
    });
    front().intercept(() => false);
    expect(await textOf(client, 'kept')).toBe('old');
  });

  it('are not written by an answer that comes before the whole was sent', async () => {
    const client = await openAt({ endpoint: front().url });
    await client.write('early', bytes('old'), {}, NEVER);
    for (const [status, code, message] of [
      [201, 'backend_error', /before it had the whole/],
      [507, 'backend_error', /full/],
      [413, 'payload_too_large', /413/],
    ] as const) {
      front().intercept((request, response) => {
        if (request.method !== 'PUT') return false;
        request.once('data', () => response.writeHead(status).end('early'));
        return true;
      });
      const { promise: ended, resolve } = Promise.withResolvers<void>();
      const endless = async function* () {
        try {
          for (;;) yield Buffer.alloc(100_000);
        } finally {
          resolve();
        }
      };
      const failure = await failureOf(client.write('early', endless(), {}, NEVER));
      expect(failure).toMatchObject({ code, message: expect.stringMatching(message) });
      await ended;
    }
    front().intercept(() => false);
    expect(await textOf(client, 'early')).toBe('old');
  });
});
