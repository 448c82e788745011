import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';

/** What stands between a process and its database. */
export type PostgresProxy = {
  /** The address of the database by way of this. */
  readonly url: string;
  /** Cuts the connection on which the server next says that it did `what` (`COMMIT`, `UPDATE 1`), in place of that answer. */
  loseAnswer(what: string): void;
  close(): Promise<void>;
};

/** @param asPooler names no process of the server to whoever connects, as poolers do. */
export async function postgresProxy(url: string, { asPooler = false } = {}): Promise<PostgresProxy> {
  const { hostname, port } = new URL(url);
  const sockets = new Set<Socket>();
  let lost: string | undefined;
  const server = createServer((client) => {
    const upstream = connect(Number(port), hostname);
    const cut = () => {
      for (const socket of [client, upstream]) {
        sockets.delete(socket);
        socket.destroy();
      }
    };
    for (const socket of [client, upstream])
      sockets.add(socket.setNoDelay(true).on('error', cut).on('close', cut));
    client.pipe(upstream);
    let rest = Buffer.alloc(0);
    upstream.on('data', (data) => {
      rest = Buffer.concat([rest, data]);
      // Each message: one byte of type, and four of a length that counts itself.
      while (rest.length >= 5 && rest.length > rest.readUInt32BE(1)) {
        const message = rest.subarray(0, rest.readUInt32BE(1) + 1);
        rest = rest.subarray(message.length);
        const type = message.toString('latin1', 0, 1);
        if (type === 'C' && message.toString('latin1', 5, message.length - 1) === lost) {
          lost = undefined;
          return cut();
        }
        if (asPooler && type === 'K') message.writeUInt32BE(1, 5);
        client.write(message);
      }
    });
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    url: Object.assign(new URL(url), { port: String((server.address() as AddressInfo).port) }).href,
    loseAnswer: (what) => (lost = what),
    async close() {
      for (const socket of sockets) socket.destroy();
      server.close();
      await once(server, 'close');
    },
  };
}
