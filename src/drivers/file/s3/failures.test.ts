import { once } from 'node:events';
import { inspect } from 'node:util';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { FileClient } from '../../../driver.ts';
import { egressPolicy } from '../../../egress/addresses.ts';
import { network } from '../../../egress/network.ts';
import { testClock } from '../../../testing/clock.ts';
import { blackHole, closedPort, nonsense, statusServer } from '../../../testing/faulty-servers.fixture.ts';
import { clientTo, list, refusal, SECRET, wireServer, type Answer, type WireServer } from './wire.fixture.ts';

const NEVER = new AbortController().signal;
const FACTS = { etag: '"e"', 'last-modified': 'Fri, 27 Nov 2026 10:00:00 GMT' };
const PART = 5 * 2 ** 20;

let closing: (() => Promise<unknown>)[] = [];
const warnings: unknown[][] = [];
beforeEach(() => {
  for (const level of ['warn', 'error', 'log', 'info', 'debug'] as const)
    vi.spyOn(console, level).mockImplementation((...said) => void warnings.push(said));
  vi.spyOn(process, 'emitWarning').mockImplementation((said) => void warnings.push([said]));
});
afterEach(async () => {
  for (const close of closing.toReversed()) await close();
  closing = [];
  vi.restoreAllMocks();
  if (warnings.length > 0) throw new Error(`somebody was warned: ${inspect(warnings.splice(0))}`);
});

async function serverOf(answer: Answer): Promise<WireServer> {
  const server = await wireServer(answer);
  closing.push(() => server.close());
  return server;
}

/** A client of a server that answers so once the bucket is open. */
async function opened(
  answer: Answer,
  options: Readonly<Record<string, unknown>> = {},
): Promise<{ readonly server: WireServer; readonly client: FileClient }> {
  const server = await serverOf(answer);
  const client = await clientTo(server.url, options);
  closing.push(() => client.close());
  return { server, client };
}

/** What each operation fails with, none of them telling the secret. */
async function failuresOf(client: FileClient): Promise<Readonly<Record<string, unknown>>> {
  const uses = {
    list: () => client.list('', { recursive: true, limit: 10 }, NEVER),
    stat: () => client.stat('a', NEVER),
    read: () => client.readBytes('a', undefined, NEVER),
    open: () => client.readStream('a', undefined, NEVER),
    write: () => client.write('a', Buffer.from('x'), {}, NEVER),
    delete: () => client.delete('a', NEVER),
    copy: async () => client.copy?.('a', 'b', NEVER),
    check: () => client.check(NEVER),
  };
  const failures: Record<string, unknown> = {};
  for (const [name, use] of Object.entries(uses))
    failures[name] = await use().then(
      () => 'no failure',
      (error: unknown) => error,
    );
  expect(inspect(failures, { depth: 10, showHidden: true })).not.toMatch(
    new RegExp(`${SECRET}|Signature=|AWS4-HMAC`),
  );
  return failures;
}

function codesOf(failures: Readonly<Record<string, unknown>>): Readonly<Record<string, unknown>> {
  return Object.fromEntries(
    Object.entries(failures).map(([name, failure]) => [name, (failure as { code?: unknown }).code]),
  );
}

/** Every operation with one code. */
function all(code: string) {
  const names = ['list', 'stat', 'read', 'open', 'write', 'delete', 'copy', 'check'];
  return Object.fromEntries(names.map((name) => [name, code]));
}

/** An answer with a body, which HEAD has none of. */
function says(status: number, body = '', headers: Readonly<Record<string, string>> = {}): Answer {
  return ({ method }, response) =>
    void response.writeHead(status, headers).end(method === 'HEAD' ? undefined : body);
}

