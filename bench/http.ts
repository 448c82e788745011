/**
 * What HTTP costs: `GET connector` and `search` on the server, against the same operations on bare node:http.
 *
 *     node bench/http.ts [--quick]
 *
 * Both servers live in one child process, over one registry, and are asked in turn by a load generator in another. The
 * bare one does what the operation needs and no more: no key, no security headers, no log.
 */
import { execFile, fork } from 'node:child_process';
import { once } from 'node:events';
import { createServer, type IncomingMessage } from 'node:http';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { json } from 'node:stream/consumers';
import { ConnectorRegistry } from '../src/index.ts';
import { connectorGet } from '../src/operations/connector.ts';
import { runOperation } from '../src/operations/operation.ts';
import { vectorSearch } from '../src/operations/vector.ts';
import { startServer } from '../src/server/index.ts';
import { median } from './pairs.ts';
import { report } from './report.ts';

const DIMENSION = 384;
const RECORDS = 1_000;
const CONNECTIONS = 20;
const RUNS = 5;
const seconds = process.argv.includes('--quick') ? 1 : 4;

type Servers = {
  readonly product: string;
  readonly bare: string;
  readonly connectorId: string;
  readonly key: string;
};
type Load = { readonly url: string; readonly key: string; readonly body?: string };

if (process.argv.includes('--serve')) await serve();
else await measure();

async function measure(): Promise<void> {
  // Its log goes where it costs what writing costs, and no more.
  const child = fork(fileURLToPath(import.meta.url), ['--serve'], {
    stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
  });
  try {
    const [servers] = (await once(child, 'message')) as [Servers];
    const { connectorId, key } = servers;
    const body = JSON.stringify({ vector: vector(0), top_k: 10 });
    const get = await ratio((base) => ({ url: `${base}/api/v1/connectors/${connectorId}`, key }), servers);
    const search = await ratio(
      (base) => ({ url: `${base}/api/v1/connectors/${connectorId}/search`, key, body }),
      servers,
    );
    report('http', [
      ...rows('GET connector', get),
      ...rows(`search, ${RECORDS.toLocaleString('en-US')} × ${DIMENSION}, top 10`, search),
    ]);
  } finally {
    child.kill();
  }
}

type Ratio = { readonly product: number; readonly bare: number; readonly ratio: number };

/** Medians of runs that alternate between the two, so that whatever else the machine does meets both. */
async function ratio(load: (base: string) => Load, servers: Servers): Promise<Ratio> {
  await perSecond(load(servers.product), 1);
  await perSecond(load(servers.bare), 1);
  const runs: Ratio[] = [];
  for (let run = 0; run < RUNS; run++) {
    const product = await perSecond(load(servers.product), seconds);
    const bare = await perSecond(load(servers.bare), seconds);
    runs.push({ product, bare, ratio: product / bare });
  }
  return {
    product: median(runs.map((run) => run.product)),
    bare: median(runs.map((run) => run.bare)),
    ratio: median(runs.map((run) => run.ratio)),
  };
}

async function perSecond({ url, key, body }: Load, durationSeconds: number): Promise<number> {
  const generator = fileURLToPath(import.meta.resolve('autocannon'));
  const args = [
    generator,
    '-j',
    '-c',
    String(CONNECTIONS),
    '-d',
    String(durationSeconds),
    '-H',
    `authorization=Bearer ${key}`,
  ];
  if (body !== undefined) args.push('-m', 'POST', '-H', 'content-type=application/json', '-b', body);
  const { stdout } = await promisify(execFile)(process.execPath, [...args, url], { maxBuffer: 2 ** 24 });
  // What autocannon prints with -j.
  const result = JSON.parse(stdout) as { requests: { average: number }; non2xx: number; errors: number };
  if (result.non2xx > 0 || result.errors > 0)
    throw new Error(`${url}: ${result.non2xx} refused, ${result.errors} failed`);
  return result.requests.average;
}

function rows(what: string, { product, bare, ratio: found }: Ratio) {
  return [
    { what: `${what}: server`, figure: product, unit: 'requests/s' },
    {
      what: `${what}: bare node:http`,
      figure: bare,
      unit: 'requests/s',
      note: 'same operation; no key, headers, log',
    },
    { what: `${what}: server / bare`, figure: found, unit: 'ratio', target: '>= 0.6', ok: found >= 0.6 },
  ];
}

async function serve(): Promise<void> {
  const registry = await ConnectorRegistry.open();
  const connector = await registry.createVectorConnector({
    tenantId: 'bench',
    name: 'vectors',
    vectorDimension: DIMENSION,
  });
  await connector.upsertVectors(
    Array.from({ length: RECORDS }, (_, i) => ({ id: `r${i}`, values: vector(i), metadata: { i } })),
  );
  const { key } = await registry.keys.create({ tenantId: 'bench', role: 'operator' });
  const server = await startServer({ registry, port: 0 });
  const caller = { tenantId: 'bench', role: 'operator' } as const;
  const bare = createServer((request, response) => {
    void answer(request).then((output) => {
      const text = JSON.stringify(output);
      response.writeHead(200, {
        'content-type': 'application/json',
        'content-length': Buffer.byteLength(text),
      });
      response.end(text);
    });
  });
  async function answer(request: IncomingMessage): Promise<unknown> {
    const [, , , , connector_id] = (request.url ?? '').split('/');
    const context = { registry, caller, signal: new AbortController().signal };
    if (request.method === 'GET') return runOperation(connectorGet, context, { connector_id });
    const body = (await json(request)) as Readonly<Record<string, unknown>>;
    return runOperation(vectorSearch, context, { ...body, connector_id });
  }
  bare.listen(0, '127.0.0.1');
  await once(bare, 'listening');
  const address = bare.address();
  const port = typeof address === 'object' && address !== null ? address.port : 0;
  process.send?.({
    product: server.url,
    bare: `http://127.0.0.1:${port}`,
    connectorId: connector.connectorId,
    key,
  } satisfies Servers);
}

function vector(seed: number): number[] {
  return Array.from({ length: DIMENSION }, (_, i) => Math.sin(seed * 31 + i * 7 + 1));
}
