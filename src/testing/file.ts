import { Readable } from 'node:stream';
import { ReadableStream } from 'node:stream/web';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { FileConnector } from '../connectors/file/connector.ts';
import type { FileClient, FileDriver } from '../connectors/file/driver.ts';
import { NEVER } from '../policies/pipeline.ts';
import { ATTACKS } from './file-attacks.ts';
import { testListing, testNames } from './file-listing.ts';
import { testPresign } from './file-presign.ts';
import { watchCases } from './cases-seen.ts';
import { testConcurrency, testStreams } from './file-streams.ts';
import { bytes, chunksOf, collect, fileConnector, text, untouchable, type FileSuite } from './file-suite.ts';
import { refuses, testWrites } from './file-writes.ts';
import type { SuiteEngine } from './seen.ts';

/** The driver to prove, and how to open it. */
export type FileDriverCase = {
  readonly driver: Pick<FileDriver, 'id' | 'capabilities'>;
  /** A client over a place that nobody else uses; called once. */
  readonly open: () => Promise<FileClient>;
  /** What answers, kept as `seen.json` beside the test: set it where the drivers' matrix shall say so. */
  readonly engine?: SuiteEngine;
  /** Cases that this one deployment cannot pass, by the beginning of their names, and why. One that is not used fails. */
  readonly waivers?: Readonly<Record<string, string>>;
};

/**
 * Proves with Vitest that a file driver does what its capabilities declare and that what they do not is refused before
 * any I/O. Call it from the driver's own test file.
 */
export function testFileDriver({ driver, open, engine, waivers = {} }: FileDriverCase): void {
  const { capabilities } = driver;
  describe(`file/${driver.id} keeps the contract of a file driver`, () => {
    const cases = watchCases(waivers);
    let client: FileClient;
    let files: FileConnector;
    let folders = 0;
    const folder = () => `case-${++folders}`;
    beforeAll(async () => {
      client = await open();
      files = fileConnector({ client, capabilities });
    });
    afterAll(() => client.close());
    const suite: FileSuite = { capabilities, folder, files: () => files, client: () => client };

    testContent(suite);
    testRanges(suite);
    testListing(suite);
    testNames(suite);
    testConcurrency(suite);
    testStreams(suite);
    testTransfers(suite);
    testWrites(suite);
    testPresign(suite);
    testRefusals(suite);

    it('passes its own check', async () => {
      expect(await client.check(NEVER)).toBeInstanceOf(Array);
    });
    cases.report(engine);
  });
}

