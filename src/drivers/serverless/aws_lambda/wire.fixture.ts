import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import type { AddressInfo, Socket } from 'node:net';
import type { OpenContext, ServerlessClient } from '../../../driver.ts';
import { selfSignedCertificate } from '../../../testing/certificate.fixture.ts';
import { openContext } from '../../../testing/open-context.ts';
import driver from './index.ts';
import {
  readCall,
  writeAnswer,
  type ModelCall,
  type OperationName,
  type WireAnswer,
  type WireRequest,
} from './model.fixture.ts';
import { unsigned, type SigningKey } from './signature.fixture.ts';

export const SECRET = 'canary-8d41b7f0e2c9';
export const KEY: SigningKey = { id: 'id', secret: SECRET, region: 'us-east-1' };

/** One request that the model knows, and that was signed. */
export type Call = WireRequest & ModelCall;
/** How the double answers; without an answer the request stays open. */
export type Answering = (
  call: Call,
  response: ServerResponse,
  request: IncomingMessage,
) => WireAnswer | undefined;

/** A double of Lambda on loopback: its requests are checked against the SDK's own model and for their signature. */
export type WireLambda = {
  readonly url: string;
  readonly port: number;
  readonly certificate: string;
  readonly calls: readonly Call[];
  /** Those of one operation. */
  readonly of: (operation: OperationName) => readonly Call[];
  /** Resolves with the first such call, also one that came before. */
  readonly call: (is: (call: Call) => boolean) => Promise<Call>;
  /** Resolves when no connection is open. */
  readonly idle: () => Promise<void>;
  /** @throws Error when it was asked for anything that the model does not have. */
  readonly close: () => Promise<void>;
};

export type WireOptions = { readonly keys?: readonly SigningKey[]; readonly tls?: boolean };

export async function wireLambda(answering: Answering, options: WireOptions = {}): Promise<WireLambda> {
  const { keys = [KEY], tls = false } = options;
  const calls: Call[] = [];
  const complaints: unknown[] = [];
  const sockets = new Set<Socket>();
  const certificate = selfSignedCertificate();
  const serve = async (request: IncomingMessage, response: ServerResponse) => {
    const body = await bodyOf(request);
    if (body === undefined) return; // the client has hung up, which is what some tests are about
    const { method = '', url = '', headers } = request;
    const asked = { method, url, headers, body };
    try {
      const call = { ...asked, ...readCall(asked) };
      calls.push(call);
      const answer = unsigned(asked, keys) ?? answering(call, response, request);
      if (answer !== undefined) send(response, answer);
      server.emit('called');
    } catch (error) {
      complaints.push(error);
      response.writeHead(501).end();
    }
  };
  const listener = (request: IncomingMessage, response: ServerResponse) => void serve(request, response);
  const server = tls ? createTlsServer(certificate, listener) : createServer(listener);
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
    url: `${tls ? 'https' : 'http'}://127.0.0.1:${port}`,
    port,
    certificate: certificate.cert,
    calls,
    of: (operation) => calls.filter((call) => call.operation === operation),
    async call(is) {
      for (;;) {
        const found = calls.find(is);
        if (found !== undefined) return found;
        await once(server, 'called');
      }
    },
    idle: async () => void (sockets.size > 0 && (await once(server, 'idle'))),
    async close() {
      const closed = once(server, 'close');
      server.close();
      for (const socket of sockets) socket.destroy();
      await closed;
      if (complaints.length > 0) throw new AggregateError(complaints, String(complaints[0]));
    },
  };
}

/** An answer with this output. */
export function tells(operation: OperationName, output: Readonly<Record<string, unknown>>): WireAnswer {
  return writeAnswer(operation, output);
}

/** What a function answers, or throws where `error` is said. */
export function answers(
  payload: unknown,
  { error, logs }: { error?: string; logs?: string } = {},
): WireAnswer {
  return tells('Invoke', {
    StatusCode: 200,
    Payload: Buffer.from(typeof payload === 'string' ? payload : JSON.stringify(payload)),
    ExecutedVersion: '$LATEST',
    ...(error !== undefined && { FunctionError: error }),
    ...(logs !== undefined && { LogResult: Buffer.from(logs).toString('base64') }),
  });
}

export const NO_FUNCTIONS = (): WireAnswer => tells('ListFunctions', { Functions: [] });

/** The double's answer to all but listings, of which there is nothing in them. */
export function besidesListing(answering: Answering): Answering {
  return (call, response, request) =>
    call.operation === 'ListFunctions' ? NO_FUNCTIONS() : answering(call, response, request);
}

export function send(response: ServerResponse, { status, headers, body }: WireAnswer): void {
  response.writeHead(status, headers).end(body);
}

/** The whole body; `undefined` where the client hung up before its end. */
export async function bodyOf(request: IncomingMessage): Promise<Buffer | undefined> {
  const chunks: Uint8Array[] = [];
  try {
    for await (const chunk of request) chunks.push(chunk as Uint8Array);
  } catch {
    return undefined;
  }
  return Buffer.concat(chunks);
}

/** A client of the driver, with keys that are a canary. */
export function clientTo(
  endpoint: string,
  options: Readonly<Record<string, unknown>> = {},
  context: Partial<OpenContext> = {},
): Promise<ServerlessClient> {
  return driver.open(
    driver.options.parse({
      endpoint,
      region: KEY.region,
      access_key_id: KEY.id,
      secret_access_key: KEY.secret,
      ...options,
    }),
    openContext({ folder: '/nowhere', ...context }),
  );
}