describe('an answer of S3', () => {
  it.each([
    ['503 with a time', says(503, '', { 'retry-after': '7' }), 'unavailable', 7000],
    ['503 without one', says(503, 'busy'), 'unavailable', undefined],
    ['500', says(500, refusal('InternalError')), 'unavailable', undefined],
    ['401', says(401, JSON.stringify({ error: `no such key ${SECRET}` })), 'auth_failed', undefined],
    ['429', says(429, '', { 'retry-after': '2' }), 'rate_limited', 2000],
  ])('%s is the same to every operation', async (_what, answer, code, retryAfterMs) => {
    const { client, server } = await opened(answer);
    const failures = await failuresOf(client);
    expect(codesOf(failures)).toEqual(all(code));
    for (const failure of Object.values(failures)) expect(failure).toMatchObject({ retryAfterMs });
    // Nothing was tried again: one probe, and a request for each.
    expect(server.asked).toHaveLength(9);
  });

  it.each([
    ['SlowDown', 503, 'rate_limited'],
    ['InvalidAccessKeyId', 403, 'auth_failed'],
    ['ExpiredToken', 400, 'auth_failed'],
    ['AccessDenied', 403, 'permission_denied'],
    ['RequestTimeTooSkewed', 403, 'unavailable'],
    ['EntityTooLarge', 400, 'payload_too_large'],
    ['NotImplemented', 501, 'unsupported'],
    ['MalformedXML', 400, 'backend_error'],
  ])('%s means what its code says', async (code, status, kind) => {
    const { client } = await opened(says(status, refusal(code, `see ${SECRET}`)));
    const failure: unknown = await client.readBytes('a', undefined, NEVER).catch((error: unknown) => error);
    expect(failure).toMatchObject({
      code: kind,
      message: expect.stringContaining('see ***'),
      details: { backend_status: status, backend_code: code },
    });
    expect(inspect(failure, { depth: 10, showHidden: true })).not.toContain(SECRET);
  });

  it('that repeats what was signed is not repeated', async () => {
    const signed = `<StringToSign>AWS4-HMAC-SHA256 ${SECRET}</StringToSign><SignatureProvided>Signature=x</SignatureProvided>`;
    const { client } = await opened(says(403, refusal('SignatureDoesNotMatch', 'differs', signed)));
    expect(codesOf(await failuresOf(client))).toMatchObject({ list: 'auth_failed', stat: 'auth_failed' });
  });

  it('that has no body, to HEAD, is asked for again with GET, to tell keys from rights', async () => {
    for (const [code, kind] of [
      ['InvalidAccessKeyId', 'auth_failed'],
      ['AccessDenied', 'permission_denied'],
    ] as const) {
      const { client } = await opened(says(403, refusal(code)));
      await expect(client.stat('a', NEVER)).rejects.toMatchObject({ code: kind });
    }
  });

  it('that names another region says which option is wrong', async () => {
    const { client } = await opened(
      says(301, refusal('PermanentRedirect'), {
        'x-amz-bucket-region': 'eu-west-1',
        location: 'http://evil',
      }),
    );
    const wrong = { code: 'invalid_argument', issues: [{ path: 'options.region' }] };
    await expect(client.stat('a', NEVER)).rejects.toMatchObject(wrong);
    await expect(client.list('', { recursive: true, limit: 1 }, NEVER)).rejects.toMatchObject(wrong);
  });

  it('that is none is backend_error', async () => {
    for (const body of ['<!doctype html><h1>It works!</h1>', '{"result": [', '']) {
      const { client } = await opened(says(200, body));
      expect(codesOf(await failuresOf(client))).toEqual(all('backend_error'));
    }
  });

  it('to a range that is the whole is backend_error', async () => {
    const { client } = await opened(says(200, '0123456789', { ...FACTS, 'content-length': '10' }));
    await expect(client.readBytes('a', { start: 2, end: 3 }, NEVER)).rejects.toMatchObject({
      code: 'backend_error',
    });
  });

  it('409 to a first write asks whether there is a file', async () => {
    let isThere = true;
    const { client } = await opened(({ method }, response) => {
      if (method === 'PUT') response.writeHead(409).end(refusal('ConditionalRequestConflict'));
      else response.writeHead(isThere ? 200 : 404, { ...FACTS, 'content-length': 1 }).end();
    });
    const write = () => client.write('a', Buffer.from('x'), { ifNoneMatch: '*' }, NEVER);
    await expect(write()).rejects.toMatchObject({ code: 'already_exists' });
    isThere = false;
    await expect(write()).rejects.toMatchObject({ code: 'unavailable' });
  });

  it('404 to a write over an etag is a conflict, and a bucket that has gone is not_found', async () => {
    for (const [said, code] of [
      ['NoSuchKey', 'conflict'],
      ['NoSuchBucket', 'not_found'],
    ] as const) {
      const { client } = await opened(says(404, refusal(said)));
      const write = client.write('a', Buffer.from('x'), { ifMatch: 'e' }, NEVER);
      await expect(write).rejects.toMatchObject({ code });
    }
    const { client } = await opened(says(404, refusal('NoSuchBucket')));
    await expect(client.readBytes('a', undefined, NEVER)).rejects.toMatchObject({
      message: 'there is no bucket files',
    });
  });
});

