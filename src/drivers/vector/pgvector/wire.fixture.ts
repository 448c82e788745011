import { once } from 'node:events';
import { createServer, type AddressInfo, type Socket } from 'node:net';
import { TLSSocket } from 'node:tls';

/** Where a session of PostgreSQL's protocol begins and then stops. */
export type WireServer = {
  readonly url: string;
  /** Resolves when a session has sent its first statement, which is never answered. */
  readonly asked: Promise<void>;
  /** Resolves with what a request to cancel named, and whether it came by TLS. */
  readonly cancelled: Promise<{
    readonly processId: number;
    readonly secretKey: number;
    readonly isSecure: boolean;
  }>;
  /** How many sessions there are. */
  sessions(): number;
  close(): Promise<void>;
};

export type WireBehaviour = {
  /** Speaks TLS with this certificate; otherwise it refuses TLS. */
  readonly tls?: { readonly cert: string; readonly key: string };
  /** Refuses to let anybody in, with this SQLSTATE. */
  readonly refuse?: { readonly code: string; readonly message: string };
  /** Asks for a password by SCRAM, as far as its first challenge. */
  readonly scram?: true;
};

export const BACKEND = { processId: 4711, secretKey: 20_261_125 };

/**
 * A double of the start of PostgreSQL's protocol, for what PGlite cannot do: TLS, refusals, and cancelling.
 * https://www.postgresql.org/docs/current/protocol-message-formats.html (read 2026-11-25)
 */
export async function startWire({ tls, refuse, scram }: WireBehaviour = {}): Promise<WireServer> {
  const asked = Promise.withResolvers<void>();
  const cancelled = Promise.withResolvers<Awaited<WireServer['cancelled']>>();
  const open = new Set<Socket>();
  let sessions = 0;

  const serve = (socket: Socket, isSecure: boolean): void => {
    socket.on('error', () => {});
    let isStarted = false;
    socket.on('data', (packet: Buffer) => {
      if (isStarted && scram) return void socket.write(message('R', Buffer.from([0, 0, 0, 11]), 'r=x'));
      if (isStarted) return asked.resolve();
      const code = packet.readInt32BE(4);
      if (code === 80_877_103) {
        socket.write(tls ? 'S' : 'N');
        if (!tls) return;
        socket.removeAllListeners('data');
        return serve(new TLSSocket(socket, { isServer: true, ...tls }), true);
      }
      if (code === 80_877_102) {
        cancelled.resolve({
          processId: packet.readInt32BE(8),
          secretKey: packet.readInt32BE(12),
          isSecure,
        });
        return void socket.end();
      }
      isStarted = true;
      sessions += 1;
      socket.once('close', () => (sessions -= 1));
      if (refuse) socket.end(message('E', `SFATAL\0VFATAL\0C${refuse.code}\0M${refuse.message}\0\0`));
      else if (scram) socket.write(message('R', Buffer.from([0, 0, 0, 10]), 'SCRAM-SHA-256\0\0'));
      else {
        const key = Buffer.alloc(8);
        key.writeInt32BE(BACKEND.processId, 0);
        key.writeInt32BE(BACKEND.secretKey, 4);
        socket.write(
          Buffer.concat([message('R', Buffer.alloc(4)), message('K', key), message('Z', Buffer.from('I'))]),
        );
      }
    });
  };

  const server = createServer((socket) => {
    open.add(socket);
    serve(socket, false);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo; // a TCP server's address is never a pipe's name
  return {
    url: `postgres://ada@127.0.0.1:${port}/books`,
    asked: asked.promise,
    cancelled: cancelled.promise,
    sessions: () => sessions,
    async close() {
      const closed = once(server, 'close');
      server.close();
      for (const socket of open) socket.destroy();
      await closed;
    },
  };
}

function message(type: string, ...parts: readonly (Buffer | string)[]): Buffer {
  const body = Buffer.concat(parts.map((part) => Buffer.from(part)));
  const head = Buffer.alloc(5);
  head.write(type);
  head.writeInt32BE(body.length + 4, 1);
  return Buffer.concat([head, body]);
}
