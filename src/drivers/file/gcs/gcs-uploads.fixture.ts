import type { IncomingMessage } from 'node:http';
import { randomUUID } from 'node:crypto';
import { HttpAnswer, read } from '../../../clouds/gcp/http-answer.fixture.ts';
import { partial } from './gcs-answer.fixture.ts';
import { type Bucket, isOfZeros, md5, type NewFile, resourceOf } from './gcs-bucket.fixture.ts';
import type { GcsContract } from './gcs-contract.fixture.ts';

const UNIT_BYTES = 256 * 1024;

type Session = {
  readonly description: Omit<NewFile, 'content'>;
  readonly condition: string | null;
  readonly chunks: Buffer[];
  keptBytes: number;
  requests: number;
};

/** Uploads as documented; of the first chunk of each session a part is kept, of the second nothing at first. */
export class Uploads {
  readonly #sessions = new Map<string, Session>();
  cancelled = 0;
  /** Text that the network changes on its way, once. */
  corrupted: string | undefined;

  readonly bucket: Bucket;
  readonly contract: GcsContract;

  constructor(bucket: Bucket, contract: GcsContract) {
    this.bucket = bucket;
    this.contract = contract;
  }

  get open(): number {
    return this.#sessions.size;
  }

  async handle(request: IncomingMessage, url: URL): Promise<HttpAnswer> {
    const { searchParams: query } = url;
    const id = query.get('upload_id');
    if (id !== null) return this.#continue(request, id, query);
    const body = await read(request);
    if (query.get('uploadType') === 'multipart') return this.#multipart(request, body, query);
    if (query.get('uploadType') !== 'resumable')
      throw HttpAnswer.failure(400, 'invalid', `no such uploadType: ${query.get('uploadType')}`);
    return this.#start(request, body, url);
  }

  #multipart(request: IncomingMessage, body: Buffer, query: URLSearchParams): HttpAnswer {
    const boundary = /^multipart\/related; boundary="?([\w-]+)"?$/.exec(
      request.headers['content-type'] ?? '',
    )?.[1];
    if (boundary === undefined) throw HttpAnswer.failure(400, 'badContent', 'no multipart/related');
    const spoilt = this.corrupted === undefined ? -1 : body.lastIndexOf(this.corrupted);
    if (spoilt >= 0) {
      body.write('?', spoilt);
      this.corrupted = undefined;
    }
    const [first, second] = partsOf(body, boundary);
    const description = this.#described(first?.content.toString() ?? '', second?.type);
    if (second === undefined) throw HttpAnswer.failure(400, 'badContent', 'no media');
    const { md5Hash } = JSON.parse(first?.content.toString() ?? '{}') as { md5Hash?: string };
    if (md5Hash !== undefined && md5Hash !== md5(second.content))
      throw HttpAnswer.failure(400, 'invalid', 'Provided MD5 hash does not match calculated MD5 hash.');
    const file = this.bucket.put(
      { ...description, content: this.#content(description.name, [second.content]) },
      query.get('ifGenerationMatch'),
    );
    return HttpAnswer.json(partial(resourceOf(this.bucket.name, file), query.get('fields')));
  }

