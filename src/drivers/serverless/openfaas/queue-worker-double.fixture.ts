import { once } from 'node:events';
import { createServer, request, type IncomingHttpHeaders, type IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import { buffer } from 'node:stream/consumers';
import type { FunctionCallback } from '../../../driver.ts';
import type { GatewayDouble, Queued } from './gateway-double.fixture.ts';

const HOP_BY_HOP = new Set(['connection', 'keep-alive', 'transfer-encoding', 'content-length', 'host']);

/**
 * A double of the queue-worker: takes calls out of the double's queue one after the other, makes each over HTTP through the
 * gateway (`gateway_invoke`), and posts the end to the callback's address: all headers of the function's answer,
 * `X-Function-Status`, `X-Call-Id`, and `X-Duration-Seconds` where the watchdog said none. A post that fails is not tried again.
 *
 * `main` and `postResult` in https://github.com/openfaas/nats-queue-worker/blob/master/main.go (read 2026-11-28);
 * `X-Function-Name` is from https://docs.openfaas.com/reference/async/#callback-request-headers (read 2026-11-28).
 */
export async function work(gateway: GatewayDouble, deliveries = 1): Promise<readonly number[]> {
  const statuses: number[] = [];
  for (let queued = gateway.queue.shift(); queued; queued = gateway.queue.shift()) {
    const answer = await post(`${gateway.url}/function/${queued.path}`, queued.headers, queued.body);
    for (let times = 0; times < deliveries; times += 1) statuses.push(await report(queued, answer));
  }
  return statuses;
}

async function report({ callbackUrl, headers, path }: Queued, answer: Answer): Promise<number> {
  const posted = await post(
    callbackUrl,
    {
      'x-duration-seconds': '0.050000',
      ...answer.headers,
      'x-function-status': String(answer.status),
      'x-function-name': path,
      'x-call-id': String(headers['x-call-id']),
    },
    answer.body,
  );
  return posted.status;
}

type Answer = {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: Uint8Array;
};

async function post(url: string, headers: IncomingHttpHeaders, body: string | Uint8Array): Promise<Answer> {
  const kept = Object.entries(headers).filter(([name]) => !HOP_BY_HOP.has(name));
  const sending = request(url, { method: 'POST', headers: Object.fromEntries(kept), agent: false });
  sending.end(body);
  // The event has one argument, which is this.
  const [response] = (await once(sending, 'response')) as [IncomingMessage];
  return { status: response.statusCode ?? 0, headers: response.headers, body: await buffer(response) };
}

/** A server that takes callbacks as the registry's does: by an address that nobody else knows. */
export async function callbackServer(): Promise<{
  readonly url: string;
  readonly taken: readonly FunctionCallback[];
  readonly close: () => Promise<void>;
}> {
  const taken: FunctionCallback[] = [];
  const server = createServer((incoming, response) => {
    void buffer(incoming).then((body) => {
      const isOurs = incoming.method === 'POST' && incoming.url === '/callbacks/1?signature=worthless';
      const headers = Object.fromEntries(
        Object.entries(incoming.headers).map(([name, value]) => [name, [value].flat().join(', ')]),
      );
      if (isOurs) taken.push({ headers, body });
      response.writeHead(isOurs ? 204 : 404).end();
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo; // a TCP server's address is never a pipe's name
  return {
    url: `http://127.0.0.1:${port}/callbacks/1?signature=worthless`,
    taken,
    async close() {
      server.close();
      server.closeAllConnections();
      await once(server, 'close');
    },
  };
}
