import { once } from 'node:events';
import {
  createServer as createHttp,
  type IncomingMessage,
  request as ask,
  type ServerResponse,
} from 'node:http';
import { createServer as createHttps } from 'node:https';
import type { AddressInfo, Socket } from 'node:net';
import { selfSignedCertificate } from '../../../testing/certificate.fixture.ts';

/** Reads an `Authorization` header and answers the audience of a valid ID token. */
export type AudienceOf = (authorization: string | undefined) => string | undefined;

export type Front = {
  readonly url: string;
  /** Its certificate vouches for itself; absent where it speaks plain HTTP. */
  readonly ca: string | undefined;
  /** Requests that reached a function, as `METHOD path`, and their headers. */
  readonly passed: { readonly line: string; readonly headers: IncomingMessage['headers'] }[];
  /** Requests that were refused, as `status path`. */
  readonly refused: string[];
  /** Open connections. */
  readonly open: () => number;
  readonly idle: () => Promise<void>;
  close(): Promise<void>;
};

/**
 * What stands before the functions at Google: TLS, and nobody comes through without an ID token whose audience is the
 * function's URL. What a function answers is handed through as it is.
 *
 * @param options.audienceOf without it everybody comes through.
 * @param options.whole whether all functions are one service, whose URL the audience is.
 */
export async function functionsFront(
  ports: ReadonlyMap<string, number>,
  {
    tls = true,
    audienceOf,
    whole = false,
  }: { readonly tls?: boolean; readonly audienceOf?: AudienceOf; readonly whole?: boolean } = {},
): Promise<Front> {
  const certificate = tls ? selfSignedCertificate() : undefined;
  const passed: Front['passed'] = [];
  const refused: string[] = [];
  const sockets = new Set<Socket>();
  let url = '';

  const refuse = (request: IncomingMessage, response: ServerResponse, status: number): void => {
    refused.push(`${status} ${request.url}`);
    request.resume();
    // Google's front end answers a page, and no JSON.
    const page = `<html><title>${status}</title><h1>Error</h1><h2>Your client does not have permission.</h2></html>`;
    response.writeHead(status, {
      'content-type': 'text/html; charset=UTF-8',
      ...(status === 401 && { 'www-authenticate': 'Bearer error="invalid_token"' }),
    });
    response.end(page);
  };

  const serve = (request: IncomingMessage, response: ServerResponse): void => {
    const { method = '', url: target = '', headers } = request;
    const name = decodeURIComponent(target.split(/[/?]/)[1] ?? '');
    const port = ports.get(name);
    if (port === undefined) return refuse(request, response, 404);
    if (audienceOf && audienceOf(headers.authorization) !== (whole ? url : `${url}/${name}`))
      return refuse(request, response, headers.authorization === undefined ? 403 : 401);
    passed.push({ line: `${method} ${target}`, headers });
    const further = ask({ host: '127.0.0.1', port, method, path: '/', headers }, (answer) => {
      response.writeHead(answer.statusCode ?? 502, answer.headers);
      answer.pipe(response);
    });
    // Callers of these tests hang up in the middle.
    response.once('close', () => further.destroy());
    further.once('error', () => response.destroy());
    request.pipe(further);
  };

  const server = certificate ? createHttps(certificate, serve) : createHttp(serve);
  server.on(certificate ? 'secureConnection' : 'connection', (socket: Socket) => {
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
  url = `${tls ? 'https' : 'http'}://127.0.0.1:${port}`;
  return {
    ...{ url, ca: certificate?.cert, passed, refused },
    open: () => sockets.size,
    async idle() {
      if (sockets.size > 0) await once(server, 'idle');
    },
    async close() {
      const closed = once(server, 'close');
      server.close();
      for (const socket of sockets) socket.destroy();
      await closed;
    },
  };
}
