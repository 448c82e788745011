import { once } from 'node:events';
import {
  createServer,
  type IncomingHttpHeaders,
  type IncomingMessage,
  type OutgoingHttpHeaders,
  type RequestListener,
  type Server,
  type ServerResponse,
} from 'node:http';
import { createServer as createSecureServer } from 'node:https';
import type { AddressInfo, Socket } from 'node:net';
import { text } from 'node:stream/consumers';
import type { FunctionDouble } from './functions-double.fixture.ts';

/** One request as it came. */
export type Seen = {
  readonly route: string;
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
};

export type LogEntry = {
  readonly name: string;
  readonly namespace: string;
  readonly instance: string;
  readonly timestamp: string;
  readonly text: string;
};

export type GatewayDoubleOptions = {
  /** By name and namespace, `echo.openfaas-fn`; a name alone is of the default namespace. */
  readonly functions: Readonly<Record<string, FunctionDouble>>;
  /** Whether the value of `Authorization` is taken by the API; without it, it is open. */
  readonly admits?: (authorization: string | undefined) => 'yes' | 'no' | 'not this';
  /** Whether functions may be called with such a value; they may be called with none unless told. */
  readonly admitsCall?: (authorization: string | undefined, function_: string) => boolean;
  /** `POST /oauth/token`, of the IAM. */
  readonly exchange?: (form: URLSearchParams) => { readonly status: number; readonly body: unknown };
  readonly logs?: readonly LogEntry[];
  /** Whether calls wait for a first replica, and are refused before for functions that are not there; true unless told. */
  readonly scaleFromZero?: boolean;
  /** Without one there is no route for it. */
  readonly queue?: boolean;
  /** Takes the place of any answer; `undefined` leaves it. */
  readonly instead?: (seen: Seen, response: ServerResponse) => true | undefined;
  readonly certificate?: { readonly cert: string; readonly key: string };
  readonly extra?: Readonly<Record<string, object>>;
};

/** A call in the queue, `QueueRequest` of the faas-provider. */
export type Queued = {
  readonly path: string;
  readonly callbackUrl: string;
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
};

const NAMESPACE = 'openfaas-fn';
const UUID = /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

/**
 * A double of the OpenFaaS gateway, its provider and its queue, in this process. Nothing of it is OpenFaaS: what it does is written after
 * https://github.com/openfaas/faas/blob/master/api-docs/spec.openapi.yml and gateway/main.go with its handlers,
 * https://github.com/openfaas/faas-provider/blob/master/proxy/proxy.go and
 * https://github.com/openfaas/nats-queue-worker/blob/master/main.go (all read 2026-11-28).
 *
 * Requests that these do not have, or that lack what this driver promises, are answered 599 and kept for `assertNoProblems`.
 */
export class GatewayDouble {
  readonly seen: Seen[] = [];
  readonly #problems: string[] = [];
  readonly queue: Queued[] = [];
  readonly #options: GatewayDoubleOptions;
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();

