import type { Logger } from 'pino';
import { ConnectorError, invalidField } from '../errors/error.ts';
import type { ConnectorRegistry } from '../registry/registry.ts';
import { isLoopback } from './guard.ts';
import { httpApp } from './http.ts';
import { serverLogger } from './logging.ts';

/** How long stopping waits for what was accepted, unless told. */
const STOP_MS = 10_000;
const IDLE_SWEEP_MS = 100;

/** What to serve, and where. */
export type ServerOptions = {
  readonly registry: ConnectorRegistry;
  /** `127.0.0.1` by default. */
  readonly host?: string;
  /** 7420 by default; 0 takes any free one. */
  readonly port?: number;
  /** A certificate and its key, as PEM. */
  readonly tls?: { readonly cert: string | Buffer; readonly key: string | Buffer } | undefined;
  /** Allows plain HTTP on an address that other machines reach, where something in front of it encrypts. */
  readonly insecureHttp?: boolean;
  readonly logger?: Logger;
};

/** A server that listens. */
export type RunningServer = {
  /** Where it listens: `http://127.0.0.1:7420`. */
  readonly url: string;
  /**
   * Stops accepting, finishes what it accepted for at most so long, 10 seconds by default, and resolves. The registry stays
   * open; where it is closed next, `registry.leave()` before this answers those who wait for an invocation at once.
   */
  close(options?: { readonly graceMs?: number }): Promise<void>;
};

/**
 * Starts a server of a registry's operations and answers once it listens.
 *
 * @throws ConnectorError `invalid_argument` for a non-loopback host without TLS or `insecureHttp`; `unavailable` when
 *   the port is taken.
 */
export async function startServer({
  registry,
  host = '127.0.0.1',
  port = 7420,
  tls,
  insecureHttp = false,
  logger = serverLogger(),
}: ServerOptions): Promise<RunningServer> {
  if (!isLoopback(host) && !tls && !insecureHttp) {
    throw invalidField(
      'host',
      `${host} can be reached by other machines: give a TLS certificate and key, or allow --insecure-http`,
    );
  }
  let closing: Promise<void> | undefined;
  const app = await httpApp({ registry, logger, host, tls, isClosing: () => closing !== undefined });
  try {
    await app.listen({ host, port });
  } catch (cause) {
    await app.close();
    throw new ConnectorError('unavailable', `cannot listen on ${host} port ${port}: ${reasonOf(cause)}`, {
      cause,
    });
  }
  const stop = async (graceMs: number) => {
    // A connection that was busy when stopping began becomes idle later, and would keep the server up.
    const sweep = setInterval(() => app.server.closeIdleConnections(), IDLE_SWEEP_MS);
    const deadline = setTimeout(() => app.server.closeAllConnections(), graceMs);
    await app.close();
    clearInterval(sweep);
    clearTimeout(deadline);
  };
  const address = app.server.address();
  const bound = typeof address === 'object' && address !== null ? address.port : port;
  const shownHost = host.includes(':') && !host.startsWith('[') ? `[${host}]` : host;
  const url = `${tls ? 'https' : 'http'}://${shownHost}:${bound}`;
  await registry.announce(url);
  return {
    url,
    close: ({ graceMs = STOP_MS } = {}) => (closing ??= stop(graceMs)),
  };
}

function reasonOf(cause: unknown): string {
  const code = typeof cause === 'object' && cause !== null && 'code' in cause ? cause.code : undefined;
  if (code === 'EADDRINUSE') return 'another process has it';
  if (code === 'EACCES') return 'this user may not';
  return typeof code === 'string' ? code : 'the system refuses';
}
