import { once } from 'node:events';
import { createServer as createHttpServer, type OutgoingHttpHeaders, type RequestListener } from 'node:http';
import { createServer as createHttpsServer } from 'node:https';
import { createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { selfSignedCertificate } from './certificate.fixture.ts';

/** A server on loopback at a free port that is not what a client hopes for. */
export type FaultyServer = {
  /** With the scheme, and without a path or a slash at its end. */
  readonly url: string;
  readonly host: string;
  readonly port: number;
  /** How many connections there have been. */
  readonly connections: () => number;
  /** Resolves when there has been a connection. */
  readonly connected: () => Promise<void>;
  /** Resolves when no connection is open. */
  readonly idle: () => Promise<void>;
  /** Ends every connection and stops listening. */
  readonly close: () => Promise<void>;
};

/** Where nobody listens: connecting is refused. Closing it does nothing. */
export async function closedPort(): Promise<FaultyServer> {
  const server = await listening(createServer(), 'http');
  await server.close();
  return server;
}

/** Takes connections and whatever is sent, and never answers: what a firewall that drops packets looks like. */
export async function blackHole(): Promise<FaultyServer> {
  return listening(
    createServer((socket) => void socket.resume()),
    'http',
  );
}

/** Speaks TLS with a certificate that vouches for itself, and answers `{}` to those who trust `certificate`. */
export async function selfSigned(
  answer: RequestListener = (_request, response) => void response.end('{}'),
): Promise<FaultyServer & { readonly certificate: string }> {
  const { cert, key } = selfSignedCertificate();
  return { ...(await listening(createHttpsServer({ cert, key }, answer), 'https')), certificate: cert };
}

/**
 * Answers 200 to everything with what no API would: in turns a page of HTML, JSON of no known shape, JSON that is cut
 * off, and nothing.
 */
export async function nonsense(): Promise<FaultyServer> {
  const bodies = [
    ['text/html', '<!doctype html><title>Welcome</title><h1>It works!</h1>'],
    ['application/json', '{"unexpected":[{"shape":null}],"result":"yes","data":7}'],
    ['application/json', '{"result": ['],
    ['application/json', ''],
  ] as const;
  let requests = 0;
  return listening(
    createHttpServer((request, response) => {
      const [type, body] = bodies[requests++ % bodies.length] ?? bodies[0];
      request.resume();
      response.writeHead(200, { 'content-type': type }).end(body);
    }),
    'http',
  );
}

/** Answers bytes that are no protocol's to whatever it is sent, and to those who wait for the server to begin. */
export async function garbage(): Promise<FaultyServer> {
  return listening(
    createServer((socket) => {
      const noise = Buffer.from([0xff, 0x00, 0x13, 0x37, 0x7f, 0xfe, 0x0a, 0x0d, 0x00, 0x00, 0x21, 0xc3]);
      socket.write(noise);
      socket.on('data', () => socket.write(noise));
    }),
    'http',
  );
}

/** Answers every request with one status; a body that is not text is sent as JSON. */
export async function statusServer(
  status: number,
  body: unknown = '',
  headers: OutgoingHttpHeaders = {},
): Promise<FaultyServer> {
  const [type, text] =
    typeof body === 'string' ? ['text/plain', body] : ['application/json', JSON.stringify(body)];
  return listening(
    createHttpServer((request, response) => {
      request.resume();
      response.writeHead(status, { 'content-type': type, ...headers }).end(text);
    }),
    'http',
  );
}

async function listening(server: Server, scheme: 'http' | 'https'): Promise<FaultyServer> {
  const sockets = new Set<Socket>();
  let connections = 0;
  server.on('connection', (socket: Socket) => {
    connections += 1;
    sockets.add(socket);
    // Clients of these tests hang up in the middle of everything.
    socket.on('error', () => {});
    socket.once('close', () => {
      sockets.delete(socket);
      if (sockets.size === 0) server.emit('idle');
    });
  });
  const host = '127.0.0.1';
  server.listen(0, host);
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo; // a TCP server's address is never a pipe's name
  return {
    url: `${scheme}://${host}:${port}`,
    host,
    port,
    connections: () => connections,
    connected: async () => void (connections === 0 && (await once(server, 'connection'))),
    idle: async () => void (sockets.size > 0 && (await once(server, 'idle'))),
    async close() {
      if (!server.listening) return;
      const closed = once(server, 'close');
      server.close();
      for (const socket of sockets) socket.destroy();
      await closed;
    },
  };
}
