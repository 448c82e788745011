import { AsyncLocalStorage } from 'node:async_hooks';
import { lookup as systemLookup } from 'node:dns';
import { isIP, type Socket } from 'node:net';
import { connect as tlsConnect } from 'node:tls';
import type * as Undici from 'undici';
import type { Agent, RequestInit, Response } from 'undici';
import type { Fetcher, FetcherOptions, Network } from '../contract/network.ts';
import { ConnectorError, isConnectorError } from '../errors/error.ts';
import type { EgressPolicy } from './addresses.ts';
import { agents } from './agents.ts';
import {
  assertHostAllowed,
  CONNECTIONS,
  guardedConnect,
  guardedLookup,
  tooSlow,
  type Dialing,
  type Resolve,
} from './dialer.ts';

/** What is read of an answer as one at most: more than any page of a backend's has. */
const MAX_WHOLE_BYTES = 128 * 2 ** 20;

/**
 * The network as far as the policy lets a connector see it.
 *
 * A request may be given up while its connection is being made, which then nobody waits for: it ends after 10 seconds.
 */
export function network(
  policy: EgressPolicy,
  resolve: Resolve = systemLookup,
  connectTimeoutMs = 10_000,
): Network {
  const lookup = guardedLookup(policy, resolve);
  return {
    async resolve(host) {
      assertHostAllowed(host, policy);
      if (isIP(host) !== 0) return [host];
      return await new Promise<readonly string[]>((done, reject) => {
        lookup(host, { all: true }, (error, addresses) => {
          if (error) reject(isConnectorError(error) ? error : unknownHost(host, error));
          else done((addresses as { readonly address: string }[]).map(({ address }) => address));
        });
      });
    },
    connect: (to) => guardedConnect(to, policy, resolve),
    fetcher: (options) => fetcher({ policy, resolve, connectTimeoutMs }, options),
    agents: (options) => agents({ policy, resolve, connectTimeoutMs }, options),
  };
}

function fetcher(dialing: Dialing, options: FetcherOptions = {}): Fetcher {
  const signals = new AsyncLocalStorage<AbortSignal>();
  const unready = new Set<Socket>();
  // At first use: whoever has no remote backend does not pay for the package.
  let client: Promise<{ readonly agent: Agent; readonly send: typeof Undici.fetch }> | undefined;
  const open = async () => {
    const undici = await import('undici');
    return { agent: guardedAgent(undici, dialing, unready, options), send: undici.fetch };
  };
  const guarded = async (input: string | URL | Request, given: RequestInit = {}) => {
    const { agent, send } = await (client ??= open());
    const { url, init } = input instanceof Request ? await taken(input, given) : { url: input, init: given };
    assertHeaders(init.headers);
    const outer = signals.getStore();
    const signal = outer && init.signal ? AbortSignal.any([outer, init.signal]) : (init.signal ?? outer);
    const response = await send(url, {
      ...init,
      // A redirect would carry the credentials to wherever the backend points: it is refused, or shown as it is.
      redirect: init.redirect === 'manual' ? 'manual' : 'error',
      dispatcher: agent,
      ...(signal && { signal }),
    });
    return bounded(response);
  };
  return {
    // Undici's fetch is the one that Node's own is built from.
    fetch: guarded as never,
    during: (signal, task) => signals.run(signal, task),
    async close() {
      for (const socket of unready) socket.destroy();
      await (await client)?.agent.destroy();
    },
  };
}

/**
 * The answer, of which no more is read as one than there is room for. What is packed may unpack to a thousand times as
 * much, and what has no length need have no end. Whoever reads `body` bounds it himself.
 */
function bounded(response: Response): Response {
  const { headers } = response;
  const length = headers.get('content-length');
  if (length !== null && Number(length) <= MAX_WHOLE_BYTES && !headers.has('content-encoding'))
    return response;
  const bytes = async () => {
    const chunks: Uint8Array[] = [];
    let size = 0;
    for await (const chunk of response.body ?? []) {
      size += chunk.byteLength;
      if (size > MAX_WHOLE_BYTES) throw tooLong();
      chunks.push(chunk);
    }
    return new Uint8Array(Buffer.concat(chunks, size));
  };
  const text = async () => new TextDecoder().decode(await bytes());
  return Object.assign(response, {
    bytes,
    text,
    arrayBuffer: async () => (await bytes()).buffer,
    json: async (): Promise<unknown> => JSON.parse(await text()),
  });
}

/** Headers that can be sent: the error that undici would throw repeats the value, which may be a credential. */
function assertHeaders(headers: RequestInit['headers']): void {
  try {
    new Headers(headers);
  } catch {
    throw new ConnectorError(
      'invalid_argument',
      'a header, such as one made of a credential, holds a character that HTTP does not allow',
    );
  }
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
  { policy, resolve, connectTimeoutMs }: Dialing,
  unready: Set<Socket>,
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
      unready.add(socket);
      socket.once('close', () => unready.delete(socket));
      socket.setTimeout(connectTimeoutMs, () => fail(tooSlow(hostname)));
      socket.once('error', fail);
      if (isSecure) ready.once('error', fail);
      ready.once(isSecure ? 'secureConnect' : 'connect', () => {
        // Undici listens from here on.
        unready.delete(socket);
        socket.setTimeout(0);
        if (isSecure) socket.on('error', () => {}); // the TLS socket says it
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

function tooLong(): ConnectorError {
  return new ConnectorError(
    'backend_error',
    `the backend answered more than ${MAX_WHOLE_BYTES} bytes at once`,
    {
      details: { maxBytes: MAX_WHOLE_BYTES },
    },
  );
}
