import { lookup as systemLookup, type LookupAddress, type LookupOptions } from 'node:dns';
import { connect, isIP, Socket, type LookupFunction, type TcpNetConnectOpts } from 'node:net';
import { ConnectorError } from '../errors/error.ts';
import type { EgressPolicy } from './addresses.ts';

/** Finds all addresses of a name, as `dns.lookup` does. */
export type Resolve = (
  host: string,
  options: LookupOptions & { readonly all: true },
  done: (error: NodeJS.ErrnoException | null, addresses: LookupAddress[]) => void,
) => void;

/** Connections to one host at most, unless told. */
export const CONNECTIONS = 16;

/** How a connection is made. */
export type Dialing = {
  readonly policy: EgressPolicy;
  readonly resolve: Resolve;
  /** Until a connection is ready, its TLS handshake included. */
  readonly connectTimeoutMs: number;
};

/**
 * A replacement for `dns.lookup` that answers only where every address of the name is allowed, and otherwise with
 * ConnectorError `egress_denied`.
 *
 * A socket connects to what its lookup answered, so an address cannot change between the check and the connection.
 * Node calls no lookup for a host that is an address already: see {@link assertHostAllowed} and {@link guardedConnect}.
 */
export function guardedLookup(policy: EgressPolicy, resolve: Resolve = systemLookup): LookupFunction {
  return (host, options, callback) => {
    resolve(host, { ...options, all: true }, (error, addresses) => {
      const [first] = addresses ?? [];
      if (error || !first) return callback(error ?? denied(host), '');
      if (!addresses.every(({ address }) => policy.allows(address))) return callback(denied(host), '');
      if (options.all) callback(null, addresses);
      else callback(null, first.address, first.family);
    });
  };
}

/**
 * Returns where the host of a URL is a name, or an address that is allowed, in whatever spelling a URL may give it. What
 * a name stands for is only known when it is looked up.
 *
 * @throws ConnectorError `egress_denied` before any I/O.
 */
export function assertHostAllowed(host: string, policy: EgressPolicy): void {
  const literal = literalAddress(host);
  if (literal !== undefined && !policy.allows(literal)) throw denied(host);
}

/** A TCP socket to an allowed address; a refusal is its `error` event, like any other failure to connect. */
export function guardedConnect(
  options: TcpNetConnectOpts & { readonly host: string },
  policy: EgressPolicy,
  resolve?: Resolve,
): Socket {
  const literal = literalAddress(options.host);
  if (literal !== undefined && !policy.allows(literal)) return new Socket().destroy(denied(options.host));
  return connect({ ...options, host: literal ?? options.host, lookup: guardedLookup(policy, resolve) });
}

/** The address that a host is spelled as: `127.1`, `0x7f.1` and `[::1]` are addresses, `localhost` is a name. */
function literalAddress(host: string): string | undefined {
  const bare = unbracketed(host);
  if (isIP(bare) !== 0) return bare;
  const hostname = unbracketed(URL.parse(`http://${host}`)?.hostname ?? '');
  return isIP(hostname) === 0 ? undefined : hostname;
}

function unbracketed(host: string): string {
  return host.startsWith('[') && host.endsWith(']') ? host.slice(1, -1) : host;
}

/** Names the host that was asked for and not its addresses, which would tell a tenant about the operator's network. */
function denied(host: string): ConnectorError {
  return new ConnectorError('egress_denied', `${host} is not at an address that a connector may reach`, {
    details: { host },
  });
}

export function tooSlow(host: string): ConnectorError {
  return new ConnectorError('timeout', `no connection to ${host} was made in time`, {
    details: { sent: false },
  });
}
