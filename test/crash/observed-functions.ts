import { once } from 'node:events';
import { createServer, type IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';
import { setTimeout as wait } from 'node:timers/promises';

/** Over what a row holds, so that it becomes a file. */
const LARGE_LENGTH = 300 * 1024;
const MAX_HALF_MS = 60;

/** One execution of a function, however its caller fares. */
export type Execution = {
  readonly requestId: string;
  readonly atMs: number;
  /** What it answers; given out before the answer is sent. */
  answer?: unknown;
};

/** What a function throws. */
export const thrownFor = (id: string) => ({ name: 'RangeError', message: `no ${id}` });

export type ObservedFunctions = {
  readonly url: string;
  /** By the id in the payload. */
  readonly executions: ReadonlyMap<string, readonly Execution[]>;
  /** Requests that are not what the driver promises to send. */
  readonly faults: readonly string[];
  close(): Promise<void>;
};

/**
 * Functions behind HTTP, in the process that survives: what they did is known whatever became of who called them.
 *
 * Each takes a while before and after it counts as executed, so that kills fall before, into and after it.
 */
export async function observedFunctions(): Promise<ObservedFunctions> {
  const executions = new Map<string, Execution[]>();
  const faults: string[] = [];
  let count = 0;

  const execute = async (request: IncomingMessage): Promise<readonly [number, unknown]> => {
    // What the driver sends is checked below.
    const { id } = JSON.parse(await text(request)) as { readonly id: string };
    const requestId = String(request.headers['x-request-id']);
    if (request.headers['idempotency-key'] !== `"${requestId}"`)
      faults.push(
        `${id}: Idempotency-Key is ${String(request.headers['idempotency-key'])} beside ${requestId}`,
      );
    await wait(Math.random() * MAX_HALF_MS);
    const execution: Execution = { requestId, atMs: performance.now() };
    const all = executions.get(id) ?? [];
    executions.set(id, [...all, execution]);
    await wait(Math.random() * MAX_HALF_MS);
    count += 1;
    const name = request.url?.slice(1);
    if (name === 'throws') return [500, (execution.answer = thrownFor(id))];
    const answer = { id, count, ...(name === 'large' && { padding: `${count}.`.repeat(LARGE_LENGTH / 2) }) };
    execution.answer = answer;
    return [200, answer];
  };

  const server = createServer((request, response) => {
    // A caller that is killed ends its connections: what was executed stays so.
    response.on('error', () => {});
    execute(request).then(
      ([status, answer]) => {
        response.writeHead(status, { 'content-type': 'application/json' });
        response.end(JSON.stringify(answer));
      },
      // Killed while it sent: nothing was executed.
      () => response.destroy(),
    );
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  // A TCP server's address is never a pipe's name.
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}`,
    executions,
    faults,
    async close() {
      const closed = once(server, 'close');
      server.close();
      server.closeAllConnections();
      await closed;
    },
  };
}
