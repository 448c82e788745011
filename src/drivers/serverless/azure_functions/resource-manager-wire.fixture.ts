import { once } from 'node:events';
import type { IncomingHttpHeaders, IncomingMessage, ServerResponse } from 'node:http';
import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { assertNone, audienceOf } from './functions-host-wire.fixture.ts';

export const SUBSCRIPTION = '11111111-2222-4333-8444-555555555555';
export const ADDRESS = { subscription_id: SUBSCRIPTION, resource_group: 'acme-rg', app_name: 'acme-app' };

/** A function as Azure Resource Manager lists it. */
export type Listed = {
  readonly name: string;
  readonly bindings?: unknown;
  readonly language?: string;
  readonly isDisabled?: boolean;
};

/** A double of Azure Resource Manager on loopback. */
export type ResourceManager = {
  readonly url: string;
  readonly requests: { readonly path: string; readonly headers: IncomingHttpHeaders }[];
  /** @throws Error naming what was asked since the last time that is not published. */
  assertKept(): void;
  /** What every request is answered from now on; nothing for the listing. */
  refuse(status?: number, body?: unknown, headers?: Readonly<Record<string, string>>): void;
  close(): Promise<void>;
};

export const httpTrigger = (more: object = {}): readonly object[] => [
  { type: 'httpTrigger', direction: 'in', name: 'req', authLevel: 'function', ...more },
  { type: 'http', direction: 'out', name: '$return' },
];

/**
 * Azure Resource Manager's list of an app's functions, by TLS, in pages of three:
 * https://learn.microsoft.com/rest/api/appservice/webapps/listfunctions (read 2026-11-28).
 */
export async function resourceManager(
  certificate: { readonly cert: string; readonly key: string },
  functions: readonly Listed[],
): Promise<ResourceManager> {
  const requests: ResourceManager['requests'] = [];
  const violations: string[] = [];
  let refusal: readonly [number, unknown, Readonly<Record<string, string>>] | undefined;
  const path = `/subscriptions/${SUBSCRIPTION}/resourceGroups/acme-rg/providers/Microsoft.Web/sites/acme-app/functions`;

  const listener = ({ method, url = '', headers }: IncomingMessage, response: ServerResponse): void => {
    requests.push({ path: url, headers });
    const { pathname, searchParams } = new URL(url, 'http://double');
    const send = (status: number, body: unknown, more: Readonly<Record<string, string>> = {}): void =>
      void response
        .writeHead(status, { 'content-type': 'application/json', ...more })
        .end(JSON.stringify(body));
    const wrong = (what: string): void => {
      violations.push(what);
      send(500, { error: { code: 'Violation', message: what } });
    };
    if (refusal !== undefined) return send(...refusal);
    // Tokens are for the endpoint, which each cloud has its own of.
    if (audienceOf(headers.authorization) !== base)
      return send(401, { error: { code: 'InvalidAuthenticationToken', message: 'words' } });
    if (method !== 'GET' || pathname !== path) return wrong(`${method} ${pathname}`);
    if (searchParams.get('api-version') !== '2025-05-01') return wrong(`version ${searchParams.toString()}`);
    const from = Number(searchParams.get('$skipToken') ?? 0);
    const value = functions.slice(from, from + 3).map(({ name, bindings, ...properties }) => ({
      ...{ id: `${path}/${name}`, name: `acme-app/${name}`, type: 'Microsoft.Web/sites/functions' },
      properties: { name, config: bindings === undefined ? null : { bindings }, ...properties },
    }));
    const next = `${base}${path}?api-version=2025-05-01&$skipToken=${from + 3}`;
    return send(200, { value, nextLink: from + 3 < functions.length ? next : null });
  };
  const server = createServer(certificate, listener);
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo; // a TCP server's address is never a pipe's name
  const base = `https://127.0.0.1:${port}`;
  return {
    ...{ url: base, requests },
    assertKept: () => assertNone(violations),
    refuse(status, body = {}, headers = {}) {
      refusal = status === undefined ? undefined : [status, body, headers];
    },
    async close() {
      const closed = once(server, 'close');
      server.close();
      server.closeAllConnections();
      await closed;
    },
  };
}
