import { Socket } from 'node:net';
import { fastify, type FastifyInstance, type FastifyReply, type FastifyRequest } from 'fastify';
import type { Logger } from 'pino';
import { ConnectorError, isConnectorError } from '../errors/error.ts';
import { operations } from '../operations/index.ts';
import type { ConnectorRegistry } from '../registry/registry.ts';
import { Authentication, type Authenticated } from './auth.ts';
import { mountCallbacks } from './callbacks.ts';
import { mountDocs } from './docs.ts';
import { frameworkError } from './framework-errors.ts';
import { hostCheck, SECURITY_HEADERS } from './guard.ts';
import { LookUps } from './look-ups.ts';
import { METRICS_TYPE, metricsText } from './metrics.ts';
import { type Problem, problemHeaders, problemOf, rangeStatus } from './problem.ts';
import { API_PREFIX, MethodNotAllowed, mountOperations } from './routes.ts';
import { mountSignedAddresses } from './signed.ts';

declare module 'fastify' {
  interface FastifyRequest {
    /** Who calls; null on routes that need no key. */
    caller: Authenticated | null;
  }
}

/** The longest wait for a request's headers. Node's own is 60 seconds. */
const HEADERS_TIMEOUT_MS = 10_000;
/** How long a connection may lie idle between requests. */
const KEEP_ALIVE_TIMEOUT_MS = 5_000;
/** The longest silence while a body is being received; as a whole it may take as long as it wants. */
const BODY_IDLE_MS = 30_000;

/** For how long the store's last answer says that it answers. */
const PING_MS = 250;

/** What the HTTP application serves, and how. */
export type HttpOptions = {
  readonly registry: ConnectorRegistry;
  readonly logger: Logger;
  /** The address that the server is going to listen on; decides which `Host` headers are answered. */
  readonly host: string;
  readonly tls?: { readonly cert: string | Buffer; readonly key: string | Buffer } | undefined;
  /** True once the server is stopping: what arrives then is refused. */
  readonly isClosing?: () => boolean;
};

/** The operations as an HTTP application that is ready to listen, or to be asked with `inject`. */
export async function httpApp({
  registry,
  logger,
  host,
  tls,
  isClosing = () => false,
}: HttpOptions): Promise<FastifyInstance> {
  const run = `${process.pid.toString(36)}-${Date.now().toString(36)}`;
  let count = 0;
  const shared = {
    genReqId: () => `${run}-${(count++).toString(36)}`,
    return503OnClosing: false,
    forceCloseConnections: 'idle' as const,
    keepAliveTimeout: KEEP_ALIVE_TIMEOUT_MS,
    // Longer than any path that fits into the headers, so that a long one is refused by its own rule, with a reason.
    routerOptions: { maxParamLength: 65_536 },
    clientErrorHandler: answerBrokenRequest,
    frameworkErrors: (error: unknown, request: FastifyRequest, reply: FastifyReply) =>
      fail(error, request, reply),
  };
  const timeouts = {
    headersTimeout: HEADERS_TIMEOUT_MS,
    requestTimeout: 0,
    connectionsCheckingInterval: 2_000,
  };
  const app: FastifyInstance = tls
    ? // The two overloads differ in the type of the raw server alone, which nothing here uses.
      fastify({
        ...shared,
        https: { ...timeouts, ...tls, minVersion: 'TLSv1.2' },
      })
    : fastify({ ...shared, http: timeouts });

  function fail(error: unknown, request: FastifyRequest, reply: FastifyReply): FastifyReply {
    const problem = problemFor(error);
    if (problem.status >= 500 && problem.code === 'internal') {
      logger.error(
        { err: error, request_id: request.id, route: routeOf(request) },
        'a request failed by a fault of this server',
      );
    }
    return reply
      .code(problem.status)
      .headers({ ...SECURITY_HEADERS, 'x-request-id': request.id, ...problemHeaders(problem) })
      .send(JSON.stringify(problem));
  }

  const checkHost = hostCheck(host);
  const lookUps = new LookUps();
  const authentication = new Authentication(registry, lookUps);
  const ping = sharedPing(registry);
  app.decorateRequest('caller', null);
  // Where there is nothing, no body is read: what is wrong with it would hide that.
  app.removeAllContentTypeParsers();
  app.addContentTypeParser('*', (_request, _payload, done) => done(null));
  app.setErrorHandler(fail);
  app.setNotFoundHandler((request, reply) =>
    fail(new ConnectorError('not_found', 'there is nothing at this path'), request, reply),
  );
  app.addHook('onRequest', (request, reply, done) => {
    reply.headers(SECURITY_HEADERS).header('x-request-id', request.id);
    limitSilence(request);
    try {
      if (isClosing())
        throw new ConnectorError('unavailable', 'the server is stopping', { retryAfterMs: 1_000 });
      checkHost(request.headers.host);
      done();
    } catch (error) {
      reply.header('connection', 'close');
      // `error` is a ConnectorError: nothing else is thrown above.
      done(error as Error);
    }
  });
  app.addHook('onResponse', (request, reply, done) => {
    logger.info(
      {
        request_id: request.id,
        method: request.method,
        route: routeOf(request),
        status: reply.statusCode,
        ms: Math.round(reply.elapsedTime * 10) / 10,
        ...(request.caller && { tenant: request.caller.tenantId, key_id: request.caller.keyId }),
      },
      'request',
    );
    done();
  });

  app.get('/healthz', (_request, reply) => reply.send({ status: 'ok' }));
  app.get('/metrics', (_request, reply) =>
    reply.header('content-type', METRICS_TYPE).send(metricsText(registry.gauges())),
  );
  app.get('/readyz', async (_request, reply) => {
    try {
      await ping();
    } catch (cause) {
      throw new ConnectorError('unavailable', 'the store does not answer', { cause, retryAfterMs: 1_000 });
    }
    return reply.send({ status: 'ready' });
  });
  await mountDocs(app, operations);
  mountSignedAddresses(app, registry, lookUps);
  mountCallbacks(app, registry, lookUps);
  await app.register(
    async (api) => {
      api.addHook('onRequest', async (request) => {
        request.caller = await authentication.authenticate(request.headers.authorization, request.ip);
      });
      mountOperations(api, operations, registry);
    },
    { prefix: API_PREFIX },
  );
  await app.ready();
  return app;
}

