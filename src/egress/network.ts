import { AsyncLocalStorage } from 'node:async_hooks';
import { lookup as systemLookup } from 'node:dns';
import { isIP } from 'node:net';
import { connect as tlsConnect } from 'node:tls';
import type * as Undici from 'undici';
import type { Agent, RequestInit } from 'undici';
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

function fetcher(policy: EgressPolicy, resolve: Resolve, options: FetcherOptions = {}): Fetcher {
  const signals = new AsyncLocalStorage<AbortSignal>();
  // At first use: whoever has no remote backend does not pay for the package.
  let client: Promise<{ readonly agent: Agent; readonly send: typeof Undici.fetch }> | undefined;
  const open = async () => {
    const undici = await import('undici');
    return { agent: guardedAgent(undici, policy, resolve, options), send: undici.fetch };
  };
  const guarded = async (input: string | URL | Request, given: RequestInit = {}) => {
    const { agent, send } = await (client ??= open());
    const { url, init } = input instanceof Request ? await taken(input, given) : { url: input, init: given };
    const outer = signals.getStore();
    const signal = outer && init.signal ? AbortSignal.any([outer, init.signal]) : (init.signal ?? outer);
    return send(url, {
      ...init,
      // A redirect would carry the credentials to wherever the backend points.
      redirect: 'error',
      dispatcher: agent,
      ...(signal && { signal }),
    });
  };
  return {
    // Undici's fetch is the one that Node's own is built from.
    fetch: guarded as never,
    during: (signal, task) => signals.run(signal, task),
    close: async () => (await client)?.agent.destroy(),
  };
}

/** A request of Node's own class as undici's takes it, which is another class. */
async function taken(request: Request, given: RequestInit) {
  const { method, headers, signal, url } = request;
  const body = request.body === null ? null : await request.arrayBuffer();
  return { url, init: { method, headers: [...headers], body, signal, ...given } };
}

/** Connections of its own whose every address passed the policy. */
function guardedAgent(
  undici: typeof Undici,
  policy: EgressPolicy,
  resolve: Resolve,
  { ca, connections = CONNECTIONS }: FetcherOptions,
): Agent {
  return new undici.Agent({
    connections,
    // The time of a request is the caller's own: the policies end it through the signal.
    headersTimeout: 0,
    bodyTimeout: 0,
    connect: ({ hostname, port, protocol, servername }, done) => {
      const isSecure = protocol === 'https:';
      const address = { host: hostname, port: Number(port) || (isSecure ? 443 : 80) };
      const socket = guardedConnect(address, policy, resolve).setNoDelay(true);
      const tls = { socket, servername: servername ?? '', host: hostname, ALPNProtocols: ['http/1.1'] };
      const ready = isSecure ? tlsConnect({ ...tls, ...(ca !== undefined && { ca }) }) : socket;
      const fail = (error: Error) => {
        socket.destroy();
        done(error, null);
      };
      socket.once('error', fail);
      if (isSecure) ready.once('error', fail);
      ready.once(isSecure ? 'secureConnect' : 'connect', () => {
        // Undici listens from here on.
        socket.off('error', fail);
        ready.off('error', fail);
        done(null, ready);
      });
    },
  });
}

function unknownHost(host: string, cause: unknown): ConnectorError {
  return new ConnectorError('unavailable', `the address of ${host} could not be found`, { cause });
}
