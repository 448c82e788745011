import { setImmediate as nextTurn } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { ConnectorError } from '../../../driver.ts';
import { NEVER } from '../../../policies/pipeline.ts';
import { bytes, clientsOfDouble, failureOf } from './clients.fixture.ts';

const { double, start } = await clientsOfDouble();
const MIB = 2 ** 20;
const CHUNK = 8 * MIB;

/** Whatever is sent of it, in pieces of an odd size, from one memory that is filled again and again. */
async function* source(content: Uint8Array, pieceBytes = 300_001): AsyncGenerator<Uint8Array> {
  const memory = new Uint8Array(pieceBytes);
  for (let at = 0; at < content.byteLength; at += pieceBytes) {
    const piece = content.subarray(at, at + pieceBytes);
    memory.set(piece);
    yield memory.subarray(0, piece.byteLength);
  }
}
const varied = (size: number): Buffer => {
  const content = Buffer.alloc(size);
  for (let at = 0; at + 4 <= size; at += 4) content.writeUInt32LE((at * 2_654_435_761) >>> 0, at);
  return content;
};
const requestsOf = async (task: () => Promise<unknown>): Promise<readonly string[]> => {
  const before = double.requests.length;
  await task();
  return double.requests.slice(before).map((line) => line.replace(/\?.*/, ''));
};
const UPLOAD = '/upload/storage/v1/b/suite-bucket/o';

