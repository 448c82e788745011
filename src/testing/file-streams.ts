import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { expect, it } from 'vitest';
import { isConnectorError } from '../errors/error.ts';
import {
  chunksOf,
  collect,
  fileConnector,
  plainSession,
  text,
  untouchable,
  type FileSuite,
} from './file-suite.ts';

/** Cases about many callers on one file. */
export function testConcurrency({ capabilities, files, folder }: FileSuite): void {
  const size = 200_000;
  const whole = (content: Uint8Array) =>
    content.every((byte) => byte === content[0]) && content.length === size;

  it('keeps one whole content of twenty written at once', async () => {
    const path = `${folder()}/contended`;
    await Promise.all(
      Array.from({ length: 20 }, (_, i) => files().writeFile(path, new Uint8Array(size).fill(i + 1))),
    );
    expect(await files().readFile(path)).toSatisfy(whole);
  });

  const orMissing = capabilities.atomicReplace ? '' : ', or no file for a moment,';
  it(`shows a reader the old or the new whole${orMissing} while it is replaced`, async () => {
    const unlessMissing = (error: unknown): Uint8Array => {
      if (isConnectorError(error) && error.code === 'not_found' && !capabilities.atomicReplace)
        return new Uint8Array(size);
      throw error;
    };
    const path = `${folder()}/replaced`;
    await files().writeFile(path, new Uint8Array(size).fill(100));
    let isWriting = true;
    const writing = (async () => {
      for (let i = 0; i < 20; i++) await files().writeFile(path, new Uint8Array(size).fill(i));
      isWriting = false;
    })();
    const read = async () => {
      while (isWriting) {
        expect(await files().readFile(path).catch(unlessMissing)).toSatisfy(whole);
        const opened = await files()
          .openFile(path)
          .then(({ body }) => collect(body), unlessMissing);
        expect(opened).toSatisfy(whole);
      }
    };
    await Promise.all([writing, read(), read()]);
    expect(await files().readFile(path)).toEqual(new Uint8Array(size).fill(19));
  });

  if (capabilities.createOnly) {
    it('lets exactly one of twenty writers create a file', async () => {
      const path = `${folder()}/created`;
      const outcomes = await Promise.allSettled(
        Array.from({ length: 20 }, (_, i) =>
          files().writeFile(path, new Uint8Array(size).fill(i), { ifNoneMatch: '*' }),
        ),
      );
      const winners = outcomes.flatMap(({ status }, i) => (status === 'fulfilled' ? [i] : []));
      expect(winners).toHaveLength(1);
      for (const outcome of outcomes) {
        if (outcome.status === 'rejected') expect(outcome.reason).toMatchObject({ code: 'already_exists' });
      }
      expect(await files().readFile(path)).toEqual(new Uint8Array(size).fill(winners[0] ?? -1));
      expect((await files().listFiles(path.slice(0, path.indexOf('/')))).files).toHaveLength(1);
    });
  } else {
    it('refuses ifNoneMatch before any I/O', async () => {
      await expect(untouchable(capabilities).writeFile('a', 'x', { ifNoneMatch: '*' })).rejects.toMatchObject(
        {
          code: 'unsupported',
          details: { capability: 'createOnly' },
        },
      );
    });
  }
}

/** Cases about streams, and what is left when they break off. */
export function testStreams({ capabilities, files, folder, client }: FileSuite): void {
  it('streams a body, and lets go of the client when it is consumed, ended or aborted', async () => {
    const path = `${folder()}/body`;
    const content = Uint8Array.from({ length: 3_000_000 }, (_, i) => (i * 7) % 251);
    const session = plainSession(client());
    const watched = fileConnector({ client: client(), capabilities, session });
    await watched.writeFile(path, content);

    const consumed = await watched.openFile(path);
    expect(session.holds).toBe(1);
    expect(consumed.info.size).toBe(content.length);
    expect(Buffer.compare(await collect(consumed.body), content)).toBe(0);
    expect(session.holds).toBe(0);

    for await (const chunk of (await watched.openFile(path)).body) {
      expect(chunk.length).toBeGreaterThan(0);
      break;
    }
    expect(session.holds).toBe(0);

    const unread = await watched.openFile(path);
    await unread.body[Symbol.asyncIterator]().return?.();
    expect(session.holds).toBe(0);

    const ending = new AbortController();
    const aborted = await watched.openFile(path, { signal: ending.signal });
    ending.abort();
    expect(session.holds).toBe(0);
    await expect(collect(aborted.body)).rejects.toMatchObject({ code: 'cancelled' });
  });

  it('pipes Node streams in and out, and has the whole when the writing one has finished', async () => {
    const at = folder();
    const chunks = Array.from({ length: 40 }, (_, i) => Buffer.alloc(30_000, i));
    await pipeline(Readable.from(chunks), files().createWriteStream(`${at}/one`));
    await pipeline(files().createReadStream(`${at}/one`), files().createWriteStream(`${at}/two`));
    expect(Buffer.compare(await files().readFile(`${at}/two`), Buffer.concat(chunks))).toBe(0);
    await expect(collect(files().createReadStream(`${at}/none`))).rejects.toMatchObject({
      code: 'not_found',
    });
    await expect(pipeline(Readable.from(chunks), files().createWriteStream('../out'))).rejects.toMatchObject({
      code: 'invalid_argument',
    });
  });

  it('leaves the old file and no other when a source fails or its write is aborted', async () => {
    const at = folder();
    await files().writeFile(`${at}/kept`, 'old');
    const broken = async function* () {
      yield new Uint8Array(100_000);
      throw new Error('the source broke');
    };
    await expect(files().writeFile(`${at}/kept`, broken())).rejects.toSatisfy(isConnectorError);

    const ending = new AbortController();
    let reads = 0;
    const stalled = new Readable({
      read() {
        if (reads++ === 0) this.push(Buffer.alloc(10));
        else ending.abort();
      },
    });
    const write = files().writeFile(`${at}/kept`, stalled, { signal: ending.signal });
    await expect(write).rejects.toMatchObject({ code: 'cancelled' });
    expect(stalled.destroyed).toBe(true);

    const output = files().createWriteStream(`${at}/kept`);
    output.on('error', () => {});
    output.write('half');
    await new Promise((resolve) => output.destroy(new Error('gone')).once('close', resolve));

    expect(text(await files().readFile(`${at}/kept`))).toBe('old');
    expect((await files().listFiles(at)).files.map(({ name }) => name)).toEqual(['kept']);
  });

  it('does nothing for a caller that has gone', async () => {
    const path = `${folder()}/never`;
    const signal = AbortSignal.abort();
    await expect(files().writeFile(path, 'x', { signal })).rejects.toMatchObject({ code: 'cancelled' });
    await expect(files().statFile(path)).rejects.toMatchObject({ code: 'not_found' });
  });

  it('refuses content over the limit, of bytes before any I/O', async () => {
    const at = folder();
    const small = { ...capabilities, limits: { ...capabilities.limits, fileBytes: 10 } };
    await expect(untouchable(small).writeFile('a', '01234567890')).rejects.toMatchObject({
      code: 'payload_too_large',
    });
    const limited = fileConnector({ client: client(), capabilities: small });
    await expect(limited.writeFile(`${at}/a`, chunksOf('01234', '567890'))).rejects.toMatchObject({
      code: 'payload_too_large',
      details: { maxBytes: 10 },
    });
    await limited.writeFile(`${at}/b`, chunksOf('01234', '56789'));
    expect((await files().listFiles(at)).files.map(({ name }) => name)).toEqual(['b']);
  });
}
