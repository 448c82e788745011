import { mkdtempSync, rmSync } from 'node:fs';
import { createSecureServer, createServer, type Http2Server, type ServerHttp2Stream } from 'node:http2';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { inspect } from 'node:util';
import { afterAll, afterEach, describe, expect, it } from 'vitest';
import { ConnectorError, isConnectorError } from '../../../driver.ts';
import { egressPolicy } from '../../../egress/addresses.ts';
import { network } from '../../../egress/network.ts';
import { NEVER } from '../../../policies/pipeline.ts';
import { selfSignedCertificate } from '../../../testing/certificate.fixture.ts';
import {
  blackHole,
  closedPort,
  garbage,
  nonsense,
  selfSigned,
  statusServer,
} from '../../../testing/faulty-servers.fixture.ts';
import { vectorContext } from '../../../testing/vector-suite.ts';
import { grpcChannel, type GrpcChannel } from './grpc.ts';
import driver from './index.ts';
import { weaviateDouble } from './weaviate.fixture.ts';

const KEY = 'a-key-that-nobody-may-see';
const scratch = mkdtempSync(path.join(tmpdir(), 'weaviate-faults-'));
afterAll(() => rmSync(scratch, { recursive: true, force: true }));
const opened: { close(): unknown }[] = [];
afterEach(async () => {
  for (const one of opened.splice(0).toReversed()) await one.close();
});
const during = <T extends { close(): unknown }>(one: T): T => {
  opened.push(one);
  return one;
};
const base = vectorContext(scratch, 3, 'cosine');

async function failure(
  options: Readonly<Record<string, string>>,
  context: Partial<typeof base> = {},
): Promise<ConnectorError> {
  const opening = driver.open(driver.options.parse({ api_key: KEY, ...options }), { ...base, ...context });
  const error: unknown = await opening.then(
    (client) => client.close().then(() => undefined),
    (thrown: unknown) => thrown,
  );
  if (!isConnectorError(error)) throw new Error('it was opened', { cause: error });
  expect(inspect(error, { depth: 10 })).not.toContain(KEY);
  return error;
}

describe('the REST API', () => {
  it.each([
    ['that nobody listens at', closedPort, 'unavailable', 'ECONNREFUSED'],
    ['whose certificate nobody vouches for', selfSigned, 'unavailable', 'TLS'],
  ])('%s', async (_what, start, code, words) => {
    const { url } = during(await start());
    const grpc = during(await closedPort());
    const error = await failure({ endpoint: url, grpc_endpoint: grpc.url });
    expect(error).toMatchObject({ code });
    expect(error.message).toContain(words);
  });

  it.each([
    ['nonsense', nonsense, 'backend_error'],
    ['noise', garbage, 'backend_error'],
    ['401', () => statusServer(401, { error: [{ message: 'no' }] }), 'auth_failed'],
    ['403', () => statusServer(403, { error: [{ message: 'no' }] }), 'permission_denied'],
    ['503', () => statusServer(503), 'unavailable'],
    ['429 with a time', () => statusServer(429, '', { 'retry-after': '7' }), 'rate_limited'],
  ])('that answers %s beside a gRPC API that is well', async (_what, start, code) => {
    const double = during(await weaviateDouble());
    const { url } = during(await start());
    const error = await failure({ endpoint: url, grpc_endpoint: double.grpcEndpoint });
    expect(error).toMatchObject({ code, ...(code === 'rate_limited' && { retryAfterMs: 7_000 }) });
  });
});

describe('the gRPC API', () => {
  it.each([
    ['that nobody listens at', closedPort, 'unavailable'],
    ['that speaks HTTP/1', nonsense, 'backend_error'],
    ['that is noise', garbage, 'backend_error'],
    ['whose certificate nobody vouches for', selfSigned, 'unavailable'],
  ])('%s', async (_what, start, code) => {
    const double = during(await weaviateDouble());
    const { url } = during(await start());
    const error = await failure({ endpoint: double.endpoint, grpc_endpoint: url });
    expect(error).toMatchObject({ code });
    expect(error.message).toContain('grpc_endpoint');
    if (url.startsWith('https')) expect(error.message).toContain('TLS');
  });

  it.each(['http', 'https'])(
    'at a private %s address is denied, though the endpoint is allowed',
    async (scheme) => {
      const double = during(await weaviateDouble());
      const allowed = network(egressPolicy({ allowPrivate: true }));
      const strict = network(egressPolicy({ allowPrivate: false }));
      const mixed = {
        ...allowed,
        connect: (to: { readonly host: string; readonly port: number }) =>
          (double.endpoint.endsWith(`:${to.port}`) ? allowed : strict).connect(to),
      };
      const grpc = double.grpcEndpoint.replace('http', scheme);
      const error = await failure({ endpoint: double.endpoint, grpc_endpoint: grpc }, { network: mixed });
      expect(error).toMatchObject({ code: 'egress_denied' });
    },
  );

  it('that nobody listens at by TLS is unavailable', async () => {
    const double = during(await weaviateDouble());
    const { url } = during(await closedPort());
    const error = await failure({ endpoint: double.endpoint, grpc_endpoint: url.replace('http', 'https') });
    expect(error).toMatchObject({ code: 'unavailable', details: { backend_code: 'ECONNREFUSED' } });
  });
});

