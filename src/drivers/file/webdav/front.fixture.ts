import { once } from 'node:events';
import { createServer, request, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';

/** What stands before a WebDAV server and passes everything on but what it is told to answer itself. */
export type Front = {
  /** With the path of the server behind it. */
  readonly url: string;
  /** What was asked for, in order. */
  readonly requests: {
    readonly method: string;
    readonly url: string;
    readonly headers: IncomingMessage['headers'];
  }[];
  /** How many connections are open. */
  readonly connections: () => number;
  /** Resolves when none is. */
  readonly idle: () => Promise<void>;
  /** Answers requests itself where `answer` says that it did, until told otherwise. */
  intercept(answer: (request: IncomingMessage, response: ServerResponse) => boolean): void;
  close(): Promise<void>;
};

/** A front on loopback. The names of hosts in headers are the server's own, so that it takes a move for one within it. */
export async function startFront(behind: string): Promise<Front> {
  const { pathname, host } = new URL(behind);
  const requests: Front['requests'] = [];
  const sockets = new Set<Socket>();
  let answer: Parameters<Front['intercept']>[0] = () => false;
  const pass = (incoming: IncomingMessage, outgoing: ServerResponse): void => {
    const { method = 'GET', url = '/', headers } = incoming;
    const { destination } = headers;
    const passed = request(new URL(url, behind), {
      method,
      headers: {
        ...headers,
        host,
        ...(typeof destination === 'string' && {
          destination: destination.replace(/\/\/[^/]*/, `//${host}`),
        }),
      },
    });
    passed.on('response', (response) => {
      outgoing.writeHead(response.statusCode ?? 500, response.headers);
      response.on('error', () => outgoing.destroy());
      response.pipe(outgoing);
    });
    passed.on('error', () => outgoing.destroy());
    incoming.on('error', () => passed.destroy());
    incoming.pipe(passed);
  };
  const server = createServer((incoming, outgoing) => {
    const { method = '', url = '', headers } = incoming;
    requests.push({ method, url, headers });
    if (!answer(incoming, outgoing)) pass(incoming, outgoing);
  });
  server.on('connection', (socket: Socket) => {
    sockets.add(socket);
    socket.on('error', () => {});
    socket.once('close', () => {
      sockets.delete(socket);
      if (sockets.size === 0) server.emit('idle');
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo; // a TCP server's address is never a pipe's name
  return {
    url: `http://127.0.0.1:${port}${pathname}`,
    requests,
    connections: () => sockets.size,
    idle: async () => void (sockets.size > 0 && (await once(server, 'idle'))),
    intercept: (given) => void (answer = given),
    async close() {
      server.close();
      for (const socket of sockets) socket.destroy();
    },
  };
}
