import { Readable, type Writable } from 'node:stream';
import { ReadableStream } from 'node:stream/web';
import { describe, expect, it } from 'vitest';
import { ConnectorError } from '../../errors/error.ts';
import { NEVER } from '../../policies/pipeline.ts';
import { standardPolicies } from '../../policies/standard.ts';
import { testClock } from '../../testing/clock.ts';
import { plainSession, recordOf } from '../../testing/file-suite.ts';
import type { ClientSession, SessionCall } from '../session.ts';
import { FileConnector } from './connector.ts';
import type { FileCapabilities, FileClient } from './driver.ts';

const capabilities: FileCapabilities = {
  ranges: true,
  createOnly: true,
  ifMatch: true,
  atomicReplace: true,
  copy: true,
  move: true,
  presignedBy: 'backend',
  presignConditions: ['contentType'],
  contentType: true,
  metadata: true,
  limits: { pathBytes: 1024, fileBytes: 1000 },
};

/** A client of which only what a case gives may be asked. */
function clientOf(parts: Partial<FileClient>): FileClient {
  const refused = () => Promise.reject(new Error('not part of this case'));
  return {
    list: refused,
    stat: refused,
    readBytes: refused,
    readStream: refused,
    write: refused,
    delete: refused,
    check: refused,
    close: refused,
    ...parts,
  };
}

function connectorOver(parts: Partial<FileClient>, basePath = '') {
  const calls: SessionCall[] = [];
  const clock = testClock();
  const options = { key: 'case', timeoutMs: 30_000, maxRetries: 2, retryDelayMs: 0 };
  const policy = standardPolicies(options, { clock });
  const client = clientOf(parts);
  const session: ClientSession<FileClient> = {
    ...plainSession(client),
    run(call, run) {
      calls.push(call);
      const { operation, idempotent, signal = NEVER } = call;
      return policy((attempt) => run(client, attempt))({
        operation,
        idempotent,
        signal,
        attempt: 1,
        progress: () => {},
      });
    },
  };
  return {
    files: new FileConnector({ record: recordOf(basePath), session, capabilities, clock }),
    calls,
    clock,
  };
}

const written = { path: 'a', size: 1 };
async function consume(content: Uint8Array | AsyncIterable<Uint8Array>): Promise<number> {
  if (content instanceof Uint8Array) return content.length;
  let total = 0;
  for await (const chunk of content) total += chunk.length;
  return total;
}