describe('a connection', () => {
  it('that ends within a body fails the body, and one that only says less does as well', async () => {
    const { client } = await opened((_asked, response) => {
      response.writeHead(200, { ...FACTS, 'content-length': 100 });
      response.write('short', () => response.destroy());
    });
    await expect(client.readBytes('a', undefined, NEVER)).rejects.toMatchObject({ code: 'unavailable' });
    const { body } = await client.readStream('a', undefined, NEVER);
    const chunks = async () => {
      for await (const chunk of body) expect(chunk).toHaveLength(5);
    };
    await expect(chunks()).rejects.toMatchObject({ code: 'unavailable' });
  });

  it('is refused, silent or to a machine of the house: each says so when it is opened', async () => {
    const closed = await closedPort();
    await expect(clientTo(closed.url)).rejects.toMatchObject({ code: 'unavailable' });
    const silent = await blackHole();
    closing.push(() => silent.close());
    const ending = new AbortController();
    const opening = clientTo(silent.url, {}, { signal: ending.signal });
    await silent.connected();
    ending.abort();
    await expect(opening).rejects.toMatchObject({ code: 'cancelled' });
    await silent.idle();
    const guarded = network(egressPolicy({ allowPrivate: false }));
    await expect(clientTo(silent.url, {}, { network: guarded })).rejects.toMatchObject({
      code: 'egress_denied',
    });
  });

  it('to what is no S3 at all fails the stage of credentials', async () => {
    for (const [server, code] of [
      [await nonsense(), 'backend_error'],
      [await statusServer(401, { error: `no such key ${SECRET}` }), 'auth_failed'],
      [await statusServer(503), 'unavailable'],
    ] as const) {
      closing.push(() => server.close());
      const stages: string[] = [];
      const stage = <T>(name: string, step: () => Promise<T>) => {
        stages.push(name);
        return step();
      };
      const failure: unknown = await clientTo(server.url, {}, { stage }).catch((error: unknown) => error);
      expect(failure).toMatchObject({ code });
      expect(inspect(failure, { depth: 10, showHidden: true })).not.toContain(SECRET);
      expect(stages).toEqual(['address', 'connect', 'credentials']);
      await server.idle();
    }
  });

  it('goes with a body that is ended or aborted before it was read to its end', async () => {
    const gone: Promise<unknown>[] = [];
    const { client } = await opened((_asked, response) => {
      gone.push(once(response, 'close'));
      response.writeHead(200, { ...FACTS, 'content-length': 1000 }).write('some');
    });
    const ending = new AbortController();
    const unread = await client.readStream('a', undefined, NEVER);
    await unread.body[Symbol.asyncIterator]().return?.();
    const begun = await client.readStream('a', undefined, NEVER);
    for await (const chunk of begun.body) if (chunk.length > 0) break;
    await client.readStream('a', undefined, ending.signal);
    ending.abort();
    await Promise.all(gone);
    expect(gone).toHaveLength(3);
  });

  it('is not left open by a client that is closed', async () => {
    const { client, server } = await opened(({ url }, response) => {
      if (url.includes('list-type')) response.end(list(''));
      else response.writeHead(200, { ...FACTS, 'content-length': 1000 }).write('some');
    });
    const { body } = await client.readStream('unread', undefined, NEVER);
    await client.readStream('unread-too', undefined, NEVER);
    await Promise.all(
      Array.from({ length: 20 }, () => client.list('', { recursive: true, limit: 9 }, NEVER)),
    );
    await body[Symbol.asyncIterator]().return?.();
    await client.close();
    await server.idle();
    expect(server.asked).toHaveLength(23);
  });
});

