import { generateKeyPairSync } from 'node:crypto';
import { once } from 'node:events';
import {
  createServer,
  type IncomingMessage,
  type OutgoingHttpHeaders,
  type RequestListener,
  type ServerResponse,
} from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import type { storage_v1 } from '@googleapis/storage';
import { HttpAnswer, sizeOf } from '../../../clouds/gcp/http-answer.fixture.ts';
import { TokenEndpoints } from '../../../clouds/gcp/token-endpoints.fixture.ts';
import { contentAnswer, partial } from './gcs-answer.fixture.ts';
import { Bucket, resourceOf } from './gcs-bucket.fixture.ts';
import { gcsContract, type GcsContract } from './gcs-contract.fixture.ts';
import { signedRequest } from './gcs-signed.fixture.ts';
import { Uploads } from './gcs-uploads.fixture.ts';

/** What the double does to the next requests of a kind instead of answering them. */
export type Fault = {
  /** Requests whose `METHOD path?query` this matches; all, unless told. */
  readonly match?: RegExp;
  readonly times?: number;
  readonly status?: number;
  readonly body?: unknown;
  readonly headers?: OutgoingHttpHeaders;
  /** `silent` never answers; `stalled` and `truncated` send half a body, and then nothing or the end. */
  readonly how?: 'silent' | 'stalled' | 'truncated';
};

const REWRITE_STEP_BYTES = 2 ** 20;

/** Cloud Storage on loopback, by its documentation; every request and answer is held against the discovery document. */
export async function gcsDouble(options: { readonly anonymous?: boolean } = {}) {
  const double = new GcsDouble(options.anonymous ?? false);
  await double.listen();
  return double;
}

export class GcsDouble {
  readonly bucket = new Bucket('suite-bucket');
  readonly email = 'suite@project-1.iam.gserviceaccount.com';
  /** `METHOD path?query` of what was asked, in order. */
  readonly requests: string[] = [];
  /** What the discovery document does not have. */
  readonly violations: string[] = [];
  readonly tokens: TokenEndpoints;
  readonly uploads: Uploads;
  /** The JSON of the service account's key. */
  readonly key: string;
  /** What the service account may not do, as the ids of methods. */
  readonly forbidden = new Set<string>();
  readonly #anonymous: boolean;
  readonly #contract: GcsContract = gcsContract();
  readonly #publicKey;
  readonly #sockets = new Set<Socket>();
  readonly #server = createServer((request, response) => void this.#serve(request, response));
  #faults: Fault[] = [];
  #tasks: { readonly match: RegExp; readonly task: () => void }[] = [];
  #hits: (() => void)[] = [];

  constructor(anonymous: boolean) {
    this.#anonymous = anonymous;
    const { privateKey, publicKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
    this.#publicKey = publicKey;
    this.key = JSON.stringify({
      type: 'service_account',
      project_id: 'project-1',
      private_key: privateKey.export({ type: 'pkcs8', format: 'pem' }),
      client_email: this.email,
      // Nobody may follow it: the host that it names is not Google's.
      token_uri: 'http://127.0.0.1:9/token',
    });
    this.tokens = new TokenEndpoints(this.email, publicKey);
    this.uploads = new Uploads(this.bucket, this.#contract);
    this.#server.on('connection', (socket: Socket) => {
      this.#sockets.add(socket);
      socket.on('error', () => {});
      socket.once('close', () => {
        this.#sockets.delete(socket);
        if (this.#sockets.size === 0) this.#server.emit('idle');
      });
    });
  }

  async listen(): Promise<void> {
    this.#server.listen(0, '127.0.0.1');
    await once(this.#server, 'listening');
  }

  get endpoint(): string {
    const { port } = this.#server.address() as AddressInfo; // a TCP server's address is never a pipe's name
    return `http://127.0.0.1:${port}`;
  }

  /** The options of a connector that may do everything. */
  get options(): Readonly<Record<string, unknown>> {
    return {
      endpoint: this.endpoint,
      bucket: this.bucket.name,
      service_account_key: this.key,
      token_endpoint: `${this.endpoint}/token`,
    };
  }

  fail(...faults: readonly Fault[]): void {
    this.#faults.push(...faults);
  }

  /** Ends all faults. */
  mend(): void {
    this.#faults = [];
  }

  /** Runs once before the next request that matches is answered. */
  before(match: RegExp, task: () => void): { readonly count: () => number } {
    let count = 0;
    this.#tasks.push({
      match,
      task: () => {
        count += 1;
        task();
      },
    });
    return { count: () => count };
  }