describe('a file connector', () => {
  it('says which calls may be repeated', async () => {
    const { files, calls } = connectorOver({
      list: async () => ({ files: [] }),
      readBytes: async () => new Uint8Array(),
      write: async (_path, content) => ({ path: 'a', size: await consume(content) }),
      delete: async () => true,
      copy: async () => written,
      move: async () => written,
      presign: async (_path, { method }) => ({
        url: 'https://host/a',
        method,
        headers: {},
        expiresAt: new Date(0),
      }),
    });
    await files.listFiles();
    await files.readFile('a');
    await files.writeFile('a', 'text');
    await files.writeFile('a', 'text', { ifNoneMatch: '*' });
    await files.writeFile('a', 'text', { ifMatch: 'etag' });
    await files.writeFile('a', Readable.from([Buffer.from('x')]));
    await files.deleteFile('a');
    await files.copyFile('a', 'b');
    await files.moveFile('a', 'b');
    await files.presign('a');
    expect(calls.map(({ operation, idempotent }) => [operation, idempotent])).toEqual([
      ['file.list', true],
      ['file.read', true],
      ['file.write', true],
      ['file.write', false],
      ['file.write', false],
      ['file.write', false],
      ['file.delete', true],
      ['file.copy', true],
      ['file.move', false],
      ['file.presign', true],
    ]);
  });

  it('lets a slow source take as long as it moves, and ends it when it stalls', async () => {
    let give: (bytes: Uint8Array) => void = () => {};
    const source = new Readable({ read() {} });
    give = (bytes) => source.push(bytes);
    const { files, clock } = connectorOver({
      write: async (path, content) => ({ path, size: await consume(content) }),
    });
    const outcome = expect(files.writeFile('a', source)).rejects.toMatchObject({ code: 'timeout' });
    for (let i = 0; i < 5; i++) {
      await clock.advance(20_000);
      give(Buffer.alloc(1));
      await new Promise((resolve) => setImmediate(resolve));
    }
    expect(source.destroyed).toBe(false);
    await clock.advance(30_000);
    await outcome;
    expect(source.destroyed).toBe(true);
  });

  it('cancels a web stream that is waited for', async () => {
    let reason: unknown = 'not cancelled';
    const ending = new AbortController();
    const source = new ReadableStream<Uint8Array>({ cancel: (why) => void (reason = why) });
    const { files } = connectorOver({
      write: async (path, content) => ({ path, size: await consume(content) }),
    });
    const outcome = expect(files.writeFile('a', source, { signal: ending.signal })).rejects.toMatchObject({
      code: 'cancelled',
    });
    await new Promise((resolve) => setImmediate(resolve));
    ending.abort();
    await outcome;
    expect(reason).toBeUndefined();
  });

  it('repeats bytes, and never a stream of which a part was read', async () => {
    let attempts = 0;
    const { files, clock } = connectorOver({
      write: async (path, content) => {
        const size = await consume(content);
        if (++attempts < 3) throw new ConnectorError('rate_limited', 'too many requests');
        return { path, size };
      },
    });
    const repeated = files.writeFile('a', 'text');
    await clock.advance(60_000);
    expect(await repeated).toEqual({ path: 'a', size: 4 });
    expect(attempts).toBe(3);

    attempts = 0;
    const once = files.writeFile('a', Readable.from([Buffer.from('text')]));
    await expect(once).rejects.toMatchObject({ code: 'unavailable' });
    expect(attempts).toBe(1);
  });

  it('ends a source that it never reads', async () => {
    const { files } = connectorOver({});
    for (const write of [
      (source: Readable) => files.writeFile('../a', source),
      (source: Readable) => files.writeFile('a', source),
    ]) {
      const source = new Readable({ read() {} });
      await expect(write(source)).rejects.toBeInstanceOf(Error);
      expect(source.destroyed).toBe(true);
    }
  });

  it('refuses content that is none', async () => {
    const { files } = connectorOver({
      write: async (path, content) => ({ path, size: await consume(content) }),
    });
    const refused = { code: 'invalid_argument', issues: [{ path: 'content' }] };
    for (const content of [7, null, undefined, {}, [1, 2], Readable.from([{ not: 'bytes' }])]) {
      // @ts-expect-error what a caller without types may hand over
      await expect(files.writeFile('a', content)).rejects.toMatchObject(refused);
    }
  });

  it('frees what a driver opened after its caller was released', async () => {
    let open: (body: AsyncIterable<Uint8Array>) => void = () => {};
    let returned = 0;
    const info = { name: 'a', path: 'a', size: 1, lastModified: new Date(0), isDirectory: false };
    const { files, clock } = connectorOver({
      readStream: () =>
        new Promise((resolve) => {
          open = (body) => resolve({ info, body });
        }),
    });
    const signal = new AbortController();
    const outcome = expect(files.openFile('a', { signal: signal.signal })).rejects.toMatchObject({
      code: 'cancelled',
    });
    await clock.advance(1);
    signal.abort();
    await outcome;
    open({
      [Symbol.asyncIterator]: () => ({
        next: () => new Promise(() => {}),
        return: async () => {
          returned++;
          return { done: true, value: undefined };
        },
      }),
    });
    await clock.advance(1);
    expect(returned).toBe(1);
    expect(clock.pendingTimers).toBe(0);
  });

  it('keeps names that the path rule refuses out of its pages', async () => {
    const info = (path: string) => ({
      name: path,
      path,
      size: 1,
      lastModified: new Date(0),
      isDirectory: false,
    });
    const { files } = connectorOver(
      {
        list: async () => ({
          files: ['base/a', 'base/../b', 'base/c\\d', 'base/%2f'].map(info),
          nextCursor: 'x',
        }),
      },
      'base',
    );
    const page = await files.listFiles();
    expect(page.files.map(({ path }) => path)).toEqual(['a']);
    expect(page.nextCursor).toBe('x');
  });

  it('holds the whole path, base path included, to the limit of the backend', async () => {
    const { files } = connectorOver({ readBytes: async () => new Uint8Array() }, 'b'.repeat(200));
    const path = `${'a/'.repeat(410)}end`;
    expect(await files.readFile(path)).toHaveLength(0);
    await expect(files.readFile(`${path}x`)).rejects.toMatchObject({ issues: [{ path: 'path' }] });
  });

  it('fails a Node stream into a file without a crash when the write fails at once', async () => {
    const { files } = connectorOver({
      write: async () => Promise.reject(new ConnectorError('permission_denied', 'no')),
    });
    const output: Writable = files.createWriteStream('a');
    const failure = new Promise((resolve) => output.once('error', resolve));
    output.write('x');
    expect(await failure).toMatchObject({ code: 'permission_denied' });
    expect(output.destroyed).toBe(true);
  });
});