describe('an aborted call', () => {
  const stalls: Readonly<Record<string, (client: FileClient, signal: AbortSignal) => Promise<unknown>>> = {
    'a listing': (client, signal) => client.list('', { recursive: true, limit: 10 }, signal),
    'a read': (client, signal) => client.readBytes('a', undefined, signal),
    'a write': (client, signal) => client.write('a', Buffer.alloc(1000), {}, signal),
    'a copy': async (client, signal) => client.copy?.('a', 'b', signal),
  };
  it.each(Object.entries(stalls))('%s ends at once where the server is silent', async (_what, use) => {
    const { client, server } = await opened(() => {});
    const ending = new AbortController();
    const outcome = use(client, ending.signal).catch((error: unknown) => error);
    await server.request(() => server.asked.length === 2);
    ending.abort();
    expect(await outcome).toMatchObject({ code: 'cancelled' });
    await server.idle();
  });

  it('ends a body that is stalled', async () => {
    const { client, server } = await opened((_asked, response) => {
      response.writeHead(200, { ...FACTS, 'content-length': 100 }).write('some');
    });
    const ending = new AbortController();
    const { body } = await client.readStream('a', undefined, ending.signal);
    const iterator = body[Symbol.asyncIterator]();
    await iterator.next();
    const stalled = iterator.next().catch((error: unknown) => error);
    ending.abort();
    expect(await stalled).toMatchObject({ code: 'cancelled' });
    await server.idle();
  });

  it('ends a write whose source is stalled, before and within the parts', async () => {
    const { client, server } = await opened((asked, response) => multipart(asked, response), {
      part_mebibytes: 5,
    });
    for (const sizeBytes of [10, 3 * PART]) {
      const ending = new AbortController();
      const stalled = async function* () {
        yield new Uint8Array(sizeBytes);
        queueMicrotask(() => ending.abort());
        await new Promise(() => {});
      };
      const write = client.write('a', stalled(), {}, ending.signal);
      await expect(write).rejects.toMatchObject({ code: 'cancelled' });
    }
    await client.close();
    expect(server.asked.map(({ method, url }) => `${method} ${url.replace(/\?.*x-id=/, '?')}`)).toContain(
      'DELETE /files/a?AbortMultipartUpload',
    );
  });
});

/** Takes parts; `faults` answers what is to go wrong and says whether it did. */
function multipart(
  asked: Parameters<Answer>[0],
  response: Parameters<Answer>[1],
  faults: (what: string) => boolean = () => false,
): void {
  const { method, url } = asked;
  const what = url.includes('uploads') ? 'create' : url.includes('partNumber') ? 'part' : method;
  if (faults(`${what} ${/partNumber=(\d+)/.exec(url)?.[1] ?? ''}`.trim())) return;
  if (what === 'create')
    response.end('<InitiateMultipartUploadResult><UploadId>u</UploadId></InitiateMultipartUploadResult>');
  else if (what === 'part') response.writeHead(200, { etag: '"p"' }).end();
  else if (what === 'POST')
    response.end('<CompleteMultipartUploadResult><ETag>"whole-1"</ETag></CompleteMultipartUploadResult>');
  else if (what === 'DELETE') response.writeHead(204).end();
  else response.writeHead(404).end(refusal('NoSuchUpload'));
}

async function* source(parts: number): AsyncGenerator<Uint8Array> {
  for (let i = 0; i < parts; i++) yield new Uint8Array(PART);
}

