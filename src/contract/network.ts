import type { Agent as HttpAgent } from 'node:http';
import type { Agent as HttpsAgent } from 'node:https';
import type { Socket } from 'node:net';
import { connect as tlsConnect } from 'node:tls';
import type { OpenContext } from './driver.ts';
import { networkFailure } from './backend-error.ts';

/** What a {@link Fetcher} is made with. */
export type FetcherOptions = {
  /** Certificates in PEM that are trusted instead of the well-known ones. */
  readonly ca?: string | undefined;
  /** Connections to one host at most; 16 unless told. */
  readonly connections?: number;
};

/**
 * `fetch` over connections of its own, to which nothing of the host's environment is added.
 *
 * No redirect is ever followed. It fails the request, or is the answer where the request says `redirect: 'manual'`, for
 * protocols that have a meaning of their own for such a status.
 */
export interface Fetcher {
  readonly fetch: typeof globalThis.fetch;
  /** Ends every request that `task` makes when the signal is aborted, for clients that take no signal themselves. */
  during<T>(signal: AbortSignal, task: () => Promise<T>): Promise<T>;
  /** Closes the connections; requests in flight fail. */
  close(): Promise<void>;
}

/** Agents of Node's own `http` and `https`, for clients that are built upon these. */
export interface Agents {
  readonly http: HttpAgent;
  readonly https: HttpsAgent;
  /** Closes the connections; requests in flight fail. */
  close(): void;
}

/**
 * A driver's only way to other machines.
 *
 * Every address is checked against the operator's egress rule when a connection is made to it, so that a name cannot
 * mean one address to the check and another to the socket.
 */
export interface Network {
  /**
   * The addresses of a host, for clients that resolve names where no check can be placed: hand them an address.
   *
   * @throws ConnectorError `egress_denied` where one is not allowed, `unavailable` for a name that is not known.
   */
  resolve(host: string): Promise<readonly string[]>;
  /** A TCP socket; a refused address is its `error` event, like any other failure to connect. */
  connect(to: { readonly host: string; readonly port: number }): Socket;
  fetcher(options?: FetcherOptions): Fetcher;
  agents(options?: FetcherOptions): Agents;
}

/** Where a backend listens, and whether by TLS. */
export type Target = {
  readonly host: string;
  readonly port: number;
  /** Absent for a plain connection, or one that agrees on TLS in a protocol of its own. */
  readonly tls?: { readonly ca?: string | undefined } | undefined;
};

/**
 * The stages `address` and `connect` of opening: the host has addresses that are allowed, and one of them takes a
 * connection. Clients of their own seldom tell the two from wrong credentials.
 *
 * @returns the addresses.
 * @throws ConnectorError `egress_denied`; `unavailable`, naming TLS where that failed; `timeout`.
 */
export async function reach(context: OpenContext, target: Target): Promise<readonly string[]> {
  const { network, signal } = context;
  const addresses = await context.stage('address', () => until(signal, network.resolve(target.host)));
  await context.stage('connect', () => knock(network, target, signal));
  return addresses;
}

/** The host, port and scheme of a base URL. */
export function targetOf(url: string, ca?: string): Target {
  const { protocol, hostname, port } = new URL(url);
  const tls = protocol === 'https:';
  // Node's sockets take an IPv6 address without the brackets that a URL needs.
  const host = hostname.replace(/^\[(.*)\]$/, '$1');
  return { host, port: Number(port) || (tls ? 443 : 80), ...(tls && { tls: { ca } }) };
}

/** What `task` answers, or the end of the attempt: a name service may take its time and cannot be told to stop. */
async function until<T>(signal: AbortSignal, task: Promise<T>): Promise<T> {
  const { promise, reject } = Promise.withResolvers<never>();
  const onAbort = () => reject(networkFailure(signal.reason, signal));
  if (signal.aborted) onAbort();
  signal.addEventListener('abort', onAbort, { once: true });
  try {
    return await Promise.race([task, promise]);
  } finally {
    signal.removeEventListener('abort', onAbort);
  }
}

/** Connects, with TLS where the target has it, and hangs up. */
async function knock(network: Network, { host, port, tls }: Target, signal: AbortSignal): Promise<void> {
  const socket = network.connect({ host, port });
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const fail = (error: unknown) => reject(networkFailure(error, signal));
  socket.once('error', fail);
  if (tls) {
    const ca = tls.ca === undefined ? {} : { ca: tls.ca };
    const secure = tlsConnect({ socket, servername: isAddress(host) ? '' : host, host, ...ca });
    secure.once('secureConnect', () => resolve());
    secure.once('error', fail);
    secure.once('close', () =>
      fail(Object.assign(new Error('closed during the TLS handshake'), { code: 'EPROTO' })),
    );
  } else socket.once('connect', () => resolve());
  try {
    await until(signal, promise);
  } finally {
    socket.destroy();
  }
}

function isAddress(host: string): boolean {
  return /^[\d.]+$|:/.test(host);
}
