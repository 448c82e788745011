import { once } from 'node:events';
import { createServer, type IncomingHttpHeaders, type IncomingMessage, type ServerResponse } from 'node:http';
import { createServer as createHttpsServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import type { JsonValue } from '../../../driver.ts';

/** What a function of the double answers. */
export type Reply = {
  readonly status?: number;
  readonly headers?: Readonly<Record<string, string>>;
  /** JSON, unless `headers` say otherwise. */
  readonly body?: unknown;
};
/** `undefined` never answers. */
export type HostFunction = (payload: JsonValue, headers: IncomingHttpHeaders) => Reply | undefined;

/** An orchestration as the double keeps it. */
export type Instance = { readonly runtimeStatus: string; readonly output?: unknown };

export type HostSettings = {
  readonly functions?: Readonly<Record<string, HostFunction>>;
  /** Names of the functions that need no key. */
  readonly anonymous?: readonly string[];
  /** What an orchestrator that is started with such an input is found as. */
  readonly orchestrators?: Readonly<Record<string, (input: JsonValue) => Instance>>;
  readonly certificate?: { readonly cert: string; readonly key: string };
  /** Audience of the tokens that App Service Authentication asks for, where it guards the app. */
  readonly guard?: string;
  readonly routePrefix?: string;
};

export type HostRequest = {
  readonly method: string;
  readonly path: string;
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
};

/** A double of a function app on loopback. */
export type FunctionsHost = {
  readonly url: string;
  readonly host: string;
  readonly port: number;
  readonly hostKey: string;
  readonly systemKey: string;
  readonly requests: HostRequest[];
  /** @throws Error naming what was asked since the last time that the published contract does not know. */
  assertKept(): void;
  readonly instances: Map<string, Instance>;
  /** How many orchestrations were ever started. */
  readonly starts: () => number;
  /** The next request that is not for the home page is answered so. */
  answerNext(reply: Reply): void;
  /** Resolves when a request has been read whole. */
  asked(): Promise<void>;
  /** Resolves when a caller has hung up before the answer. */
  abandoned(): Promise<void>;
  close(): Promise<void>;
};

const WEBHOOK = '/runtime/webhooks/durabletask/';
// https://learn.microsoft.com/azure/durable-task/durable-functions/durable-functions-http-api (read 2026-11-28)
const STATUS_QUERY = new Set([
  ...['taskHub', 'connection', 'showHistory', 'showHistoryOutput', 'showInput'],
  'returnInternalServerErrorOnFailure',
]);
const START_QUERY = new Set(['taskHub', 'connection']);
const TERMINATE_QUERY = new Set(['taskHub', 'connection', 'reason']);
const ENDED = new Set(['Completed', 'Failed', 'Terminated', 'Canceled']);

/**
 * The Functions host and the API that Durable Functions adds to it, as published:
 * https://github.com/MicrosoftDocs/azure-docs/blob/main/articles/azure-functions/functions-bindings-http-webhook-trigger.md
 * https://github.com/MicrosoftDocs/azure-docs/blob/main/articles/azure-functions/function-keys-how-to.md
 * https://learn.microsoft.com/azure/durable-task/durable-functions/durable-functions-http-api
 * https://github.com/Azure/azure-functions-durable-extension/blob/dev/src/WebJobs.Extensions.DurableTask/HttpApiHandler.cs
 * (all read 2026-11-28). Whatever else it is asked is a violation.
 */
export async function functionsHost(settings: HostSettings = {}): Promise<FunctionsHost> {
  const { functions = {}, anonymous = [], orchestrators = {}, certificate, guard } = settings;
  const { routePrefix = 'api' } = settings;
  const hostKey = 'host-key-5f1b';
  const systemKey = 'system-key-77c0';
  const requests: HostRequest[] = [];
  const violations: string[] = [];
  const instances = new Map<string, Instance>();
  const overrides: Reply[] = [];
  let starts = 0;

  const violated = (what: string): Reply => {
    violations.push(what);
    return { status: 500, headers: { 'content-type': 'text/plain' }, body: `violation: ${what}` };
  };

  const called = (name: string, { method, headers, body }: HostRequest): Reply | undefined => {
    const run = functions[name];
    if (run === undefined) return { status: 404 };
    if (method !== 'POST') return violated(`${method} for a function`);
    if (headers['x-functions-key'] === systemKey) return violated('the system key for a function');
    if (!anonymous.includes(name) && headers['x-functions-key'] !== hostKey) return { status: 401 };
    if (headers['content-type'] !== 'application/json') return violated('a payload that is not JSON');
    const id = headers['x-request-id'];
    if (id === undefined || headers['idempotency-key'] !== `"${String(id)}"`)
      return violated('no id of the invocation');
    // A payload is plain JSON.
    return run(JSON.parse(body) as JsonValue, headers);
  };

  const durable = (path: string, query: URLSearchParams, request: HostRequest): Reply => {
    const { method, headers, body } = request;
    if (headers['x-functions-key'] === hostKey) return violated('the host key for the system’s API');
    if (headers['x-functions-key'] !== systemKey) return { status: 401 };
    const segments = path.split('/').map(decodeURIComponent);
    const [kind, first = '', second, ...rest] = segments;
    const isOnly = (known: ReadonlySet<string>) => [...query.keys()].every((key) => known.has(key));
    if (kind === 'orchestrators' && method === 'POST' && second !== undefined && rest.length === 0) {
      if (!isOnly(START_QUERY)) return violated(`an unknown parameter in ${query.toString()}`);
      if (!isInstanceId(second)) return violated(`an instance id that is refused: ${second}`);
      if (headers['content-type'] !== 'application/json') return violated('an input that is not JSON');
      return started(first, second, JSON.parse(body) as JsonValue);
    }
    if (kind === 'instances' && method === 'GET' && second === undefined) {
      if (!isOnly(STATUS_QUERY)) return violated(`an unknown parameter in ${query.toString()}`);
      return statusOf(first);
    }
    if (kind === 'instances' && method === 'POST' && second === 'terminate' && rest.length === 0) {
      if (!isOnly(TERMINATE_QUERY)) return violated(`an unknown parameter in ${query.toString()}`);
      return terminated(first, query.get('reason'));
    }
    return violated(`${method} ${path}`);
  };
  const started = (orchestrator: string, id: string, input: JsonValue): Reply => {
    const run = orchestrators[orchestrator];
    if (run === undefined) return { status: 400, body: { Message: `no orchestrator ${orchestrator}` } };
    const before = instances.get(id);
    if (before !== undefined && !ENDED.has(before.runtimeStatus))
      return { status: 409, body: { Message: 'there is one already' } };
    starts += 1;
    instances.set(id, run(input));
    return accepted(id);
  };
  const statusOf = (id: string): Reply => {
    const found = instances.get(id);
    if (found === undefined) return { status: 404 };
    const isOver = ENDED.has(found.runtimeStatus);
    return {
      status: isOver ? 200 : 202,
      ...(isOver ? {} : { headers: { 'retry-after': '5' } }),
      body: {
        ...{ name: 'orchestrator', instanceId: id, runtimeStatus: found.runtimeStatus, input: null },
        ...{ customStatus: null, output: found.output ?? null },
        ...{ createdTime: '2026-11-28T05:18:49Z', lastUpdatedTime: '2026-11-28T05:18:54Z' },
      },
    };
  };
  const terminated = (id: string, reason: string | null): Reply => {
    const found = instances.get(id);
    if (found === undefined) return { status: 404 };
    if (ENDED.has(found.runtimeStatus)) return { status: 410 };
    instances.set(id, { runtimeStatus: 'Terminated', output: reason });
    return { status: 202 };
  };
  const accepted = (id: string): Reply => ({ status: 202, body: managementPayload(server.url, id) });

  const replyTo = (request: HostRequest): Reply | undefined => {
    const { pathname, searchParams } = new URL(request.path, 'http://double');
    if (searchParams.has('code')) return violated('a key in the address');
    const { authorization } = request.headers;
    if (guard === undefined && authorization !== undefined)
      return violated('a token for an app without a guard');
    if (guard !== undefined && audienceOf(authorization) !== guard) return { status: 401 };
    if (pathname === '/') {
      if (request.headers['x-functions-key'] !== undefined) return violated('a key for the home page');
      return {
        headers: { 'content-type': 'text/html' },
        body: '<title>Your Azure Function App is up</title>',
      };
    }
    const override = overrides.shift();
    if (override !== undefined) return override;
    if (pathname.startsWith(WEBHOOK)) return durable(pathname.slice(WEBHOOK.length), searchParams, request);
    const prefix = routePrefix === '' ? '/' : `/${routePrefix}/`;
    return pathname.startsWith(prefix)
      ? called(decodeURIComponent(pathname.slice(prefix.length)), request)
      : { status: 404 };
  };

  const server = await listening(certificate, requests, replyTo);
  return {
    ...{ ...server, hostKey, systemKey, requests, instances },
    assertKept: () => assertNone(violations),
    starts: () => starts,
    answerNext: (reply) => void overrides.push(reply),
  };
}

/** @throws Error naming what is there, which is forgotten. */
export function assertNone(violations: string[]): void {
  const found = violations.splice(0);
  if (found.length > 0) throw new Error(`the published contract was not kept: ${found.join('; ')}`);
}

/** What `CreateCheckStatusResponse` puts into an answer. */
export function managementPayload(base: string, id: string): Readonly<Record<string, string>> {
  const at = `${base}${WEBHOOK}instances/${encodeURIComponent(id)}`;
  const query = 'taskHub=Hub&connection=Storage&code=system-key-77c0';
  return {
    id,
    statusQueryGetUri: `${at}?${query}`,
    sendEventPostUri: `${at}/raiseEvent/{eventName}?${query}`,
    terminatePostUri: `${at}/terminate?reason={text}&${query}`,
    purgeHistoryDeleteUri: `${at}?${query}`,
  };
}

// https://learn.microsoft.com/azure/azure-functions/durable/durable-functions-orchestrations (read 2026-11-28)
function isInstanceId(id: string): boolean {
  return /^[^@/\\#?][^/\\#?]{0,99}$/.test(id);
}

/** Of a token of the authority's double, which nobody has signed. */
export function audienceOf(authorization = ''): string | undefined {
  const [, claims] = /^Bearer [\w-]+\.([\w-]+)\.[\w-]+$/.exec(authorization) ?? [];
  if (claims === undefined) return undefined;
  const { aud } = JSON.parse(Buffer.from(claims, 'base64url').toString()) as { readonly aud?: string };
  return aud;
}

type Listening = Pick<FunctionsHost, 'url' | 'host' | 'port' | 'asked' | 'abandoned' | 'close'>;

async function listening(
  certificate: HostSettings['certificate'],
  requests: HostRequest[],
  replyTo: (request: HostRequest) => Reply | undefined,
): Promise<Listening> {
  const asked = Promise.withResolvers<void>();
  const abandoned = Promise.withResolvers<void>();
  const answer = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    response.once('close', () => !response.writableFinished && abandoned.resolve());
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer); // no encoding is set
    const { method = '', url = '', headers } = request;
    const heard = { method, path: url, headers, body: Buffer.concat(chunks).toString() };
    requests.push(heard);
    const reply = replyTo(heard);
    if (url !== '/') asked.resolve();
    if (reply === undefined) return;
    const type = { 'content-type': 'application/json; charset=utf-8', ...reply.headers };
    const isText = typeof reply.body === 'string' && !type['content-type'].includes('json');
    const text = reply.body === undefined ? '' : isText ? reply.body : JSON.stringify(reply.body);
    response.writeHead(reply.status ?? 200, type).end(text);
  };
  const listener = (request: IncomingMessage, response: ServerResponse): void => {
    // A caller who hangs up in the middle of his request.
    answer(request, response).catch(() => response.destroy());
  };
  const server =
    certificate === undefined ? createServer(listener) : createHttpsServer(certificate, listener);
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo; // a TCP server's address is never a pipe's name
  return {
    ...{ host: '127.0.0.1', port, asked: () => asked.promise, abandoned: () => abandoned.promise },
    url: `http${certificate === undefined ? '' : 's'}://127.0.0.1:${port}`,
    async close() {
      const closed = once(server, 'close');
      server.close();
      server.closeAllConnections();
      await closed;
    },
  };
}
