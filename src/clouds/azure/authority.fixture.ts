import { once } from 'node:events';
import {
  createServer,
  type IncomingMessage,
  type RequestListener,
  type Server,
  type ServerResponse,
} from 'node:http';
import { createServer as createHttpsServer } from 'node:https';
import type { AddressInfo } from 'node:net';

/** What a token service was asked for. */
export type TokenRequest = {
  readonly method: string;
  readonly path: string;
  readonly query: Readonly<Record<string, string>>;
  readonly headers: IncomingMessage['headers'];
  readonly form: Readonly<Record<string, string>>;
};

/** A double of a token service on loopback. */
export type TokenService = {
  readonly url: string;
  readonly requests: readonly TokenRequest[];
  /** How long the tokens are good for from now on; an hour unless told. */
  expireIn(seconds: number): void;
  /** What every request is answered from now on, instead of a token. */
  refuse(status: number, body: unknown, headers?: Readonly<Record<string, string>>): void;
  /** Requests are answered no more. */
  fallSilent(): void;
  /** How many requests came since. */
  unanswered(): number;
  /** As at first, and all requests are forgotten. */
  reset(): void;
  close(): Promise<void>;
};

type Answering = (request: TokenRequest, expiresInSeconds: number, serial: number) => unknown;

/**
 * The authority of Entra ID, by TLS:
 * https://github.com/MicrosoftDocs/entra-docs/blob/main/docs/identity-platform/v2-oauth2-client-creds-grant-flow.md (read 2026-11-27).
 */
export async function authority(certificate: {
  readonly cert: string;
  readonly key: string;
}): Promise<TokenService> {
  const { listener, service } = tokenService(({ form }, expires_in, serial) => ({
    ...{ token_type: 'Bearer', expires_in, ext_expires_in: expires_in },
    access_token: tokenOf(audienceOf(form['scope']?.replace(/\/\.default$/, '')), serial),
  }));
  return { ...service, ...(await listening(createHttpsServer(certificate, listener), 'https')) };
}

/**
 * The managed identity service of a host, without TLS: that of App Service and that of virtual machines answer alike,
 * https://github.com/MicrosoftDocs/azure-docs/blob/main/articles/app-service/overview-managed-identity.md and
 * https://learn.microsoft.com/en-us/entra/identity/managed-identities-azure-resources/how-to-use-vm-token (read 2026-11-27).
 */
export async function managedIdentity(): Promise<TokenService> {
  const { listener, service } = tokenService(({ query: { resource } }, expires_in, serial) => ({
    ...{ access_token: tokenOf(audienceOf(resource), serial), token_type: 'Bearer' },
    ...{ resource, client_id: 'its-own' },
    expires_on: String(Math.floor(Date.now() / 1000) + expires_in),
    expires_in: String(expires_in),
  }));
  return { ...service, ...(await listening(createServer(listener), 'http')) };
}

async function listening(server: Server, scheme: string): Promise<Pick<TokenService, 'url' | 'close'>> {
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo; // a TCP server's address is never a pipe's name
  return {
    url: `${scheme}://127.0.0.1:${port}`,
    async close() {
      if (!server.listening) return;
      const closed = once(server, 'close');
      server.close();
      server.closeAllConnections();
      await closed;
    },
  };
}

function tokenService(answer: Answering) {
  const requests: TokenRequest[] = [];
  let expiresInSeconds = 3600;
  let isSilent = false;
  let unanswered = 0;
  let refusal: Parameters<TokenService['refuse']> | undefined;
  const respond = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer); // no encoding is set
    const { pathname, searchParams } = new URL(request.url ?? '', 'http://double');
    const { method = '', headers } = request;
    const form = Object.fromEntries(new URLSearchParams(Buffer.concat(chunks).toString()));
    const asked = { method, path: pathname, query: Object.fromEntries(searchParams), headers, form };
    requests.push(asked);
    if (isSilent) {
      unanswered += 1;
      return;
    }
    const token = () => answer(asked, expiresInSeconds, requests.length);
    const [status, body, more = {}] = refusal ?? [200, token()];
    response.writeHead(status, { 'content-type': 'application/json', ...more }).end(JSON.stringify(body));
  };
  const listener: RequestListener = (request, response) => void respond(request, response);
  return {
    listener,
    service: {
      requests,
      expireIn: (seconds: number) => void (expiresInSeconds = seconds),
      refuse: (...given: Parameters<TokenService['refuse']>) => void (refusal = given),
      fallSilent: () => void (isSilent = true),
      unanswered: () => unanswered,
      reset() {
        isSilent = false;
        unanswered = 0;
        refusal = undefined;
        expiresInSeconds = 3600;
        requests.length = 0;
      },
    },
  };
}

/** What a token is for, as it says itself. */
function audienceOf(resource = ''): string {
  return resource.replace(/\/$/, '');
}

/** A token whose claims Azurite takes; nobody has signed it. */
function tokenOf(aud: string, serial: number): string {
  const now = Math.floor(Date.now() / 1000);
  const claims = {
    ...{ aud, iss: 'https://sts.windows.net/directory/', tid: 'directory' },
    ...{ iat: now, nbf: now - 60, exp: now + 3600, oid: 'object', serial },
  };
  const part = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString('base64url');
  return `${part({ alg: 'RS256', typ: 'JWT' })}.${part(claims)}.${part('unsigned')}`;
}