describe('opening', () => {
  it('with a wrong key is refused', async () => {
    const double = during(await weaviateDouble({ apiKey: 'another' }));
    const error = await failure({ endpoint: double.endpoint, grpc_endpoint: double.grpcEndpoint });
    expect(error).toMatchObject({ code: 'auth_failed' });
  });

  it.each(['REST', 'gRPC'])('ends with the reason of the signal where %s never answers', async (which) => {
    const double = during(await weaviateDouble());
    const hole = during(await blackHole());
    const ending = new AbortController();
    const reason = new ConnectorError('timeout', 'no connection within 5 ms');
    const options =
      which === 'REST'
        ? { endpoint: hole.url, grpc_endpoint: double.grpcEndpoint }
        : { endpoint: double.endpoint, grpc_endpoint: hole.url };
    const failing = failure(options, {
      signal: ending.signal,
      stage: (name, step) => {
        // The connection is made by then, and the answer to it is what is waited for.
        if (name === 'credentials') setImmediate(() => ending.abort(reason));
        return step();
      },
    });
    expect(await failing).toBe(reason);
  });

  it('goes through the stages that a person sees, in their order', async () => {
    const double = during(await weaviateDouble());
    const stages: string[] = [];
    const context = {
      ...base,
      stage: <T>(name: string, step: () => Promise<T>) => {
        stages.push(name);
        return step();
      },
    };
    const options = { endpoint: double.endpoint, grpc_endpoint: double.grpcEndpoint };
    during(await driver.open(driver.options.parse(options), context));
    expect(stages).toEqual(['address', 'connect', 'credentials', 'collection']);
  });
});

it('tells that a key was revoked, to the calls that come later', async () => {
  const options = { apiKey: KEY };
  const double = during(await weaviateDouble(options));
  const client = during(
    await driver.open(
      driver.options.parse({ endpoint: double.endpoint, grpc_endpoint: double.grpcEndpoint, api_key: KEY }),
      base,
    ),
  );
  expect(await client.count(undefined, NEVER)).toBe(0);
  options.apiKey = 'another';
  await expect(client.count(undefined, NEVER)).rejects.toMatchObject({ code: 'auth_failed' });
  await expect(client.upsert([{ id: 'a', values: [1, 1, 1] }], NEVER)).rejects.toMatchObject({
    code: 'auth_failed',
  });
});

