import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';

/** What a connection through the proxy meets. Byte counts are of what the server answers, over the whole connection. */
export type Fault =
  | { readonly kind: 'none' }
  /** A reset as soon as the connection is made. */
  | { readonly kind: 'reset' }
  /** A reset after so many bytes of the answer. */
  | { readonly kind: 'resetAfter'; readonly bytes: number }
  /** An end that looks like any other, after so many bytes of the answer. */
  | { readonly kind: 'endAfter'; readonly bytes: number }
  /** The connection stays, and nothing more of the answer comes after so many bytes; 0 is a server that is silent. */
  | { readonly kind: 'stallAfter'; readonly bytes: number }
  /** What is sent to the server gets lost after so many bytes, as behind a half-open connection. */
  | { readonly kind: 'swallowAfter'; readonly bytes: number };

/** A way to a server on loopback that breaks on purpose. */
export type FaultProxy = {
  readonly host: string;
  readonly port: number;
  /** What connections meet from now on; those that are open are ended first. */
  meet(fault: Fault): void;
  /** Connections that are open now. */
  readonly open: () => number;
  /** Resolves when no connection is open. */
  readonly idle: () => Promise<void>;
  readonly close: () => Promise<void>;
};

/** A proxy on a free loopback port to another port of loopback; it breaks nothing until it is told. */
export async function faultProxy(to: { readonly host: string; readonly port: number }): Promise<FaultProxy> {
  let fault: Fault = { kind: 'none' };
  const sockets = new Set<Socket>();
  const server = createServer((near) => {
    if (fault.kind === 'reset') return void near.resetAndDestroy();
    const far = connect(to);
    sockets.add(near);
    // Either side may break at any moment: that is what this is for.
    near.on('error', () => {});
    far.on('error', () => {});
    near.once('close', () => {
      far.destroy();
      sockets.delete(near);
      if (sockets.size === 0) server.emit('idle');
    });
    far.once('close', () => near.destroySoon());
    forward(near, far, fault);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo; // a TCP server's address is never a pipe's name
  const end = (): void => {
    for (const socket of sockets) socket.destroy();
  };
  return {
    host: '127.0.0.1',
    port,
    meet(next) {
      end();
      fault = next;
    },
    open: () => sockets.size,
    async idle() {
      if (sockets.size > 0) await once(server, 'idle');
    },
    async close() {
      server.close();
      end();
      await once(server, 'close');
    },
  };
}

function forward(near: Socket, far: Socket, fault: Fault): void {
  let sent = 0;
  let answered = 0;
  near.on('data', (chunk: Buffer) => {
    sent += chunk.length;
    if (fault.kind === 'swallowAfter' && sent > fault.bytes) return;
    if (!far.write(chunk)) near.pause();
  });
  far.on('drain', () => near.resume());
  near.on('end', () => far.end());
  far.on('data', (chunk: Buffer) => {
    const room = 'bytes' in fault && fault.kind !== 'swallowAfter' ? fault.bytes - answered : chunk.length;
    answered += chunk.length;
    const passed = chunk.subarray(0, Math.max(0, room));
    if (passed.length > 0 && !near.write(passed)) far.pause();
    if (passed.length === chunk.length) return;
    if (fault.kind === 'resetAfter') near.resetAndDestroy();
    else if (fault.kind === 'endAfter') near.end();
  });
  near.on('drain', () => far.resume());
}
