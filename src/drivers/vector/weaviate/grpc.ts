import { connect as connectHttp2, constants, type ClientHttp2Session } from 'node:http2';
import type { Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';
import {
  ConnectorError,
  grpcFailure,
  httpFailure,
  networkFailure,
  parseRetryAfter,
  type Clock,
  type Network,
  type Target,
} from '../../../driver.ts';

/** Unary gRPC calls over one connection, which is made when it is needed and again when it was lost. */
export type GrpcChannel = {
  /**
   * The answer to one call, as protobuf bytes.
   *
   * @param path the service and the method, such as `/weaviate.v1.Weaviate/Search`.
   * @throws ConnectorError what the status, the connection or the signal says.
   */
  call(path: string, request: Uint8Array, signal: AbortSignal): Promise<Buffer>;
  close(): void;
};

/** An answer is never longer: what announces more is no answer of ours. */
const MAX_ANSWER_BYTES = 512 * 2 ** 20;
/** What may be on its way before it was read; Node's 64 KiB would make each large answer wait for round trips. */
const WINDOW_BYTES = 8 * 2 ** 20;

/**
 * gRPC by https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md (read 2026-11-25) over Node's HTTP/2, because
 * the sockets have to come from `network`: the client of the vendor dials by itself.
 *
 * Nothing is retried and nothing is compressed. No proxy of the environment is used.
 */
export function grpcChannel(
  { network, clock }: { readonly network: Network; readonly clock: Clock },
  target: Target,
  headers: Readonly<Record<string, string>>,
): GrpcChannel {
  const authority = `${target.host.includes(':') ? `[${target.host}]` : target.host}:${target.port}`;
  const scheme = target.tls ? 'https' : 'http';
  /** The one that new calls go to. */
  let session: ClientHttp2Session | undefined;
  const sessions = new Set<ClientHttp2Session>();

  const connected = (): ClientHttp2Session => {
    if (session && !session.closed && !session.destroyed) return session;
    const made = connectHttp2(`${scheme}://${authority}`, {
      createConnection: () => dial(network, target),
      settings: { enablePush: false, initialWindowSize: WINDOW_BYTES },
    });
    const drop = () => {
      if (session === made) session = undefined;
    };
    // Each stream fails with the same error, and that is where it is told.
    made.on('error', drop);
    made.once('goaway', drop);
    made.once('close', () => {
      drop();
      sessions.delete(made);
    });
    made.once('connect', () => {
      // Node tells of the connection even where the session was destroyed meanwhile.
      if (!made.destroyed) made.setLocalWindowSize(WINDOW_BYTES);
    });
    sessions.add(made);
    session = made;
    return made;
  };

  return {
    call: async (path, request, signal) => {
      if (signal.aborted) throw networkFailure(signal.reason, signal);
      const used = connected();
      try {
        const stream = used.request({
          ':method': 'POST',
          ':scheme': scheme,
          ':path': path,
          'content-type': 'application/grpc',
          te: 'trailers',
          ...headers,
        });
        const { headers: answer, body } = await exchanged(stream, framed(request), signal);
        return checked(answer, body, clock);
      } catch (error) {
        const known = interrupted(error, signal);
        // Where nothing answers in time the connection may be dead without anybody having said so: later calls get
        // another one, and those on this one may end.
        if (known.code === 'timeout') {
          if (session === used) session = undefined;
          used.close();
        }
        throw known;
      }
    },
    close() {
      for (const one of sessions) one.destroy();
      session = undefined;
    },
  };
}

function dial(network: Network, { host, port, tls }: Target): Socket {
  const socket = network.connect({ host, port });
  socket.setNoDelay(true);
  if (!tls) return socket;
  return connectTls({
    socket,
    host,
    servername: /^[\d.]+$|:/.test(host) ? '' : host,
    ALPNProtocols: ['h2'],
    ...(tls.ca !== undefined && { ca: tls.ca }),
  });
}

type Stream = ReturnType<ClientHttp2Session['request']>;

type Answer = { readonly headers: Readonly<Record<string, unknown>>; readonly body: Buffer };

/** Sends one message and reads what comes back, to its end. */
async function exchanged(stream: Stream, request: Buffer, signal: AbortSignal): Promise<Answer> {
  const { promise, resolve, reject } = Promise.withResolvers<Answer>();
  const chunks: Buffer[] = [];
  let length = 0;
  let head: Readonly<Record<string, unknown>> = {};
  let tail: Readonly<Record<string, unknown>> = {};
  const giveUp = (error: unknown) => {
    reject(error);
    stream.close(constants.NGHTTP2_CANCEL);
  };
  const onAbort = () => giveUp(signal.reason);
  signal.addEventListener('abort', onAbort, { once: true });
  stream.on('response', (headers) => (head = headers));
  stream.on('trailers', (headers) => (tail = headers));
  stream.on('data', (chunk: Buffer) => {
    length += chunk.length;
    if (length > MAX_ANSWER_BYTES) giveUp(nonsense(`more than ${MAX_ANSWER_BYTES} bytes`));
    else chunks.push(chunk);
  });
  stream.once('error', reject);
  stream.once('close', () => {
    if (stream.rstCode !== constants.NGHTTP2_NO_ERROR) reject(refusedStream(stream.rstCode));
    else resolve({ headers: { ...head, ...tail }, body: Buffer.concat(chunks) });
  });
  stream.end(request);
  try {
    return await promise;
  } finally {
    signal.removeEventListener('abort', onAbort);
  }
}

/** The message of a whole answer. A failure without one has its status among the headers: they are one set here. */
function checked(headers: Answer['headers'], body: Buffer, clock: Clock): Buffer {
  const status = Number(headers[':status']);
  if (status !== 200) throw httpStatus(status, headers['retry-after'], clock);
  const { 'content-type': type, 'grpc-status': code, 'grpc-message': words } = headers;
  if (!String(type).startsWith('application/grpc')) throw nonsense(`the type ${String(type)}`);
  if (!/^\d+$/.test(String(code))) throw nonsense('no status');
  if (code !== '0') throw grpcFailure(Number(code), unescaped(String(words ?? '')));
  if (body.length < 5 || body[0] !== 0 || body.readUInt32BE(1) !== body.length - 5)
    throw nonsense('no message of one piece');
  return body.subarray(5);
}

/** Without compression: a flag, the length, the message. */
function framed(request: Uint8Array): Buffer {
  const head = Buffer.alloc(5);
  head.writeUInt32BE(request.length, 1);
  return Buffer.concat([head, request]);
}

function httpStatus(status: number, retryAfter: unknown, clock: Clock): ConnectorError {
  const header = typeof retryAfter === 'string' ? retryAfter : undefined;
  return httpFailure({ status, retryAfterMs: parseRetryAfter(header, clock.now()) });
}

/** `grpc-message` is percent-encoded; one that is not is shown as it came. */
function unescaped(words: string): string {
  try {
    return decodeURIComponent(words);
  } catch {
    return words;
  }
}

function nonsense(what: string): ConnectorError {
  return new ConnectorError('backend_error', `the backend answered no gRPC: ${what}`);
}

function refusedStream(code: number | undefined): ConnectorError {
  return new ConnectorError('unavailable', `the backend ended the call (HTTP/2 code ${code})`, {
    details: { backend_code: code ?? null },
  });
}

// The connection went away under the call, or was going: https://nodejs.org/api/errors.html (read 2026-11-25)
const LOST = new Set([
  ...['ERR_HTTP2_GOAWAY_SESSION', 'ERR_HTTP2_INVALID_SESSION', 'ERR_HTTP2_SESSION_ERROR'],
  ...['ERR_HTTP2_STREAM_CANCEL', 'ERR_HTTP2_STREAM_ERROR', 'ERR_HTTP2_INVALID_STREAM'],
]);

function interrupted(error: unknown, signal: AbortSignal): ConnectorError {
  const known = networkFailure(error, signal);
  const { code } = error as { readonly code?: unknown };
  if (known.code !== 'backend_error' || !LOST.has(String(code))) return known;
  return new ConnectorError('unavailable', `the connection to the backend was lost (${String(code)})`, {
    cause: error,
  });
}