describe('an upload', () => {
  it('is one request up to 8 MiB, from memory and from a stream', async () => {
    const client = await start();
    for (const content of [bytes('small'), varied(CHUNK), source(varied(CHUNK)), source(bytes(''))]) {
      expect(await requestsOf(async () => client.write('one', content, {}, NEVER))).toEqual([
        `POST ${UPLOAD}`,
      ]);
    }
  });

  it('goes on with what the backend kept of each chunk, and comes out as it went in', async () => {
    const client = await start();
    const content = varied(2 * CHUNK + 12_345);
    for (const given of [content, source(content), source(content, CHUNK)]) {
      const options = { contentType: 'image/png', metadata: { a: 'ö' } };
      const requests = await requestsOf(async () => client.write('many', given, options, NEVER));
      // Half of the first chunk is kept, the rest follows; of the third request nothing is kept at first.
      expect(requests).toEqual([`POST ${UPLOAD}`, ...Array.from({ length: 5 }, () => `PUT ${UPLOAD}`)]);
      const read = await client.readBytes('many', undefined, NEVER);
      expect(Buffer.compare(read, content)).toBe(0);
      expect(await client.stat('many', NEVER)).toMatchObject({
        ...{ size: content.length, contentType: 'image/png', metadata: { a: 'ö' } },
      });
    }
    for (const size of [CHUNK + 1, 2 * CHUNK]) {
      await client.write('exact', source(content.subarray(0, size)), {}, NEVER);
      expect((await client.stat('exact', NEVER)).size).toBe(size);
    }
    expect(double.uploads.open).toBe(0);
  });

  it('of many chunks keeps its condition to the end: the file may change while it is sent', async () => {
    const client = await start();
    const content = varied(CHUNK + 1);
    const meanwhile = async function* (path: string) {
      yield content.subarray(0, CHUNK);
      yield content.subarray(CHUNK);
      await client.write(path, bytes('first'), {}, NEVER);
    };
    const created = client.write('created', meanwhile('created'), { ifNoneMatch: '*' }, NEVER);
    await expect(created).rejects.toMatchObject({ code: 'already_exists' });
    const { etag } = await client.write('changed', bytes('old'), {}, NEVER);
    const changed = client.write('changed', meanwhile('changed'), { ifMatch: etag }, NEVER);
    await expect(changed).rejects.toMatchObject({ code: 'conflict' });
    for (const path of ['created', 'changed'])
      expect(await client.readBytes(path, undefined, NEVER)).toEqual(bytes('first'));
    await client.close();
    expect(double.uploads.open).toBe(0);
  });

  it('under an etag that no generation is asks nobody, so that 0 does not mean "no file"', async () => {
    const client = await start();
    for (const ifMatch of ['0', '00', '-1', '1e3', 'CJ', '', ' 1', '1'.repeat(20)]) {
      const requests = await requestsOf(async () =>
        expect(await failureOf(client.write('none', bytes('x'), { ifMatch }, NEVER))).toMatchObject({
          code: 'conflict',
        }),
      );
      expect(requests).toEqual([]);
    }
  });

  it('is refused where the content is not what was sent', async () => {
    const client = await start();
    const text = 'content that changes on its way';
    double.corrupt(text);
    const writing = client.write('changed-on-the-way', bytes(text), {}, NEVER);
    await expect(writing).rejects.toMatchObject({
      code: 'backend_error',
      message: expect.stringContaining('MD5'),
    });
  });

  it('that is given up or fails is cancelled, and leaves neither a file nor a session', async () => {
    const client = await start();
    const reason = new ConnectorError('timeout', 'took too long');
    const content = varied(2 * CHUNK);
    const endings: readonly (readonly [string, (giving: AbortController) => Promise<unknown>])[] = [
      [
        'its source fails',
        async ({ signal }) => {
          const failing = async function* () {
            yield* source(content);
            yield bytes('more');
            throw reason;
          };
          return client.write('given-up', failing(), {}, signal);
        },
      ],
      [
        'a chunk is refused',
        async ({ signal }) => {
          double.fail({ match: /^PUT/, status: 503, headers: { 'retry-after': '7' } });
          return client.write('given-up', source(content), {}, signal);
        },
      ],
      [
        'a chunk is not answered',
        async (giving) => {
          double.fail({ match: /^PUT/, how: 'silent' });
          const met = double.met();
          const writing = client.write('given-up', content, {}, giving.signal);
          const failed = failureOf(writing);
          await met;
          giving.abort(reason);
          return failed.then(async (error) => Promise.reject(error));
        },
      ],
    ];
    for (const [how, end] of endings) {
      const cancelled = double.uploads.cancelled;
      const error = await failureOf(end(new AbortController()));
      if (how === 'a chunk is refused')
        expect(error).toMatchObject({ code: 'unavailable', retryAfterMs: 7000 });
      else expect(error, how).toBe(reason);
      // Nobody waits for the cancelling; closing does.
      while (double.uploads.open > 0) await nextTurn();
      expect(double.uploads.cancelled, how).toBe(cancelled + 1);
    }
    await expect(client.stat('given-up', NEVER)).rejects.toMatchObject({ code: 'not_found' });
  });

  it('is cancelled before the client closes, and for five seconds at most', async () => {
    const client = await start();
    const cancelled = double.uploads.cancelled;
    double.fail({ match: /^PUT/, status: 403 });
    const writing = client.write('given-up', source(varied(CHUNK + 1)), {}, NEVER);
    await expect(writing).rejects.toMatchObject({ code: 'permission_denied' });
    await client.close();
    expect(double.uploads.cancelled).toBe(cancelled + 1);
  });

  it('ends where the backend takes no more, or answers what makes no sense', async () => {
    const client = await start();
    const content = varied(CHUNK + 1);
    const cases = [
      [{ status: 308, times: 5 }, 'unavailable'],
      [{ status: 308, headers: { range: 'bytes=0-99999999' } }, 'backend_error', 'goes back'],
      [{ status: 308, headers: { range: 'bytes=5-9' } }, 'backend_error', 'goes back'],
      [{ status: 307, headers: { location: double.endpoint } }, 'backend_error'],
      [{ status: 200, body: '{}' }, 'backend_error'],
      [{ status: 410 }, 'unavailable'],
    ] as const;
    for (const [fault, code, said = ''] of cases) {
      double.fail({ match: /^PUT/, ...fault });
      const error = await failureOf(client.write('odd', content, {}, NEVER));
      expect(error, JSON.stringify(fault)).toMatchObject({ code, message: expect.stringContaining(said) });
      double.mend();
    }
    for (const location of ['', 'no address', 'http://elsewhere.example/upload', '/relative?upload_id=1']) {
      double.fail({ match: /^POST .*uploadType=resumable/, status: 200, headers: { location } });
      const writing = client.write('odd', content, {}, NEVER);
      await expect(writing).rejects.toMatchObject({ code: 'backend_error' });
    }
    // Another host in the address is not followed: only what names the session is taken of it.
    const host = 'https://elsewhere.example';
    double.fail({
      match: /^POST .*uploadType=resumable/,
      status: 200,
      headers: { location: `${host}${UPLOAD}?uploadType=resumable&upload_id=unknown` },
    });
    await expect(client.write('odd', content, {}, NEVER)).rejects.toMatchObject({ code: 'unavailable' });
    expect(double.requests).toContainEqual(expect.stringMatching(/^PUT .*upload_id=unknown/));
  });
});

describe('64 MiB', () => {
  it('stream in and out in constant memory', async () => {
    const client = await start();
    const total = 64 * MIB;
    const piece = new Uint8Array(MIB);
    const zeros = async function* (mib: number) {
      for (let i = 0; i < mib; i++) yield piece;
    };
    await client.write('warm.zeros', zeros(20), {}, NEVER);
    const before = process.memoryUsage.rss();
    let peak = before;
    const watch = setInterval(() => (peak = Math.max(peak, process.memoryUsage.rss())), 10);
    try {
      const written = await client.write('big.zeros', zeros(64), {}, NEVER);
      expect(written.size).toBe(total);
      let read = 0;
      for await (const chunk of (await client.readStream('big.zeros', undefined, NEVER)).body)
        read += chunk.byteLength;
      expect(read).toBe(total);
    } finally {
      clearInterval(watch);
    }
    expect((peak - before) / MIB).toBeLessThan(150);
  });
});
