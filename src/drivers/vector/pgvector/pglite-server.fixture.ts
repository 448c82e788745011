import { createServer, type AddressInfo } from 'node:net';
import { parentPort } from 'node:worker_threads';
import { PGlite } from '@electric-sql/pglite';
import { vector } from '@electric-sql/pglite-pgvector';
import { PGLiteSocketHandler } from '@electric-sql/pglite-socket';

/**
 * The thread that PostgreSQL runs in: tells its port, and ends at any message.
 *
 * The socket package's own server gives the one backend a message at a time, so the portals of two connections
 * overwrite each other, and their prepared statements have the same names. Its handler takes another queue, though:
 * this one runs all messages up to a Sync at once, keeps a transaction to its connection, and gives each connection
 * names of its own.
 */
const db = await PGlite.create({ extensions: { vector } });
const queue = sharedBackend(db);

const server = createServer((socket) => {
  // The type of the queue is a class with private fields; what is called of it is in `sharedBackend`.
  const handler = new PGLiteSocketHandler({ queryQueue: queue as never, closeOnDetach: true });
  void handler.attach(socket);
});
server.listen(0, '127.0.0.1', () => {
  const { port } = server.address() as AddressInfo; // a TCP server's address is never a pipe's name
  parentPort?.postMessage(port, []);
});
parentPort?.once('message', () => process.exit(0));

type Work = { readonly owner: number; readonly run: () => Promise<void> };

function sharedBackend(backend: PGlite) {
  const waiting: Work[] = [];
  const parts = new Map<number, Uint8Array[]>();
  let owner: number | undefined;
  let running = false;

  const next = async (): Promise<void> => {
    if (running) return;
    running = true;
    for (;;) {
      const at = owner === undefined ? 0 : waiting.findIndex((work) => work.owner === owner);
      const [work] = at < 0 ? [] : waiting.splice(at, 1);
      if (!work) break;
      await work.run();
      owner = backend.isInTransaction() ? work.owner : undefined;
    }
    running = false;
  };

  const exclusively = (id: number, task: () => Promise<unknown>): Promise<void> =>
    new Promise((resolve, reject) => {
      const run = () => task().then(() => resolve(), reject);
      waiting.push({ owner: id, run });
      void next();
    });

  return {
    async enqueue(id: number, message: Uint8Array, answer: (data: Uint8Array) => void): Promise<number> {
      const type = message.length < 5 || message[0] === 0 ? 'startup' : String.fromCharCode(message[0] ?? 0);
      if (type === 'X') return 0;
      const mine = parts.get(id) ?? [];
      parts.set(id, mine);
      mine.push(withOwnName(type, message, id));
      if ('PBDEC'.includes(type)) return 0;
      parts.delete(id);
      await exclusively(id, () => backend.execProtocolRawStream(Buffer.concat(mine), { onRawData: answer }));
      return 0;
    },
    clearQueueForHandler(id: number): void {
      parts.delete(id);
    },
    async clearTransactionIfNeeded(id: number): Promise<void> {
      if (owner !== id) return;
      await exclusively(id, () => backend.exec('ROLLBACK'));
    },
  };
}

/** The message with the name of its prepared statement made unique to the connection. */
function withOwnName(type: string, message: Uint8Array, id: number): Uint8Array {
  const bytes = Buffer.from(message);
  let start: number;
  if (type === 'P') start = 5;
  else if (type === 'B') start = bytes.indexOf(0, 5) + 1;
  else if ((type === 'D' || type === 'C') && bytes[5] === 'S'.charCodeAt(0)) start = 6;
  else return message;
  if (bytes[start] === 0) return message;
  const named = Buffer.concat([bytes.subarray(0, start), Buffer.from(`c${id}_`), bytes.subarray(start)]);
  named.writeInt32BE(named.length - 1, 1);
  return named;
}
