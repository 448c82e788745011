/**
 * Functions behind HTTP: a call through the connector against bare `fetch` of the same address, in turns.
 * Run: node bench/functions-remote.ts [--quick]
 *
 * The servers run on this machine, beside the benchmark: node:http in a process of its own, and workerd.
 */
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { realWorkers } from '../src/drivers/serverless/cloudflare_workers/workers.fixture.ts';
import { ConnectorRegistry, type ServerlessConnector } from '../src/index.ts';
import { pairs, ratioRow } from './pairs.ts';
import { report, type Row } from './report.ts';

const QUICK = process.argv.includes('--quick');
const PAIRS = QUICK ? 1 : 9;
const CALLS = QUICK ? 100 : 2_000;
const CALLERS = 8;
const AT_LEAST = 0.85;

/** A platform with one function that answers its payload. */
type Platform = {
  readonly what: string;
  readonly functions: ServerlessConnector;
  readonly name: string;
  /** What bare `fetch` asks. */
  readonly url: string;
  close(): Promise<void>;
};

if (process.argv.includes('server')) serve();
else await main();

async function main(): Promise<void> {
  const registry = await ConnectorRegistry.open({
    drivers: {
      'serverless/http': () => import('../src/drivers/serverless/http/index.ts'),
      'serverless/cloudflare_workers': () => import('../src/drivers/serverless/cloudflare_workers/index.ts'),
    },
  });
  const rows: Row[] = [];
  try {
    for (const open of [openHttp, openSigned, openCloudflare]) {
      const platform = await open(registry);
      try {
        rows.push(...(await measured(platform)));
      } finally {
        await platform.functions.disconnect();
        await platform.close();
      }
    }
    report('functions-remote', rows);
  } finally {
    await registry.close();
  }
}

async function measured({ what, functions, name, url }: Platform): Promise<readonly Row[]> {
  const bare = async (n: number): Promise<unknown> => {
    const headers = { 'content-type': 'application/json' };
    const response = await fetch(url, { method: 'POST', headers, body: JSON.stringify({ n }) });
    return same(n, await response.json());
  };
  const ours = async (n: number) => same(n, (await functions.invoke(name, { n })).result);
  const inTurn = await pairs(
    PAIRS,
    () => calls(1, bare),
    () => calls(1, ours),
  );
  const atOnce = await pairs(
    PAIRS,
    () => calls(CALLERS, bare),
    () => calls(CALLERS, ours),
  );
  return [
    ratioRow(`${what}: one caller`, inTurn, AT_LEAST, CALLS, '/s'),
    ratioRow(`${what}: ${CALLERS} callers`, atOnce, AT_LEAST, CALLS, '/s'),
  ];
}

async function openHttp(registry: ConnectorRegistry): Promise<Platform> {
  const { url, close } = await echoServer();
  const config = { endpoint: url };
  const functions = await connector(registry, 'plain', 'http', config);
  return { what: 'http', functions, name: 'default', url, close };
}

async function openSigned(registry: ConnectorRegistry): Promise<Platform> {
  const { url, close } = await echoServer();
  const credentials = { api_key: 'a key', signing_secret: 'a secret that signs each call' };
  const functions = await connector(registry, 'signed', 'http', { endpoint: url, credentials });
  return { what: 'http, signed', functions, name: 'default', url, close };
}

async function openCloudflare(registry: ConnectorRegistry): Promise<Platform> {
  const { url, close } = await realWorkers();
  const endpoint = `${url}/functions/{name}`;
  const functions = await connector(registry, 'workers', 'cloudflare_workers', { endpoint });
  return { what: 'cloudflare_workers', functions, name: 'echo', url: `${url}/functions/echo`, close };
}

function connector(
  registry: ConnectorRegistry,
  name: string,
  provider: string,
  config: { readonly endpoint: string; readonly credentials?: Readonly<Record<string, string>> },
): Promise<ServerlessConnector> {
  return registry.createServerlessConnector({ tenantId: 'acme', name, provider, config });
}

/** `CALLS` calls, by so many callers. */
async function calls(callers: number, call: (n: number) => Promise<unknown>): Promise<void> {
  let n = 0;
  const caller = async () => {
    while (n < CALLS) await call(n++);
  };
  await Promise.all(Array.from({ length: callers }, caller));
}

function same(n: number, answer: unknown): unknown {
  if ((answer as { readonly n?: unknown } | null)?.n !== n) throw new Error('another call was answered');
  return answer;
}

/** A server in a process of its own, so that it takes no time from either side. */
async function echoServer(): Promise<{ readonly url: string; close(): Promise<void> }> {
  const child = fork(import.meta.filename, ['server']);
  const [port] = (await once(child, 'message')) as [number]; // what `serve` sends
  return {
    url: `http://127.0.0.1:${port}/echo`,
    async close() {
      child.kill();
      await once(child, 'exit');
    },
  };
}

function serve(): void {
  const server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      const body = Buffer.concat(chunks);
      response
        .writeHead(200, { 'content-type': 'application/json', 'content-length': body.length })
        .end(body);
    });
  });
  server.listen(0, '127.0.0.1', () => process.send?.((server.address() as AddressInfo).port)); // TCP: no pipe's name
}
