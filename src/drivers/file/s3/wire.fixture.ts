import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import type { FileClient, OpenContext } from '../../../driver.ts';
import { openContext } from '../../../testing/open-context.ts';
import driver from './index.ts';

export const SECRET = 'canary-3f9d20c1b7aa';

/** What a request was, once its body has come. */
export type Asked = {
  readonly method: string;
  /** With its query, as it was sent. */
  readonly url: string;
  readonly headers: IncomingMessage['headers'];
  readonly body: Buffer;
};
/** Answers a request; what it leaves unanswered stays so. */
export type Answer = (asked: Asked, response: ServerResponse, request: IncomingMessage) => void;

/** A server on loopback that says whatever the test wants, and lists an empty bucket to whoever opens it. */
export type WireServer = {
  readonly url: string;
  readonly port: number;
  readonly asked: readonly Asked[];
  /** Resolves with the first request that is such a one, also one that came before. */
  readonly request: (is: (asked: Asked) => boolean) => Promise<Asked>;
  /** Resolves when no connection is open. */
  readonly idle: () => Promise<void>;
  readonly close: () => Promise<void>;
};

export const EMPTY_LIST = list('');

/** A listing with the given elements in it. */
export function list(elements: string, isTruncated = false): string {
  return `<?xml version="1.0"?><ListBucketResult><Name>files</Name><KeyCount>0</KeyCount><IsTruncated>${isTruncated}</IsTruncated>${elements}</ListBucketResult>`;
}

/** An error as S3 says it, with the fields that follow its code and message. */
export function refusal(code: string, message = code, fields = ''): string {
  return `<?xml version="1.0"?><Error><Code>${code}</Code><Message>${message}</Message>${fields}</Error>`;
}

export function isProbe({ method, url }: Asked): boolean {
  return method === 'GET' && url.includes('list-type=2') && /max-keys=1(?:&|$)/.test(url);
}

export async function wireServer(answer: Answer): Promise<WireServer> {
  const asked: Asked[] = [];
  const sockets = new Set<Socket>();
  const server = createServer((request, response) => void serve(request, response));
  const serve = async (request: IncomingMessage, response: ServerResponse) => {
    const chunks: Uint8Array[] = [];
    try {
      for await (const chunk of request) chunks.push(chunk as Uint8Array);
    } catch {
      return; // the client has hung up, which is what some tests are about
    }
    const { method = '', url = '', headers } = request;
    const one = { method, url, headers, body: Buffer.concat(chunks) };
    asked.push(one);
    if (isProbe(one) && asked.filter(isProbe).length === 1) response.end(EMPTY_LIST);
    else answer(one, response, request);
    server.emit('asked');
  };
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
    url: `http://127.0.0.1:${port}`,
    port,
    asked,
    async request(is) {
      for (;;) {
        const found = asked.find(is);
        if (found !== undefined) return found;
        await once(server, 'asked');
      }
    },
    idle: async () => void (sockets.size > 0 && (await once(server, 'idle'))),
    async close() {
      const closed = once(server, 'close');
      server.close();
      for (const socket of sockets) socket.destroy();
      await closed;
    },
  };
}

/** A client of the driver, with keys that are a canary. */
export function clientTo(
  endpoint: string,
  options: Readonly<Record<string, unknown>> = {},
  context: Partial<OpenContext> = {},
): Promise<FileClient> {
  return driver.open(
    driver.options.parse({
      ...{ endpoint, bucket: 'files', access_key_id: 'id', secret_access_key: SECRET },
      ...options,
    }),
    openContext({ folder: '/nowhere', ...context }),
  );
}
