import { isIP } from 'node:net';
import { ConnectorError } from '../errors/error.ts';

/** Sent with every answer. Nothing of an API needs to be framed, sniffed, cached or scripted. */
export const SECURITY_HEADERS: Readonly<Record<string, string>> = {
  'cache-control': 'no-store',
  'content-security-policy': "default-src 'none'; frame-ancestors 'none'",
  'cross-origin-resource-policy': 'same-origin',
  'referrer-policy': 'no-referrer',
  'x-content-type-options': 'nosniff',
  'x-frame-options': 'DENY',
};

/** Whether an address or name to listen on can be reached from this machine alone. */
export function isLoopback(host: string): boolean {
  const bare = host.replace(/^\[(.*)\]$/, '$1').toLowerCase();
  return bare === 'localhost' || bare === '::1' || (isIP(bare) === 4 && bare.startsWith('127.'));
}

/**
 * A check of the `Host` header for a server that only this machine reaches: a page that points its own name at
 * 127.0.0.1 must not become "same origin" with it.
 *
 * @throws ConnectorError `permission_denied` from the answer, for a host that is not a loopback one.
 */
export function hostCheck(listenHost: string): (header: string | undefined) => void {
  if (!isLoopback(listenHost)) return () => {};
  // One client says the same in each of its requests.
  let known: string | undefined;
  return (header) => {
    if (header !== undefined && header === known) return;
    const [, name] = /^(\[[^\]]*\]|[^:]*)(?::\d{1,5})?$/.exec(header ?? '') ?? [];
    if (name !== undefined && isLoopback(name)) return void (known = header);
    throw new ConnectorError(
      'permission_denied',
      'the Host header names another server; use localhost or 127.0.0.1',
    );
  };
}
