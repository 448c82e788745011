import { AsyncLocalStorage } from 'node:async_hooks';
import { lookup as systemLookup } from 'node:dns';
import { isIP } from 'node:net';
import { connect as tlsConnect } from 'node:tls';
import { Agent, fetch as undiciFetch, type RequestInit } from 'undici';
import { connectionFailure } from '../contract/backend-error.ts';
import type { Fetcher, FetcherOptions, Network } from '../contract/network.ts';
import { ConnectorError } from '../errors/error.ts';
import type { EgressPolicy } from './addresses.ts';
import { assertHostAllowed, guardedConnect, guardedLookup, type Resolve } from './dialer.ts';

const CONNECTIONS = 16;

/** The network as far as the policy lets a connector see it. */
export function network(policy: EgressPolicy, resolve: Resolve = systemLookup): Network {
  const lookup = guardedLookup(policy, resolve);
  return {
    async resolve(host) {
      assertHostAllowed(host, policy);
      if (isIP(host) !== 0) return [host];
      return await new Promise<readonly string[]>((done, reject) => {
        lookup(host, { all: true }, (error, addresses) => {
          if (error) reject(connectionFailure(error) ?? unknownHost(host, error));
          else done((addresses as { readonly address: string }[]).map(({ address }) => address));
        });
      });
    },
    connect: (to) => guardedConnect(to, policy, resolve),
    fetcher: (options) => fetcher(policy, resolve, options),
  };
}

function fetcher(
  policy: EgressPolicy,
  resolve: Resolve,
  { ca, connections = CONNECTIONS }: FetcherOptions = {},
): Fetcher {
  const signals = new AsyncLocalStorage<AbortSignal>();
  const agent = new Agent({
    connections,
    // The time of a request is the caller's own: the policies end it through the signal.
    headersTimeout: 0,
    bodyTimeout: 0,
    connect: ({ hostname, port, protocol, servername }, done) => {
      const secure = protocol === 'https:';
      const socket = guardedConnect(
        { host: hostname, port: Number(port) || (secure ? 443 : 80) },
        policy,
        resolve,
      );
      socket.setNoDelay(true);
      const ready = secure
        ? tlsConnect({
            socket,
            servername: servername ?? '',
            host: hostname,
            ALPNProtocols: ['http/1.1'],
            ...(ca !== undefined && { ca }),
          })
        : socket;
      const fail = (error: Error) => {
        socket.destroy();
        done(error, null);
      };
      socket.once('error', fail);
      if (secure) ready.once('error', fail);
      ready.once(secure ? 'secureConnect' : 'connect', () => {
        socket.off('error', fail);
        ready.off('error', fail);
        // Undici listens from here on.
        done(null, ready);
      });
    },
  });
  const guarded = (input: string | URL | Request, init: RequestInit = {}) => {
    const outer = signals.getStore();
    const signal = outer && init.signal ? AbortSignal.any([outer, init.signal]) : (init.signal ?? outer);
    // A redirect would carry the credentials to wherever the backend points.
    return undiciFetch(input as never, {
      ...init,
      redirect: 'error',
      dispatcher: agent,
      ...(signal && { signal }),
    });
  };
  return {
    // Undici's fetch is the one that Node's own is built from.
    fetch: guarded as never,
    during: (signal, task) => signals.run(signal, task),
    close: () => agent.destroy(),
  };
}

function unknownHost(host: string, cause: unknown): ConnectorError {
  return new ConnectorError('unavailable', `the address of ${host} could not be found`, { cause });
}