  #start(request: IncomingMessage, body: Buffer, url: URL): HttpAnswer {
    const type = request.headers['x-upload-content-type'];
    const description = this.#described(body.toString() || '{}', typeof type === 'string' ? type : undefined);
    const condition = url.searchParams.get('ifGenerationMatch');
    this.bucket.assertMatch(description.name, condition);
    const id = randomUUID();
    this.#sessions.set(id, { description, condition, chunks: [], keptBytes: 0, requests: 0 });
    const location = new URL(url);
    location.searchParams.set('upload_id', id);
    return new HttpAnswer(200, '', { location: location.href });
  }

  async #continue(request: IncomingMessage, id: string, query: URLSearchParams): Promise<HttpAnswer> {
    const session = this.#sessions.get(id);
    if (request.method === 'DELETE') {
      request.resume();
      if (!this.#sessions.delete(id)) throw new HttpAnswer(404);
      this.cancelled += 1;
      return new HttpAnswer(499);
    }
    const range = /^bytes (?:(\d+)-(\d+)|\*)\/(\d+|\*)$/.exec(request.headers['content-range'] ?? '');
    if (session === undefined || range === null) {
      request.resume();
      throw session === undefined ? new HttpAnswer(410) : HttpAnswer.failure(400, 'invalid', 'no range');
    }
    const body = await read(request);
    const [, first, last, total] = range;
    if (first !== undefined && body.byteLength !== Number(last) - Number(first) + 1)
      throw HttpAnswer.failure(400, 'invalid', 'the range is not that of the content');
    if (first !== undefined && Number(first) !== session.keptBytes)
      throw HttpAnswer.failure(400, 'invalid', 'the chunk does not begin where the last one ended');
    const isLast = total !== '*';
    if (!isLast && body.byteLength % UNIT_BYTES !== 0)
      throw HttpAnswer.failure(400, 'invalid', 'a chunk is a multiple of 256 KiB');
    const kept = this.#kept(session, body);
    if (isOfZeros(session.description.name)) assertZeros(kept);
    else session.chunks.push(kept);
    session.keptBytes += kept.byteLength;
    if (!isLast || session.keptBytes < Number(total))
      return new HttpAnswer(
        308,
        '',
        session.keptBytes > 0 ? { range: `bytes=0-${session.keptBytes - 1}` } : {},
      );
    const { description, condition, chunks } = session;
    this.#sessions.delete(id);
    const content = isOfZeros(description.name)
      ? { zeros: session.keptBytes }
      : this.#content(description.name, chunks);
    const file = this.bucket.put({ ...description, content }, condition);
    return HttpAnswer.json(partial(resourceOf(this.bucket.name, file), query.get('fields')));
  }

  #kept(session: Session, body: Buffer): Buffer {
    session.requests += 1;
    if (session.requests === 1)
      return body.subarray(0, Math.floor(body.byteLength / 2 / UNIT_BYTES) * UNIT_BYTES);
    return session.requests === 3 ? body.subarray(0, 0) : body;
  }

  #described(text: string, type: string | undefined): Omit<NewFile, 'content'> {
    const resource = JSON.parse(text) as NewFile & { name?: string };
    this.contract.check('Object', resource);
    const { name, contentType = type, metadata } = resource;
    if (!name) throw HttpAnswer.failure(400, 'required', 'Required object name');
    if (/[\r\n]/.test(name))
      throw HttpAnswer.failure(
        400,
        'invalid',
        `Disallowed unicode characters present in object name '${name}'`,
      );
    return {
      name,
      ...(contentType !== undefined && { contentType }),
      ...(metadata !== undefined && { metadata }),
    };
  }

  #content(name: string, chunks: readonly Buffer[]): NewFile['content'] {
    const whole = Buffer.concat(chunks);
    if (!isOfZeros(name)) return whole;
    assertZeros(whole);
    return { zeros: whole.byteLength };
  }
}

function assertZeros(content: Buffer): void {
  if (!content.equals(Buffer.alloc(content.byteLength)))
    throw new Error('a file of zeros holds something else');
}

type Part = { readonly type: string | undefined; readonly content: Buffer };

/** https://www.rfc-editor.org/rfc/rfc2387 */
function partsOf(body: Buffer, boundary: string): readonly Part[] {
  const parts: Part[] = [];
  const opening = Buffer.from(`--${boundary}\r\n`);
  const closing = Buffer.from(`\r\n--${boundary}`);
  for (let at = body.indexOf(opening); at >= 0;) {
    const head = body.indexOf('\r\n\r\n', at);
    const end = body.indexOf(closing, head);
    if (head < 0 || end < 0) throw HttpAnswer.failure(400, 'badContent', 'a part that does not end');
    const type = /content-type: ([^\r\n]+)/i.exec(body.subarray(at, head).toString())?.[1];
    parts.push({ type, content: Buffer.from(body.subarray(head + 4, end)) });
    at = body.subarray(end + 2, end + 2 + opening.byteLength).equals(opening) ? end + 2 : -1;
  }
  return parts;
}