function testContent({ files, folder }: FileSuite): void {
  const all = Uint8Array.from({ length: 70_000 }, (_, i) => i % 256);
  const contents = {
    bytes: () => all,
    'an async iterable': () => chunksOf(all.subarray(0, 3), all.subarray(3)),
    'a Node stream': () => Readable.from([Buffer.from(all.subarray(0, 9)), Buffer.from(all.subarray(9))]),
    'a web stream': () => new ReadableStream<Uint8Array>({ start: (c) => (c.enqueue(all), c.close()) }),
  };
  for (const [what, content] of Object.entries(contents)) {
    it(`answers what was written from ${what}`, async () => {
      const path = `${folder()}/deep/er/file.bin`;
      const written = await files().writeFile(path, content());
      expect(written).toMatchObject({ path, size: all.length });
      expect(Buffer.compare(await files().readFile(path), all)).toBe(0);
      expect(await files().statFile(path)).toMatchObject({
        path,
        name: 'file.bin',
        size: all.length,
        isDirectory: false,
        ...(written.etag !== undefined && { etag: written.etag }),
      });
    });
  }

  it('stores text as UTF-8', async () => {
    const path = `${folder()}/text`;
    await files().writeFile(path, 'é😀');
    expect(text(await files().readFile(path))).toBe('é😀');
    await files().writeFile(path, chunksOf('a', bytes('b'), 'ç'));
    expect(text(await files().readFile(path))).toBe('abç');
  });

  it('keeps empty files, from bytes and from a stream', async () => {
    const at = folder();
    await files().writeFile(`${at}/bytes`, new Uint8Array());
    await files().writeFile(`${at}/stream`, chunksOf());
    for (const path of [`${at}/bytes`, `${at}/stream`]) {
      expect(await files().readFile(path)).toHaveLength(0);
      expect((await files().statFile(path)).size).toBe(0);
    }
  });

  it('keeps chunks of all sizes in their order', async () => {
    const path = `${folder()}/mixed`;
    const sizes = [
      1, 70_000, 300_000, 5, 900_000, 3, 1_500_000, 200_000, 200_000, 700_000, 1, 262_144, 1_048_576, 9,
    ];
    const chunks = sizes.map((size, i) => Buffer.alloc(size, i + 1));
    await files().writeFile(path, chunksOf(...chunks));
    expect(Buffer.compare(await files().readFile(path), Buffer.concat(chunks))).toBe(0);
  });

  it('is not misled by a source that fills the same memory again', async () => {
    const path = `${folder()}/reused`;
    const memory = new Uint8Array(1000);
    const reusing = async function* () {
      for (let i = 0; i < 50; i++) yield memory.fill(i);
    };
    await files().writeFile(path, reusing());
    const expected = Buffer.concat(Array.from({ length: 50 }, (_, i) => Buffer.alloc(1000, i)));
    expect(Buffer.compare(await files().readFile(path), expected)).toBe(0);
  });

  it('replaces the whole content and changes the etag, also for content of the same size', async () => {
    const path = `${folder()}/replaced`;
    const first = await files().writeFile(path, 'long content');
    await files().writeFile(path, 'old');
    const old = await files().statFile(path);
    const written = await files().writeFile(path, 'new');
    expect(text(await files().readFile(path))).toBe('new');
    if (old.etag !== undefined) expect(new Set([first.etag, old.etag, written.etag]).size).toBe(3);
  });

  it('answers not_found for what is missing and for a folder', async () => {
    const at = folder();
    await files().writeFile(`${at}/sub/file`, 'x');
    for (const path of [`${at}/none`, `${at}/none/deeper`, `${at}/sub`, `${at}/sub/file/below`]) {
      await expect(files().readFile(path)).rejects.toMatchObject({ code: 'not_found' });
      await expect(files().openFile(path)).rejects.toMatchObject({ code: 'not_found' });
      await expect(files().statFile(path)).rejects.toMatchObject({ code: 'not_found', details: { path } });
    }
  });

  it('deletes once, and answers false where there is no file', async () => {
    const at = folder();
    await files().writeFile(`${at}/sub/file`, 'x');
    expect(await files().deleteFile(`${at}/sub`)).toEqual({ deleted: false });
    expect(await files().deleteFile(`${at}/sub/file/below`)).toEqual({ deleted: false });
    expect(await files().deleteFile(`${at}/sub/file`)).toEqual({ deleted: true });
    expect(await files().deleteFile(`${at}/sub/file`)).toEqual({ deleted: false });
    expect(await files().deleteFile(`${at}/never/was`)).toEqual({ deleted: false });
    await expect(files().readFile(`${at}/sub/file`)).rejects.toMatchObject({ code: 'not_found' });
  });
}

function testRanges({ capabilities, files, folder }: FileSuite): void {
  if (!capabilities.ranges) {
    it('refuses ranges before any I/O', async () => {
      const idle = untouchable(capabilities);
      const refusal = { code: 'unsupported', details: { capability: 'ranges' } };
      await expect(idle.readFile('a', { range: { start: 0 } })).rejects.toMatchObject(refusal);
      await expect(idle.openFile('a', { range: { start: 0 } })).rejects.toMatchObject(refusal);
    });
    return;
  }
  const cases = [
    [{ start: 0 }, '0123456789'],
    [{ start: 0, end: 0 }, '0'],
    [{ start: 3, end: 5 }, '345'],
    [{ start: 9 }, '9'],
    [{ start: 9, end: 9 }, '9'],
    [{ start: 8, end: 1000 }, '89'],
  ] as const;
  it('reads ranges, both ends included, cut at the end of the file', async () => {
    const path = `${folder()}/digits`;
    await files().writeFile(path, '0123456789');
    for (const [range, expected] of cases) {
      expect(text(await files().readFile(path, { range }))).toBe(expected);
      const { info, body } = await files().openFile(path, { range });
      expect(info.size).toBe(10);
      expect((await collect(body)).toString()).toBe(expected);
    }
  });

  it('refuses a range that starts at or after the end', async () => {
    const at = folder();
    await files().writeFile(`${at}/digits`, '0123456789');
    await files().writeFile(`${at}/empty`, '');
    const refusal = { code: 'invalid_argument', issues: [{ path: 'range' }] };
    for (const [path, start] of [
      [`${at}/digits`, 10],
      [`${at}/digits`, 11],
      [`${at}/empty`, 0],
    ] as const) {
      await expect(files().readFile(path, { range: { start } })).rejects.toMatchObject(refusal);
      await expect(files().openFile(path, { range: { start } })).rejects.toMatchObject(refusal);
    }
  });

  it('refuses a range that is none before any I/O', async () => {
    const idle = untouchable(capabilities);
    for (const range of [
      { start: -1 },
      { start: 1.5 },
      { start: 2, end: 1 },
      { start: 0, end: Number.NaN },
    ]) {
      await expect(idle.readFile('a', { range })).rejects.toMatchObject({ issues: [{ path: 'range' }] });
    }
  });
}