  /** Changes this text in the next upload that holds it. */
  corrupt(text: string): void {
    this.uploads.corrupted = text;
  }

  /** Resolves when a fault has been met. */
  async met(): Promise<void> {
    return new Promise((resolve) => this.#hits.push(resolve));
  }

  /** Resolves when no connection is open. */
  async idle(): Promise<void> {
    if (this.#sockets.size > 0) await once(this.#server, 'idle');
  }

  async close(): Promise<void> {
    const closed = once(this.#server, 'close');
    this.#server.close();
    for (const socket of this.#sockets) socket.destroy();
    await closed;
  }

  readonly #serve: (...request: Parameters<RequestListener>) => Promise<void> = async (request, response) => {
    const url = new URL(request.url ?? '/', this.endpoint);
    const line = `${request.method} ${url.pathname}${url.search}`;
    this.requests.push(line);
    const due = this.#tasks.findIndex(({ match }) => match.test(line));
    if (due >= 0) for (const { task } of this.#tasks.splice(due, 1)) task();
    try {
      const fault = this.#faultFor(line);
      const answer = await this.#answer(request, url, fault);
      if (answer === undefined) return;
      if (fault?.how === undefined) answer.send(response);
      else half(answer, response, fault.how);
    } catch (error) {
      if (error instanceof HttpAnswer) error.send(response);
      else if (request.destroyed && !request.complete) response.destroy();
      else {
        this.violations.push(`${line}: ${String(error)}`);
        HttpAnswer.failure(400, 'invalid', String(error)).send(response);
      }
    }
  };

  #faultFor(line: string): Fault | undefined {
    const at = this.#faults.findIndex(({ match }) => match?.test(line) ?? true);
    const fault = this.#faults[at];
    if (fault === undefined) return undefined;
    const { times = 1 } = fault;
    this.#faults = this.#faults.flatMap((one, i) =>
      i !== at ? [one] : times > 1 ? [{ ...one, times: times - 1 }] : [],
    );
    return fault;
  }

  async #answer(
    request: IncomingMessage,
    url: URL,
    fault: Fault | undefined,
  ): Promise<HttpAnswer | undefined> {
    if (fault !== undefined) for (const hit of this.#hits.splice(0)) hit();
    if (fault?.how === 'silent') {
      request.resume();
      return undefined;
    }
    if (fault?.status !== undefined) {
      request.resume();
      const { status, body = '', headers } = fault;
      const text = typeof body === 'string' ? body : JSON.stringify(body);
      const type = typeof body === 'string' ? 'text/html' : 'application/json';
      return new HttpAnswer(status, text, { 'content-type': type, ...headers });
    }
    if (url.searchParams.has('X-Goog-Signature'))
      return signedRequest(request, url, {
        bucket: this.bucket,
        email: this.email,
        publicKey: this.#publicKey,
      });
    const ofTokens = await this.tokens.handle(request, url);
    return ofTokens ?? this.#api(request, url);
  }

  async #api(request: IncomingMessage, url: URL): Promise<HttpAnswer> {
    const query = url.searchParams;
    const { id, parts } = this.#contract.request(request.method ?? '', url.pathname, query);
    this.#admit(request, id);
    const [bucket = '', name = '', to = '', rewritten = ''] = parts;
    if (bucket !== this.bucket.name) {
      request.resume();
      throw query.get('alt') === 'media'
        ? new HttpAnswer(404, 'The specified bucket does not exist.', { 'content-type': 'text/html' })
        : HttpAnswer.failure(404, 'notFound', 'The specified bucket does not exist.');
    }
    if (id === 'objects.insert') return this.#held('Object', await this.uploads.handle(request, url));
    request.resume();
    const answer = (schema: string, value: unknown) =>
      this.#held(schema, HttpAnswer.json(partial(value, query.get('fields'))));
    switch (id) {
      case 'objects.list':
        return answer('Objects', this.bucket.list(query));
      case 'objects.get': {
        const file = this.bucket.get(name, query.get('generation'));
        if (!file) throw this.#noSuch(name, query);
        if (query.get('alt') !== 'media') return answer('Object', resourceOf(this.bucket.name, file));
        const { contentType, contentEncoding, generation } = file;
        return contentAnswer(
          file.content,
          contentEncoding === undefined ? request.headers.range : undefined,
          {
            'content-type': contentType,
            'x-goog-generation': generation,
            ...(contentEncoding !== undefined && { 'content-encoding': contentEncoding }),
          },
        );
      }
      case 'objects.delete':
        if (!this.bucket.delete(name)) throw this.#noSuch(name, query);
        return new HttpAnswer(204);
      case 'objects.rewrite':
        return answer('RewriteResponse', this.#rewrite(name, rewritten, query));
      case 'objects.move': {
        const file = this.bucket.get(name);
        if (!file) throw this.#noSuch(name, query);
        if (name === to) throw HttpAnswer.failure(400, 'invalid', 'source and destination are the same');
        const moved = this.bucket.put({ ...file, name: to });
        this.bucket.delete(name);
        return answer('Object', resourceOf(this.bucket.name, moved));
      }
      default:
        throw new Error(`${id} is not in the double`);
    }
  }

  #admit(request: IncomingMessage, id: string): void {
    if (
      this.#anonymous
        ? request.headers.authorization !== undefined
        : !this.tokens.isValid(request.headers.authorization)
    ) {
      request.resume();
      throw HttpAnswer.failure(401, 'authError', 'Invalid Credentials');
    }
    if (!this.forbidden.has(id)) return;
    request.resume();
    throw HttpAnswer.failure(403, 'forbidden', `${this.email} does not have storage.${id} access.`);
  }

  #rewrite(from: string, to: string, query: URLSearchParams): storage_v1.Schema$RewriteResponse {
    const file = this.bucket.get(from);
    if (!file) throw this.#noSuch(from, query);
    const size = sizeOf(file.content);
    const step = Number(/^step-(\d+)$/.exec(query.get('rewriteToken') ?? '')?.[1] ?? 0) + 1;
    if (step * REWRITE_STEP_BYTES < size)
      return {
        ...{ kind: 'storage#rewriteResponse', done: false, objectSize: String(size) },
        ...{ totalBytesRewritten: String(step * REWRITE_STEP_BYTES), rewriteToken: `step-${step}` },
      };
    const resource = resourceOf(this.bucket.name, this.bucket.put({ ...file, name: to }));
    return {
      ...{ kind: 'storage#rewriteResponse', done: true, objectSize: String(size) },
      ...{ totalBytesRewritten: String(size), resource },
    };
  }

  #noSuch(name: string, query: URLSearchParams): HttpAnswer {
    const message = `No such object: ${this.bucket.name}/${name}`;
    return query.get('alt') === 'media'
      ? new HttpAnswer(404, message, { 'content-type': 'text/html; charset=UTF-8' })
      : HttpAnswer.failure(404, 'notFound', message);
  }

  /** Answers of the double's own are held against the document, too. */
  #held(schema: string, answer: HttpAnswer): HttpAnswer {
    if (answer.status === 200 && answer.body !== '')
      this.#contract.check(schema, JSON.parse(String(answer.body)));
    return answer;
  }
}

function half(answer: HttpAnswer, response: ServerResponse, how: 'silent' | 'stalled' | 'truncated'): void {
  const body = answer.body instanceof Buffer ? answer.body : Buffer.from(String(answer.body));
  response.writeHead(answer.status, { ...answer.headers, 'content-length': body.byteLength });
  response.write(body.subarray(0, body.byteLength >> 1), () => {
    if (how === 'truncated') response.socket?.end();
  });
}
