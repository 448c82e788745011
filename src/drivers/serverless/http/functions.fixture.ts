import { once } from 'node:events';
import { createServer, type IncomingHttpHeaders, type IncomingMessage, type ServerResponse } from 'node:http';
import { createServer as createSecureServer } from 'node:https';
import type { AddressInfo, Socket } from 'node:net';
import { buffer } from 'node:stream/consumers';
import type { ClientInvocation, JsonValue, OpenContext, ServerlessClient } from '../../../driver.ts';
import { NEVER } from '../../../policies/pipeline.ts';
import { openContext } from '../../../testing/open-context.ts';
import driver from './index.ts';

/** A request as the server saw it. */
export type Seen = {
  readonly method: string;
  readonly path: string;
  readonly headers: IncomingHttpHeaders;
  readonly body: Buffer;
};
/** Answers a request; one that it answers with false goes on to the function. */
export type Guard = (seen: Seen, response: ServerResponse, request: IncomingMessage) => unknown;

export type FunctionServer = {
  /** Without a slash at its end. */
  readonly url: string;
  readonly host: string;
  readonly port: number;
  readonly seen: Seen[];
  /** Connections that there have been. */
  readonly connections: () => number;
  /** Resolves when no connection is open. */
  readonly idle: () => Promise<void>;
  /** Resolves when so many requests have come. */
  readonly asked: (count: number) => Promise<void>;
  readonly close: () => Promise<void>;
};

type Handler = (response: ServerResponse, body: Buffer) => void;

const json = (response: ServerResponse, status: number, body: string | Buffer): void =>
  void response.writeHead(status, { 'content-type': 'application/json' }).end(body);

/** `CONFORMANCE_FUNCTIONS`, as somebody writes them who serves them by `node:http`. */
const FUNCTIONS: Readonly<Record<string, Handler>> = {
  echo: (response, body) => json(response, 200, body),
  fails: (response) => {
    const { name, message, stack } = new TypeError('on purpose');
    json(response, 500, JSON.stringify({ name, message, stack }));
  },
  endless: () => {},
  large: (response, body) => json(response, 200, JSON.stringify('x'.repeat(Number(body)))),
  random: (response) => json(response, 200, JSON.stringify(`${Math.random()}`)),
};

/** The table of these functions, each with a path of its own. */
export const TABLE = Object.fromEntries(Object.keys(FUNCTIONS).map((name) => [name, `/v1/${name}`]));

/** A real server on loopback that has the functions, by TLS where it has a certificate. */
export async function startFunctions({
  certificate,
  guard = () => false,
  nameOf = ({ path }) => path.replace(/^\/v1\/|\?.*$/g, ''),
}: {
  readonly certificate?: { readonly cert: string; readonly key: string };
  readonly guard?: Guard;
  readonly nameOf?: (seen: Seen) => string;
} = {}): Promise<FunctionServer> {
  const seen: Seen[] = [];
  const sockets = new Set<Socket>();
  let connections = 0;
  const handle = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const { method = '', url: path = '', headers } = request;
    const one = { method, path, headers, body: await buffer(request) };
    seen.push(one);
    server.emit('asked');
    if ((await guard(one, response, request)) !== false) return;
    const run = Object.hasOwn(FUNCTIONS, nameOf(one)) ? FUNCTIONS[nameOf(one)] : undefined;
    if (run) run(response, one.body);
    else response.writeHead(404, { 'content-type': 'text/plain' }).end('no such function');
  };
  const listener = (request: IncomingMessage, response: ServerResponse): void => {
    // Callers of these tests hang up in the middle of everything.
    handle(request, response).catch(() => response.destroy());
  };
  const server = certificate ? createSecureServer(certificate, listener) : createServer(listener);
  server.on('connection', (socket: Socket) => {
    connections += 1;
    sockets.add(socket);
    socket.once('close', () => {
      sockets.delete(socket);
      if (sockets.size === 0) server.emit('idle');
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo; // a TCP server's address is never a pipe's name
  return {
    url: `${certificate ? 'https' : 'http'}://127.0.0.1:${port}`,
    host: '127.0.0.1',
    port,
    seen,
    connections: () => connections,
    idle: async () => void (sockets.size > 0 && (await once(server, 'idle'))),
    async asked(count) {
      while (seen.length < count) await once(server, 'asked');
    },
    async close() {
      for (const socket of sockets) socket.destroy();
      server.close();
      await once(server, 'close');
    },
  };
}

/** A client with these options, in wire names. */
export async function opened(
  options: Readonly<Record<string, unknown>>,
  context: Partial<OpenContext> = {},
): Promise<ServerlessClient> {
  return driver.open(driver.options.parse(options), openContext({ folder: '/nowhere', ...context }));
}

/** One call as the connector makes it. */
export function call(
  client: ServerlessClient,
  name = 'default',
  payload: JsonValue = null,
  { signal = NEVER, ...invocation }: Partial<ClientInvocation> & { readonly signal?: AbortSignal } = {},
) {
  return client.invoke(name, payload, { requestId: 'request-1', timeoutMs: 10_000, ...invocation }, signal);
}