describe('an upload in parts', () => {
  const kinds = (server: WireServer) => {
    const names = server.asked.slice(1).map(({ method, url }) => {
      if (url.includes('uploads')) return 'create';
      if (url.includes('partNumber')) return 'part';
      return { POST: 'complete', DELETE: 'abort', GET: 'list parts' }[method] ?? method;
    });
    return names;
  };

  it('that loses a part fails with what became of it, and is aborted when all others have ended', async () => {
    const { client, server } = await opened(
      (asked, response) =>
        multipart(asked, response, (what) => {
          if (what !== 'part 2') return false;
          response.writeHead(503, { 'retry-after': '3' }).end();
          return true;
        }),
      { part_mebibytes: 5 },
    );
    await expect(client.write('a', source(9), {}, NEVER)).rejects.toMatchObject({
      code: 'unavailable',
      retryAfterMs: 3000,
    });
    await client.close();
    expect(kinds(server)).not.toContain('complete');
    // The server may come to see a part that was given up only after the abort; that is what the list is asked for.
    expect(kinds(server).filter((kind) => kind !== 'part')).toEqual(['create', 'abort', 'list parts']);
  });

  it('is aborted again while the store still has parts of it', async () => {
    let lists = 0;
    const { client, server } = await opened(
      (asked, response) =>
        multipart(asked, response, (what) => {
          if (what === 'POST') response.writeHead(500).end(refusal('InternalError'));
          else if (what === 'GET' && ++lists === 1)
            response.end('<ListPartsResult><Part><PartNumber>1</PartNumber></Part></ListPartsResult>');
          else return false;
          return true;
        }),
      { part_mebibytes: 5 },
    );
    await expect(client.write('a', source(2), {}, NEVER)).rejects.toMatchObject({ code: 'unavailable' });
    await client.close();
    expect(kinds(server).slice(-4)).toEqual(['abort', 'list parts', 'abort', 'list parts']);
  });

  it('whose id comes after its caller has gone is aborted all the same', async () => {
    let answerLate = () => {};
    const { client, server } = await opened(
      (asked, response) =>
        multipart(asked, response, (what) => {
          if (what !== 'create' || answerLate.length > 0) return false;
          answerLate = () => multipart(asked, response);
          return true;
        }),
      { part_mebibytes: 5 },
    );
    const ending = new AbortController();
    const write = client.write('a', source(3), {}, ending.signal).catch((error: unknown) => error);
    await server.request(({ url }) => url.includes('uploads'));
    ending.abort();
    expect(await write).toMatchObject({ code: 'cancelled' });
    answerLate();
    await client.close();
    expect(kinds(server)).toEqual(['create', 'abort', 'list parts']);
  });

  it('is given up after five seconds where the server stays silent, so that a client can be closed', async () => {
    const clock = testClock();
    const server = await serverOf(() => {});
    const client = await clientTo(server.url, { part_mebibytes: 5 }, { clock });
    const ending = new AbortController();
    const write = client.write('a', source(3), {}, ending.signal).catch((error: unknown) => error);
    await server.request(({ url }) => url.includes('uploads'));
    ending.abort();
    expect(await write).toMatchObject({ code: 'cancelled' });
    const closed = client.close();
    await clock.advance(5000);
    await closed;
    await server.idle();
  });

  it('has no more parts at once than four, and reads no further meanwhile', async () => {
    const held: (() => void)[] = [];
    let pulled = 0;
    let pulledAtFour = 0;
    let arrived = 0;
    const { client } = await opened(
      (asked, response) =>
        multipart(asked, response, (what) => {
          if (!what.startsWith('part')) return false;
          held.push(() => void response.writeHead(200, { etag: '"p"' }).end());
          if (++arrived === 4) pulledAtFour = pulled;
          if (arrived >= 4) for (const release of held.splice(0)) release();
          return true;
        }),
      { part_mebibytes: 5 },
    );
    const counted = async function* () {
      for await (const chunk of source(12)) {
        pulled += 1;
        yield chunk;
      }
    };
    const written = await client.write('a', counted(), {}, NEVER);
    expect(written).toEqual({ path: 'a', size: 12 * PART, etag: 'whole-1' });
    // The fifth is what says that there is more to come after the fourth.
    expect(pulledAtFour).toBe(5);
  });
});

describe('an answer that has no end', () => {
  it.each([200, 500])('is given up, with status %d, before there is no memory left', async (status) => {
    const chunk = Buffer.alloc(2 ** 20, ' ');
    const { client } = await opened((_asked, response) => {
      response.writeHead(status, { 'content-type': 'application/xml' });
      const more = (): void => {
        while (!response.destroyed && response.write(chunk)) continue;
      };
      response.on('drain', more);
      more();
    });
    await expect(client.list('', { recursive: true, limit: 10 }, NEVER)).rejects.toMatchObject({
      code: 'backend_error',
      details: { maxBytes: 32 * 2 ** 20 },
    });
  });
});