  private constructor(options: GatewayDoubleOptions) {
    this.#options = options;
    const answer: RequestListener = (request, response) => void this.#answer(request, response);
    this.#server = options.certificate
      ? createSecureServer(options.certificate, answer)
      : createServer(answer);
    this.#server.on('connection', (socket: Socket) => {
      this.#sockets.add(socket);
      socket.once('close', () => this.#sockets.delete(socket));
    });
  }

  static async start(options: GatewayDoubleOptions): Promise<GatewayDouble> {
    const double = new GatewayDouble(options);
    double.#server.listen(0, '127.0.0.1');
    await once(double.#server, 'listening');
    return double;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port; // a TCP server's address is never a pipe's name
  }

  get url(): string {
    return `${this.#options.certificate ? 'https' : 'http'}://127.0.0.1:${this.port}`;
  }

  /** Requests below a route. */
  at(route: string): readonly Seen[] {
    return this.seen.filter((one) => one.route.startsWith(route));
  }

  /** @throws Error with every request that was answered 599. */
  assertNoProblems(): void {
    if (this.#problems.length > 0) throw new Error(this.#problems.join('\n'));
  }

  /** Resolves when the next request has come, whole. */
  async asked(): Promise<void> {
    await once(this.#server, 'asked');
  }

  /** Resolves when the next connection is closed on an answer that was not finished. */
  async left(): Promise<void> {
    await once(this.#server, 'left');
  }

  async close(): Promise<void> {
    this.#server.close();
    for (const socket of this.#sockets) socket.destroy();
    await once(this.#server, 'close');
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { method = '', url = '', headers } = request;
    const body = await text(request).catch(() => undefined);
    if (body === undefined) return;
    const { pathname, searchParams } = new URL(url, 'http://double');
    const seen = { route: `${method} ${pathname}${new URL(url, 'http://double').search}`, headers, body };
    this.seen.push(seen);
    response.once('close', () => response.writableFinished || this.#server.emit('left'));
    this.#server.emit('asked');
    try {
      if (this.#options.instead?.(seen, response)) return;
      if (pathname.startsWith('/system/')) return this.#api(seen, method, pathname, searchParams, response);
      if (method === 'GET' && pathname === '/healthz') return void response.writeHead(200).end('OK');
      if (method === 'POST' && pathname === '/oauth/token') return this.#token(seen, response);
      const call = /^\/(async-)?function\/([-a-zA-Z_0-9.]+)$/.exec(pathname);
      if (method !== 'POST' || !call || searchParams.size > 0)
        throw new Error(`no such route: ${seen.route}`);
      const [, queued, path = ''] = call;
      this.#checkCall(seen, path, queued !== undefined);
      if (queued === undefined) return await this.#call(seen, path, response);
      return this.#enqueue(seen, path, response);
    } catch (error) {
      this.#problems.push(String(error));
      response.writeHead(599).end(String(error));
    }
  }

  /** What every call of this driver has, whichever way it goes. The queue-worker's has it, too: it passes all headers on. */
  #checkCall({ headers, body }: Seen, path: string, isQueued: boolean): void {
    const { authorization } = headers;
    const id = headers['x-call-id'];
    if (typeof id !== 'string' || !UUID.test(id)) throw new Error(`X-Call-Id is ${String(id)}`);
    if (headers['x-request-id'] !== id || headers['idempotency-key'] !== `"${id}"`)
      throw new Error('the ids of the invocation differ');
    if (headers['content-type'] !== 'application/json') throw new Error(`it is ${headers['content-type']}`);
    JSON.parse(body);
    const callback = headers['x-callback-url'];
    if (isQueued && (typeof callback !== 'string' || !URL.canParse(callback)))
      throw new Error(`X-Callback-Url is ${String(callback)}`);
    if (authorization !== undefined && this.#options.admitsCall === undefined)
      throw new Error(`${path} was sent credentials, which the function would see`);
  }

  /** `DecorateWithBasicAuth`, https://github.com/openfaas/faas-provider/blob/master/auth/basic_auth.go (read 2026-11-28) */
  #api(seen: Seen, method: string, pathname: string, query: URLSearchParams, response: ServerResponse): void {
    if (method !== 'GET' || seen.body !== '') throw new Error(`no such request: ${seen.route}`);
    const admitted = this.#options.admits?.(seen.headers.authorization) ?? 'yes';
    if (admitted === 'no')
      return void response
        .writeHead(401, { 'www-authenticate': 'Basic realm="Restricted"' })
        .end('invalid credentials\n');
    if (admitted === 'not this') return void response.writeHead(403).end('access denied\n');
    const namespace = query.get('namespace') ?? NAMESPACE;
    const one = /^\/system\/function\/([-a-zA-Z_0-9]+)$/.exec(pathname);
    const allowed = pathname === '/system/logs' ? ['name', 'namespace', 'tail', 'follow'] : ['namespace'];
    for (const name of query.keys()) if (!allowed.includes(name)) throw new Error(`${name} is no parameter`);
    if (pathname === '/system/info') return sent(response, INFO);
    if (pathname === '/system/functions') return sent(response, this.#statuses(namespace));
    if (pathname === '/system/logs') return this.#logs(query, namespace, response);
    if (!one) throw new Error(`no such route: ${seen.route}`);
    const found = this.#statuses(namespace)?.find(({ name }) => name === one[1]);
    if (found) return sent(response, found);
    response.writeHead(404).end(`unable to find function: ${one[1]}\n`);
  }

  /** Go writes a list without entries as null. */
  #statuses(namespace: string): { readonly name: string; readonly availableReplicas: number }[] | null {
    const found = Object.keys(this.#options.functions).flatMap((key) => {
      const [name = '', own = NAMESPACE] = key.split('.');
      if (own !== namespace) return [];
      const image = `registry.example/${name}:1.0.${name.length}`;
      const rest = { labels: null, annotations: null, invocationCount: 1, replicas: 1, availableReplicas: 1 };
      return [
        { name, image, namespace, ...rest, createdAt: '2026-11-28T10:00:00Z', ...this.#options.extra?.[key] },
      ];
    });
    return found.length === 0 ? null : found;
  }

  /** `NewLogHandlerFunc` in gateway/handlers/logs.go, which answers 200 whatever the provider said (read 2026-11-28). */
  #logs(query: URLSearchParams, namespace: string, response: ServerResponse): void {
    const tail = Number(query.get('tail'));
    if (query.get('follow') !== 'false' || !Number.isInteger(tail))
      throw new Error('follow or tail is wrong');
    const own = (this.#options.logs ?? []).filter(
      (entry) => entry.name === query.get('name') && entry.namespace === namespace,
    );
    const instances = Map.groupBy(own, ({ instance }) => instance);
    const lines = [...instances.values()].flatMap((entries) => entries.slice(-tail));
    response.writeHead(200, { 'content-type': 'application/x-ndjson' });
    if (lines.length === 0) return void response.end('function log request failed\n');
    for (const line of lines) response.write(`${JSON.stringify(line)}\n`);
    response.end();
  }

  #token({ headers, body }: Seen, response: ServerResponse): void {
    if (!this.#options.exchange) return void response.writeHead(404).end('404 page not found\n');
    if (headers['content-type']?.startsWith('application/x-www-form-urlencoded') !== true)
      throw new Error('the exchange is no form');
    const { status, body: answer } = this.#options.exchange(new URLSearchParams(body));
    sent(response, answer, status);
  }

  /** `MakeScalingHandler`, then `MakeCallIDMiddleware`, then the provider's `proxyRequest`. */
  async #call(seen: Seen, path: string, response: ServerResponse): Promise<void> {
    const [name = '', namespace = NAMESPACE] = path.split('.');
    const { functions, scaleFromZero = true, admitsCall } = this.#options;
    const run = functions[`${name}.${namespace}`] ?? (namespace === NAMESPACE ? functions[name] : undefined);
    if (!run && scaleFromZero)
      return void response.writeHead(404).end(`error finding function ${name}.${namespace}: not found`);
    // Of an id that the call has already, the gateway says nothing.
    const added: OutgoingHttpHeaders = {
      'x-start-time': '1764324000000000000',
      'x-served-by': 'openfaas-ce/0.27.12',
    };
    if (!run)
      return void response
        .writeHead(503, { ...added, 'x-openfaas-internal': 'proxy', 'content-type': 'text/plain' })
        .end(`No endpoints available for: ${path}.\n`);
    if (admitsCall && !admitsCall(seen.headers.authorization, `${namespace}:${name}`))
      // https://github.com/openfaas/of-watchdog/blob/master/executor/jwt_authenticator.go (read 2026-11-28)
      return void response
        .writeHead(401, { ...added, 'content-type': 'text/plain; charset=utf-8' })
        .end(`invalid JWT token: ${seen.headers.authorization?.replace('Bearer ', '')}\n`);
    const answer = await run({ headers: seen.headers, body: seen.body });
    if (!answer || response.destroyed) return;
    // `getContentType`: the type of the request where the function has none.
    const type = seen.headers['content-type'] ?? 'text/plain';
    response.writeHead(answer.status ?? 200, { ...added, 'content-type': type, ...answer.headers });
    response.end(answer.body ?? '');
  }

  /** `MakeQueuedProxy`; functions are not looked for. */
  #enqueue({ headers, body }: Seen, path: string, response: ServerResponse): void {
    const { queue = true } = this.#options;
    if (!queue) return void response.writeHead(404).end('404 page not found\n');
    this.queue.push({ path, callbackUrl: String(headers['x-callback-url']), headers, body });
    response.writeHead(202, { 'x-start-time': '1764324000000000000' }).end();
  }
}

const INFO = {
  arch: 'x86_64',
  provider: {
    provider: 'faas-netes-ce',
    orchestration: 'kubernetes',
    version: { sha: '0a1b2c', release: '0.18.13' },
  },
  version: { commit_message: 'A message', sha: '3d4e5f', release: '0.27.12' },
};

function sent(response: ServerResponse, value: unknown, status = 200): void {
  response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(value));
}