function testTransfers({ capabilities, files, folder }: FileSuite): void {
  if (capabilities.copy) {
    it('copies a file over another, and onto itself', async () => {
      const at = folder();
      await files().writeFile(`${at}/from`, 'content');
      await files().writeFile(`${at}/sub/to`, 'longer than the other');
      const copied = await files().copyFile(`${at}/from`, `${at}/sub/to`);
      expect(copied).toMatchObject({ path: `${at}/sub/to`, size: 7 });
      await files().copyFile(`${at}/from`, `${at}/from`);
      for (const path of ['from', 'sub/to'])
        expect(text(await files().readFile(`${at}/${path}`))).toBe('content');
      await expect(files().copyFile(`${at}/none`, `${at}/x`)).rejects.toMatchObject({ code: 'not_found' });
    });
  } else refuses(capabilities, 'copy', (idle) => idle.copyFile('a', 'b'));

  if (capabilities.move) {
    it('moves a file over another, and onto itself', async () => {
      const at = folder();
      await files().writeFile(`${at}/from`, 'content');
      await files().writeFile(`${at}/to`, 'old');
      expect(await files().moveFile(`${at}/from`, `${at}/to`)).toMatchObject({ path: `${at}/to`, size: 7 });
      await files().moveFile(`${at}/to`, `${at}/to`);
      await files().moveFile(`${at}/to`, `${at}/new/place`);
      expect(text(await files().readFile(`${at}/new/place`))).toBe('content');
      const { files: left } = await files().listFiles(at, { recursive: true });
      expect(left.map(({ path }) => path)).toEqual([`${at}/new/place`]);
      await expect(files().moveFile(`${at}/none`, `${at}/x`)).rejects.toMatchObject({ code: 'not_found' });
    });
  } else refuses(capabilities, 'move', (idle) => idle.moveFile('a', 'b'));
}

function testRefusals({ capabilities }: FileSuite): void {
  it('refuses a path that leaves the root before any I/O, whatever is asked for', async () => {
    const idle = untouchable(capabilities);
    const refusal = { code: 'invalid_argument', issues: [{ path: 'path' }] };
    const taken = ['read', 'open', 'write', 'delete', 'stat', 'presign'] as const;
    for (const path of ['', ...ATTACKS]) {
      const uses = {
        read: idle.readFile(path),
        open: idle.openFile(path),
        write: idle.writeFile(path, 'x'),
        delete: idle.deleteFile(path),
        stat: idle.statFile(path),
        presign: idle.presign(path),
      };
      for (const use of taken)
        await expect(uses[use], `${use} ${JSON.stringify(path)}`).rejects.toMatchObject(refusal);
      await expect(idle.copyFile(path, 'b')).rejects.toMatchObject({ issues: [{ path: 'from' }] });
      await expect(idle.moveFile('a', path)).rejects.toMatchObject({ issues: [{ path: 'to' }] });
      if (path !== '') await expect(idle.listFiles(path)).rejects.toMatchObject(refusal);
    }
    for (const path of ['..', '/../a', 'a//', '//', 'a/./']) {
      await expect(idle.listFiles(path)).rejects.toMatchObject(refusal);
    }
  });

  it('refuses options out of range before any I/O', async () => {
    const idle = untouchable(capabilities);
    for (const limit of [0, -1, 1.5, 1001, Number.NaN]) {
      await expect(idle.listFiles('/', { limit })).rejects.toMatchObject({ issues: [{ path: 'limit' }] });
    }
    for (const expiresInSeconds of [0, 0.5, 604_801]) {
      await expect(idle.presign('a', { expiresInSeconds })).rejects.toMatchObject({
        issues: [{ path: 'expiresInSeconds' }],
      });
    }
  });
}
