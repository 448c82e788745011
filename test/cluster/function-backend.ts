/**
 * Functions behind HTTP in a process of their own, which counts what they do: whatever a server says or stores, this is
 * how often a function ran.
 *
 * `POST /NAME` with `{ id, ms }` runs for so long and answers `{ id, run, authorization }`, where no two runs have the
 * same number. `GET /runs` answers all of them, by the id in the payload. Prints its port once it listens.
 */
import { createServer } from 'node:http';
import { json } from 'node:stream/consumers';
import { setTimeout as wait } from 'node:timers/promises';

/** One run of a function, however its caller fares. */
export type Run = { readonly run: number; readonly requestId: string; readonly atMs: number };
/** By the id in the payload. */
export type Runs = Readonly<Record<string, readonly Run[]>>;

if (import.meta.main) {
  const runs: Record<string, Run[]> = {};
  let count = 0;
  const server = createServer((request, response) => {
    response.on('error', () => {});
    const answer = (status: number, body: unknown) => {
      response.writeHead(status, { 'content-type': 'application/json' });
      response.end(JSON.stringify(body));
    };
    if (request.method === 'GET') {
      answer(200, runs);
      return;
    }
    const run = async () => {
      // Only the suite's own payloads come here.
      const { id, ms } = (await json(request)) as { readonly id: string; readonly ms: number };
      const requestId = String(request.headers['x-request-id']);
      count += 1;
      const one: Run = { run: count, requestId, atMs: Date.now() };
      (runs[id] ??= []).push(one);
      await wait(ms);
      answer(200, { id, run: one.run, authorization: request.headers.authorization ?? null });
    };
    // Whoever is killed while it sends has run nothing.
    run().catch(() => response.destroy());
  });
  server.keepAliveTimeout = 60_000;
  server.listen(0, '127.0.0.1', () => {
    const address = server.address();
    console.log(typeof address === 'object' ? address?.port : address);
  });
}