/** One question to the store for all who ask meanwhile: anybody may ask. */
function sharedPing(registry: ConnectorRegistry): () => Promise<void> {
  let last: Promise<void> | undefined;
  return () => {
    if (last) return last;
    const forget = () => void setTimeout(() => (last = undefined), PING_MS).unref();
    last = registry.ping();
    last.then(forget, forget);
    return last;
  };
}

function problemFor(error: unknown): Problem {
  const translated = frameworkError(error);
  if (translated) return problemOf(translated.error, { status: translated.status });
  if (error instanceof MethodNotAllowed) return problemOf(error, { status: 405 });
  const status = isConnectorError(error) ? rangeStatus(error) : undefined;
  return problemOf(error, status === undefined ? {} : { status });
}

/** The route's pattern: never the URL itself, which may hold what nobody should read in a log. */
function routeOf(request: FastifyRequest): string {
  return request.routeOptions.url ?? 'none';
}

/** Ends a connection on which a body was announced and nothing of it comes. */
function limitSilence({ raw }: FastifyRequest): void {
  const { 'content-length': length, 'transfer-encoding': encoding } = raw.headers;
  const { socket } = raw;
  // What `inject` sends comes through no socket.
  if (!(socket instanceof Socket) || (encoding === undefined && (length === undefined || length === '0')))
    return;
  socket.setTimeout(BODY_IDLE_MS);
  raw.once('end', () => socket.setTimeout(0));
}

const BROKEN: Readonly<
  Record<string, { readonly status: number; readonly text: string; readonly error: ConnectorError }>
> = {
  HPE_HEADER_OVERFLOW: {
    status: 431,
    text: 'Request Header Fields Too Large',
    error: new ConnectorError('payload_too_large', 'the headers are at most 16 KiB'),
  },
  ERR_HTTP_REQUEST_TIMEOUT: {
    status: 408,
    text: 'Request Timeout',
    error: new ConnectorError(
      'timeout',
      `the headers of a request come within ${HEADERS_TIMEOUT_MS / 1_000} seconds`,
    ),
  },
};

/** Answers what is no HTTP request, as far as the connection still can. */
function answerBrokenRequest(error: NodeJS.ErrnoException, socket: Socket): void {
  if (error.code === 'ECONNRESET' || !socket.writable) return void socket.destroy();
  const {
    status,
    text,
    error: reason,
  } = BROKEN[error.code ?? ''] ?? {
    status: 400,
    text: 'Bad Request',
    error: new ConnectorError('invalid_argument', 'the request is not valid HTTP'),
  };
  const problem = problemOf(reason, { status });
  const body = JSON.stringify(problem);
  const head = Object.entries({
    ...problemHeaders(problem),
    'content-length': Buffer.byteLength(body),
    connection: 'close',
  });
  socket.end(
    `HTTP/1.1 ${status} ${text}\r\n${head.map(([name, value]) => `${name}: ${value}\r\n`).join('')}\r\n${body}`,
  );
}
