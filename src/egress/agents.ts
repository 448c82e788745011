import { Agent as HttpAgent, type AgentOptions } from 'node:http';
import { Agent as HttpsAgent } from 'node:https';
import type { Socket } from 'node:net';
import { connect as tlsConnect, type ConnectionOptions } from 'node:tls';
import type { Agents, FetcherOptions } from '../contract/network.ts';
import { CONNECTIONS, guardedConnect, tooSlow, type Dialing } from './dialer.ts';

/**
 * How long a connection is kept that no request uses. Node takes the server's own `Keep-Alive: timeout` where that is
 * shorter, less a second, and only if there is a limit at all: without one, a request can meet a connection that its
 * server is just closing, and a stream that is being sent cannot be sent again.
 */
const IDLE_MS = 60_000;

/** Agents whose every connection is made to an address that passed the policy. */
export function agents(dialing: Dialing, { ca, connections = CONNECTIONS }: FetcherOptions = {}): Agents {
  const options: AgentOptions = {
    ...{ keepAlive: true, maxSockets: connections, scheduling: 'lifo' },
    timeout: IDLE_MS,
  };
  const open = new Set<Socket>();
  const dial = (to: { readonly host: string; readonly port: number }): Socket => {
    const socket = guardedConnect(to, dialing.policy, dialing.resolve).setNoDelay(true);
    open.add(socket);
    socket.once('close', () => open.delete(socket));
    return socket;
  };
  const http = new HttpAgent(options);
  http.createConnection = (given) => {
    const socket = dial(addressOf(given));
    return inTime(socket, 'connect', socket, dialing, given);
  };
  const https = new HttpsAgent(options);
  https.createConnection = (given: ConnectionOptions) => {
    const socket = dial(addressOf(given));
    const secure = tlsConnect({ ...given, socket, ...(ca !== undefined && { ca }) });
    // Before the handshake the TLS socket hears nothing of what becomes of the one below it.
    socket.once('error', (error) => secure.destroy(error));
    return inTime(secure, 'secureConnect', socket, dialing, given);
  };
  return {
    http,
    https,
    close() {
      http.destroy();
      https.destroy();
      for (const socket of open) socket.destroy();
    },
  };
}

type Given = {
  readonly host?: string | null | undefined;
  readonly port?: string | number | null | undefined;
};

function addressOf({ host, port }: Given): { readonly host: string; readonly port: number } {
  return { host: host ?? 'localhost', port: Number(port) };
}

/** The socket, which fails unless it is ready in time; what comes after is the request's own time. */
function inTime<S extends Socket>(
  ready: S,
  event: 'connect' | 'secureConnect',
  socket: Socket,
  { connectTimeoutMs }: Dialing,
  { host }: Given,
): S {
  const onTimeout = (): void => void ready.destroy(tooSlow(host ?? ''));
  socket.setTimeout(connectTimeoutMs, onTimeout);
  ready.once(event, () => {
    socket.off('timeout', onTimeout);
    socket.setTimeout(0);
  });
  return ready;
}