describe('a gRPC channel', () => {
  const channel = async (server: Http2Server, ca?: string): Promise<GrpcChannel> => {
    const { promise, resolve } = Promise.withResolvers<void>();
    server.listen(0, '127.0.0.1', resolve);
    await promise;
    const { port } = server.address() as AddressInfo;
    const sessions = new Set<{ destroy(): void }>();
    server.on('session', (session) => sessions.add(session));
    const made = grpcChannel(
      { network: base.network, clock: base.clock },
      { host: '127.0.0.1', port, ...(ca !== undefined && { tls: { ca } }) },
      { authorization: `Bearer ${KEY}` },
    );
    opened.push({
      close() {
        made.close();
        for (const session of sessions) session.destroy();
        server.close();
      },
    });
    return made;
  };
  const GRPC = { ':status': 200, 'content-type': 'application/grpc' } as const;
  const answering = (answer: (stream: ServerHttp2Stream) => void) => {
    const server = createServer();
    server.on('stream', (stream) => {
      stream.on('error', () => {});
      stream.resume().once('end', () => answer(stream));
    });
    return channel(server);
  };
  const frame = Buffer.from([0, 0, 0, 0, 2, 8, 1]);
  const whole = (stream: ServerHttp2Stream, body = frame) => {
    stream.respond(GRPC, { waitForTrailers: true });
    stream.once('wantTrailers', () => stream.sendTrailers({ 'grpc-status': '0' }));
    stream.end(body);
  };
  const ask = (grpc: GrpcChannel, signal = NEVER) => grpc.call('/a.B/C', Buffer.of(1, 2, 3), signal);

  it('reads one message', async () => {
    const grpc = await answering((stream) => whole(stream));
    expect(await ask(grpc)).toEqual(Buffer.of(8, 1));
  });

  it('speaks TLS to whom the certificate given vouches for', async () => {
    const { cert, key } = selfSignedCertificate();
    const server = createSecureServer({ cert, key });
    server.on('stream', (stream) => whole(stream));
    expect(await ask(await channel(server, cert))).toEqual(Buffer.of(8, 1));
  });

  it.each([
    ['5', 'not_found'],
    ['7', 'permission_denied'],
    ['8', 'rate_limited'],
    ['14', 'unavailable'],
    ['16', 'auth_failed'],
    ['2', 'backend_error'],
  ])('makes %s a failure of its own, with the words that came', async (status, code) => {
    const grpc = await answering((stream) =>
      stream.respond({ ...GRPC, 'grpc-status': status, 'grpc-message': 'so%20%C3%BC' }, { endStream: true }),
    );
    await expect(ask(grpc)).rejects.toMatchObject({ code, message: 'the backend answered: so ü' });
  });

  it.each([
    [
      'no status',
      (stream: ServerHttp2Stream) => {
        stream.respond(GRPC);
        stream.end(frame);
      },
    ],
    ['another type', (stream: ServerHttp2Stream) => stream.respond({ ':status': 200 }, { endStream: true })],
    ['half a message', (stream: ServerHttp2Stream) => whole(stream, frame.subarray(0, 6))],
    ['two messages', (stream: ServerHttp2Stream) => whole(stream, Buffer.concat([frame, frame]))],
    [
      'a compressed message',
      (stream: ServerHttp2Stream) => whole(stream, Buffer.from([1, 0, 0, 0, 2, 8, 1])),
    ],
    ['nothing at all', (stream: ServerHttp2Stream) => whole(stream, Buffer.alloc(0))],
  ])('takes %s for nonsense', async (_what, answer) => {
    const grpc = await answering(answer);
    await expect(ask(grpc)).rejects.toMatchObject({ code: 'backend_error' });
  });

  it('makes the status of a proxy in between a failure', async () => {
    const grpc = await answering((stream) =>
      stream.respond({ ':status': 429, 'retry-after': '3' }, { endStream: true }),
    );
    await expect(ask(grpc)).rejects.toMatchObject({ code: 'rate_limited', retryAfterMs: 3_000 });
  });

  it('connects again after the connection was lost, and fails the calls on it as unavailable', async () => {
    let calls = 0;
    const grpc = await answering((stream) => {
      calls += 1;
      if (calls === 2) stream.session?.destroy();
      else whole(stream);
    });
    await ask(grpc);
    await expect(ask(grpc)).rejects.toMatchObject({ code: 'unavailable' });
    expect(await ask(grpc)).toEqual(Buffer.of(8, 1));
  });

  it('goes to another connection when the server says that it goes away', async () => {
    const sessions = new Set<unknown>();
    const grpc = await answering((stream) => {
      sessions.add(stream.session);
      whole(stream);
      if (sessions.size === 1) stream.session?.goaway();
    });
    await ask(grpc);
    await ask(grpc);
    expect(sessions.size).toBe(2);
  });

  it('goes to another connection after a call on this one was not answered in time', async () => {
    const sessions = new Set<unknown>();
    const grpc = await answering((stream) => {
      sessions.add(stream.session);
      if (sessions.size > 1) return whole(stream);
      ending.abort(new ConnectorError('timeout', 'too late'));
    });
    const ending = new AbortController();
    await expect(ask(grpc, ending.signal)).rejects.toMatchObject({ code: 'timeout' });
    expect(await ask(grpc)).toEqual(Buffer.of(8, 1));
    expect(sessions.size).toBe(2);
  });

  it('takes a call back that was given up, and goes on with the others', async () => {
    const reset = Promise.withResolvers<number | undefined>();
    const seen = Promise.withResolvers<void>();
    let calls = 0;
    const grpc = await answering((stream) => {
      calls += 1;
      if (calls > 1) return whole(stream);
      stream.once('close', () => reset.resolve(stream.rstCode));
      seen.resolve();
    });
    const ending = new AbortController();
    const given = ask(grpc, ending.signal);
    await seen.promise;
    const reason = new ConnectorError('cancelled', 'not wanted any more');
    ending.abort(reason);
    await expect(given).rejects.toBe(reason);
    expect(await reset.promise).toBe(8);
    expect(await ask(grpc)).toEqual(Buffer.of(8, 1));
  });
});
