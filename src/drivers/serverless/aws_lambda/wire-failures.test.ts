import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import type { ErrorCode } from '../../../driver.ts';
import { egressPolicy } from '../../../egress/addresses.ts';
import { network } from '../../../egress/network.ts';
import { testClock } from '../../../testing/clock.ts';
import { faultProxy } from '../../../testing/fault-proxy.fixture.ts';
import {
  blackHole,
  closedPort,
  garbage,
  nonsense,
  selfSigned,
  statusServer,
} from '../../../testing/faulty-servers.fixture.ts';
import { errorAnswer, errorNames, writeError } from './model.fixture.ts';
import { CALL, closing, failure, NEVER } from './wire-clients.fixture.ts';
import {
  answers,
  besidesListing,
  clientTo,
  KEY,
  NO_FUNCTIONS,
  SECRET,
  tells,
  type Answering,
} from './wire.fixture.ts';

const { later, lambda, opened } = closing();

/** Each error of the commands in use: what it is here, and whether the function may have been reached. */
const MEANT: Readonly<Record<string, readonly [ErrorCode, 'unsent' | 'perhaps']>> = {
  CodeArtifactUserDeletedException: ['backend_error', 'unsent'],
  CodeArtifactUserFailedException: ['backend_error', 'unsent'],
  CodeArtifactUserPendingException: ['unavailable', 'unsent'],
  DurableExecutionAlreadyStartedException: ['conflict', 'unsent'],
  EC2AccessDeniedException: ['backend_error', 'unsent'],
  EC2ThrottledException: ['unavailable', 'unsent'],
  EC2UnexpectedException: ['unavailable', 'unsent'],
  EFSIOException: ['backend_error', 'perhaps'],
  EFSMountConnectivityException: ['unavailable', 'unsent'],
  EFSMountFailureException: ['backend_error', 'unsent'],
  EFSMountTimeoutException: ['unavailable', 'unsent'],
  ENILimitReachedException: ['backend_error', 'unsent'],
  ENINotReadyException: ['unavailable', 'unsent'],
  InvalidParameterValueException: ['invalid_argument', 'unsent'],
  InvalidRequestContentException: ['invalid_argument', 'unsent'],
  InvalidRuntimeException: ['backend_error', 'unsent'],
  InvalidSecurityGroupIDException: ['backend_error', 'unsent'],
  InvalidSubnetIDException: ['backend_error', 'unsent'],
  InvalidZipFileException: ['backend_error', 'unsent'],
  KMSAccessDeniedException: ['backend_error', 'unsent'],
  KMSDisabledException: ['backend_error', 'unsent'],
  KMSInvalidStateException: ['backend_error', 'unsent'],
  KMSNotFoundException: ['backend_error', 'unsent'],
  ModeNotSupportedException: ['backend_error', 'unsent'],
  NoPublishedVersionException: ['backend_error', 'unsent'],
  RecursiveInvocationException: ['backend_error', 'unsent'],
  RequestTooLargeException: ['payload_too_large', 'unsent'],
  ResourceConflictException: ['unavailable', 'unsent'],
  ResourceNotFoundException: ['not_found', 'unsent'],
  ResourceNotReadyException: ['unavailable', 'unsent'],
  S3FilesMountConnectivityException: ['unavailable', 'unsent'],
  S3FilesMountFailureException: ['backend_error', 'unsent'],
  S3FilesMountTimeoutException: ['unavailable', 'unsent'],
  SerializedRequestEntityTooLargeException: ['payload_too_large', 'unsent'],
  ServiceException: ['unavailable', 'perhaps'],
  ServiceQuotaExceededException: ['backend_error', 'unsent'],
  SnapStartException: ['backend_error', 'perhaps'],
  SnapStartNotReadyException: ['unavailable', 'unsent'],
  SnapStartRegenerationFailureException: ['backend_error', 'unsent'],
  SnapStartTimeoutException: ['unavailable', 'unsent'],
  SubnetIPAddressLimitReachedException: ['backend_error', 'unsent'],
  TooManyRequestsException: ['rate_limited', 'unsent'],
  UnsupportedMediaTypeException: ['invalid_argument', 'unsent'],
};

describe('an error of the model', () => {
  it('is known, each that the reference of a command in use names', async () => {
    const { url } = import.meta;
    const reference = '../../../../node_modules/@aws-sdk/client-lambda/dist-types/commands/';
    const named = new Set<string>();
    for (const command of [
      'Invoke',
      'ListFunctions',
      'GetFunctionConfiguration',
      'GetDurableExecution',
      'StopDurableExecution',
    ]) {
      const text = await readFile(fileURLToPath(new URL(`${reference}${command}Command.d.ts`, url)), 'utf8');
      for (const [, name = ''] of text.matchAll(/@throws \{@link (\w+)\}/g)) named.add(name);
    }
    named.delete('LambdaServiceException');
    expect([...named].toSorted()).toEqual(Object.keys(MEANT).toSorted());
    expect(errorNames()).toEqual(expect.arrayContaining([...named]));
  });

  it.each(Object.entries(MEANT))(
    '%s is %s of ours, with its words and without a secret',
    async (name, [code, sent]) => {
      const fields = name === 'TooManyRequestsException' ? ['message'] : ['Message', 'message'];
      // Some have their words in capitals.
      const spelled = fields.find((field) => {
        try {
          return writeError(name, { [field]: '' }) !== undefined;
        } catch {
          return false;
        }
      });
      const said = { [spelled ?? '']: `see ${SECRET}` };
      const { client, server } = await opened(besidesListing(() => writeError(name, said)));
      const error = await failure(client.invoke('f', 1, CALL, NEVER));
      expect(error).toMatchObject({
        code,
        details: { backend_code: name, ...(sent === 'unsent' && { sent: false }) },
      });
      if (sent === 'perhaps') expect(error).not.toHaveProperty('details.sent');
      if (code !== 'not_found') expect(error).toMatchObject({ message: expect.stringContaining('see ***') });
      // `GetFunctionConfiguration` asks whether a refused parameter was the bare name of a durable function.
      expect(server.of('Invoke')).toHaveLength(1);
    },
  );

  it('TooManyRequestsException has the time that Lambda names, and which limit it was', async () => {
    const { client } = await opened(
      besidesListing(() => {
        const { headers, ...rest } = writeError('TooManyRequestsException', {
          Reason: 'ReservedFunctionConcurrentInvocationLimitExceeded',
        });
        return { ...rest, headers: { ...headers, 'retry-after': '7' } };
      }),
    );
    expect(await failure(client.invoke('f', 1, CALL, NEVER))).toMatchObject({
      code: 'rate_limited',
      retryAfterMs: 7000,
      details: { reason: 'ReservedFunctionConcurrentInvocationLimitExceeded', sent: false },
    });
  });
});

describe('an answer of AWS', () => {
  it.each([
    [403, 'AccessDeniedException', 'permission_denied', false],
    [403, 'UnrecognizedClientException', 'auth_failed', false],
    [403, 'InvalidSignatureException', 'auth_failed', false],
    [403, 'ExpiredTokenException', 'auth_failed', false],
    [400, 'IncompleteSignatureException', 'auth_failed', false],
    [413, 'RequestEntityTooLargeException', 'payload_too_large', false],
    [400, 'ThrottlingException', 'rate_limited', undefined],
    [400, 'SomethingNew', 'backend_error', undefined],
    [500, 'InternalFailure', 'unavailable', undefined],
    [503, 'ServiceUnavailable', 'unavailable', undefined],
  ])('%i %s is %s', async (status, name, code, sent) => {
    const { client } = await opened(
      besidesListing(() => errorAnswer(status, name, { message: `see ${SECRET}` })),
    );
    const error = await failure(client.invoke('f', 1, CALL, NEVER));
    expect(error).toMatchObject({ code, details: { backend_status: status, backend_code: name } });
    expect((error as { details: { sent?: boolean } }).details.sent).toBe(sent);
  });

  it('to a clock that is wrong is unavailable once, and is answered by the right time from then on', async () => {
    const anHour = 3_600_000;
    let calls = 0;
    const { client, server } = await opened(
      besidesListing(() => {
        const date = new Date(Date.now() + anHour).toUTCString();
        const answer = calls++ === 0 ? errorAnswer(403, 'InvalidSignatureException') : answers(1);
        return { ...answer, headers: { ...answer.headers, date } };
      }),
    );
    expect(await failure(client.invoke('f', 1, CALL, NEVER))).toMatchObject({
      code: 'unavailable',
      details: { sent: false },
    });
    expect(await client.invoke('f', 1, CALL, NEVER)).toMatchObject({ result: 1 });
    const [, { headers } = { headers: {} as Record<string, string> }] = server.of('Invoke');
    const [, day, time] = /^(\d{8})T(\d{6})Z$/.exec(String(headers['x-amz-date'])) ?? [];
    const signed = `${day}${time}`.replace(/(....)(..)(..)(..)(..)(..)/, '$1-$2-$3T$4:$5:$6Z');
    expect(Math.abs(Date.parse(signed) - Date.now() - anHour)).toBeLessThan(60_000);
  });

  it('that is a redirect is not followed', async () => {
    const elsewhere = await statusServer(200, {});
    later(() => elsewhere.close());
    const { client } = await opened(
      besidesListing(() => ({ status: 307, headers: { location: elsewhere.url }, body: Buffer.alloc(0) })),
    );
    expect(await failure(client.invoke('f', 1, CALL, NEVER))).toMatchObject({ code: 'backend_error' });
    expect(elsewhere.connections()).toBe(0);
  });

  it('that is larger than a result may be is read no further', async () => {
    const { client, server } = await opened(
      besidesListing((_call, response) => {
        const chunk = Buffer.alloc(2 ** 20, '1');
        const more = (): void => void response.write(chunk, () => response.destroyed || more());
        response.writeHead(200);
        more();
        return undefined;
      }),
    );
    expect(await failure(client.invoke('f', 1, CALL, NEVER))).toMatchObject({
      code: 'payload_too_large',
      details: { limitBytes: 6_291_556 },
    });
    await server.idle();
  });
});

describe('opening', () => {
  const stagesOf = () => {
    const stages: string[] = [];
    return { stages, stage: <T>(name: string, step: () => Promise<T>) => (stages.push(name), step()) };
  };

  it('proves the address, the connection and the credentials, in this order', async () => {
    const server = await lambda(NO_FUNCTIONS);
    const { stages, stage } = stagesOf();
    const client = await clientTo(server.url, {}, { stage });
    later(() => client.close());
    expect(stages).toEqual(['address', 'connect', 'credentials']);
    expect(server.calls.map(({ operation, input }) => [operation, input])).toEqual([
      ['ListFunctions', { MaxItems: 1 }],
    ]);
  });

  it('fails where nobody listens, at the stage connect, and says that nothing was sent', async () => {
    const { stages, stage } = stagesOf();
    const closed = await closedPort();
    expect(await failure(clientTo(closed.url, {}, { stage }))).toMatchObject({
      code: 'unavailable',
      details: { sent: false },
    });
    expect(stages).toEqual(['address', 'connect']);
  });

  it('fails where the certificate is not trusted, and not where it is', async () => {
    const stranger = await selfSigned();
    later(() => stranger.close());
    expect(await failure(clientTo(stranger.url))).toMatchObject({
      code: 'unavailable',
      message: expect.stringContaining('TLS'),
    });
    const server = await lambda(NO_FUNCTIONS, { tls: true });
    const client = await clientTo(server.url, { ca: server.certificate });
    later(() => client.close());
    expect(await client.check(NEVER)).toEqual([]);
  });

  it('ends with its signal where the server is silent, and leaves no connection', async () => {
    const silent = await blackHole();
    later(() => silent.close());
    const ending = new AbortController();
    const opening = failure(clientTo(silent.url, {}, { signal: ending.signal }));
    await silent.connected();
    ending.abort();
    expect(await opening).toMatchObject({ code: 'cancelled' });
    await silent.idle();
  });

  it('fails at the credentials where what answers is not Lambda', async () => {
    for (const [server, code] of [
      [await nonsense(), 'backend_error'],
      [await garbage(), 'backend_error'],
      [await statusServer(401, { message: SECRET }), 'auth_failed'],
      [await statusServer(403, `<h1>no ${SECRET}</h1>`), 'permission_denied'],
      [await statusServer(503), 'unavailable'],
    ] as const) {
      later(() => server.close());
      expect(await failure(clientTo(server.url))).toMatchObject({ code });
      await server.idle();
    }
  });

  it('may not reach a machine of the house without leave', async () => {
    const server = await lambda(NO_FUNCTIONS);
    const guarded = network(egressPolicy({ allowPrivate: false }));
    expect(await failure(clientTo(server.url, {}, { network: guarded }))).toMatchObject({
      code: 'egress_denied',
    });
    expect(server.calls).toEqual([]);
  });

  it('fails with an unknown key, a wrong secret and another region as auth_failed', async () => {
    const server = await lambda(NO_FUNCTIONS);
    for (const wrong of [{ access_key_id: 'nobody' }, { secret_access_key: 'x' }, { region: 'eu-west-1' }])
      expect(await failure(clientTo(server.url, wrong))).toMatchObject({ code: 'auth_failed' });
  });

  it('forgives whoever may not list, and check says so', async () => {
    const { client } = await opened(({ operation }) =>
      operation === 'Invoke' ? answers(1) : errorAnswer(403, 'AccessDeniedException', { Message: 'no' }),
    );
    expect(await client.invoke('f', null, CALL, NEVER)).toMatchObject({ result: 1 });
    const messages = (await client.check(NEVER)).map(({ message }) => message);
    expect(messages[0]).toContain('may not list functions');
  });

  it('takes an emulator that only invokes, and check says what it lacks', async () => {
    const unknown = { status: 404, headers: {}, body: Buffer.from('{"statusCode":404}') };
    const { client } = await opened(({ operation }) => (operation === 'Invoke' ? answers(1) : unknown));
    expect(await client.invoke('f', null, CALL, NEVER)).toMatchObject({ result: 1 });
    expect(await client.start?.('f', null, CALL, NEVER)).toBeUndefined();
    expect(await failure(client.listFunctions(NEVER))).toMatchObject({ code: 'unsupported' });
    const messages = (await client.check(NEVER)).map(({ message }) => message);
    expect(messages[0]).toContain('lists no functions');
  });
});

/** Otherwise a connection would be at hand after it that does not know yet what became of its other end. */
const lastOnItsConnection: Answering = () => {
  const answer = NO_FUNCTIONS();
  return { ...answer, headers: { ...answer.headers, connection: 'close' } };
};

describe('a call', () => {
  it('that is not answered ends at its time, on both sides', async () => {
    const clock = testClock(Date.now());
    const { client, server } = await opened(
      besidesListing(() => undefined),
      {},
      { clock },
    );
    const late = failure(client.invoke('f', 1, { ...CALL, timeoutMs: 5000 }, NEVER));
    await server.call(({ operation }) => operation === 'Invoke');
    await clock.advance(4999);
    await clock.advance(1);
    expect(await late).toMatchObject({ code: 'timeout', details: { timeoutMs: 5000 } });
    await server.idle();
    expect(clock.pendingTimers).toBe(0);
  });

  it('whose caller gives up closes its connection, and the next one is answered', async () => {
    const { client, server } = await opened(
      besidesListing(({ body }) => (body.length > 1 ? undefined : answers(2))),
    );
    const caller = new AbortController();
    const left = failure(client.invoke('f', 'long', CALL, caller.signal));
    await server.call(({ operation }) => operation === 'Invoke');
    caller.abort();
    expect(await left).toMatchObject({ code: 'cancelled' });
    await server.idle();
    expect(await client.invoke('f', 1, CALL, NEVER)).toMatchObject({ result: 2 });
  });

  it('whose connection breaks is unavailable, and may have been sent', async () => {
    const server = await lambda((call, ...rest) =>
      call.operation === 'Invoke' ? answers('x'.repeat(10_000)) : lastOnItsConnection(call, ...rest),
    );
    const proxy = await faultProxy({ host: '127.0.0.1', port: server.port });
    later(() => proxy.close());
    const client = await clientTo(`http://127.0.0.1:${proxy.port}`, {});
    later(() => client.close());
    for (const fault of [
      { kind: 'resetAfter', bytes: 0 },
      { kind: 'resetAfter', bytes: 500 },
      { kind: 'endAfter', bytes: 500 },
    ] as const) {
      proxy.meet(fault);
      const error = await failure(client.invoke('f', 1, CALL, NEVER));
      expect(error).toMatchObject({ code: 'unavailable' });
      expect(error).not.toHaveProperty('details.sent');
    }
    proxy.meet({ kind: 'none' });
    expect((await client.invoke('f', 1, CALL, NEVER)).status).toBe('failed');
    expect(server.of('Invoke').length).toBe(4);
  });

  it('to where nobody listens any more says that nothing was sent', async () => {
    const server = await lambda(lastOnItsConnection);
    const proxy = await faultProxy({ host: '127.0.0.1', port: server.port });
    const client = await clientTo(`http://127.0.0.1:${proxy.port}`);
    later(() => client.close());
    await proxy.close();
    expect(await failure(client.invoke('f', 1, CALL, NEVER))).toMatchObject({
      code: 'unavailable',
      details: { sent: false },
    });
  });

  it.each([
    'a/b',
    'arn:aws:lambda:us-east-1:123456789012:function:f',
    'a.b',
    'f:',
    ':live',
    'f:a:b',
    'x'.repeat(65),
  ])('of %j is refused before anything is sent', async (name) => {
    const { client, server } = await opened(NO_FUNCTIONS);
    for (const call of [client.invoke(name, 1, CALL, NEVER), client.start?.(name, 1, CALL, NEVER)])
      expect(await failure(call)).toMatchObject({ code: 'invalid_argument', issues: [{ path: 'name' }] });
    expect(server.calls).toHaveLength(1);
  });

  it('is the last: closing ends every connection', async () => {
    const { client, server } = await opened(besidesListing(() => answers(1)));
    await Promise.all(Array.from({ length: 30 }, () => client.invoke('f', 1, CALL, NEVER)));
    await client.close();
    await server.idle();
    expect(server.of('Invoke')).toHaveLength(30);
  });
});

describe('options', () => {
  it.each([
    ['half a key pair', { secret_access_key: undefined }, 'config.options.secret_access_key'],
    ['no region', { region: undefined }, 'config.options.region'],
    ['a region that is a host', { region: 'evil.com/' }, 'config.options.region'],
    ['an endpoint with a password', { endpoint: 'https://a:b@c' }, 'config.options.endpoint'],
    ['a qualifier that is a path', { qualifier: '../x' }, 'config.options.qualifier'],
    ['a tenant with a line break', { tenant_id: 'a\nb' }, 'config.options.tenant_id'],
    ['an external id without a role', { external_id: 'x' }, 'config.options.role_arn'],
  ])('with %s are refused', async (_what, wrong, path) => {
    const { default: driver } = await import('./index.ts');
    const { parseWith } = await import('../../../driver.ts');
    const given = { region: KEY.region, access_key_id: KEY.id, secret_access_key: KEY.secret, ...wrong };
    expect(() => parseWith(driver.options, given, 'config.options')).toThrowError(
      expect.objectContaining({ code: 'invalid_argument', issues: [expect.objectContaining({ path })] }),
    );
  });

  it('lead to Lambda in the region', async () => {
    const { default: driver } = await import('./index.ts');
    const { endpointOf, lambdaConfig } = await import('./sdk.ts');
    const { Agent } = await import('node:https');
    const { Agent: HttpAgent } = await import('node:http');
    const options = (region: string) => driver.options.parse({ region });
    expect(endpointOf(options('eu-west-1'))).toBe('https://lambda.eu-west-1.amazonaws.com');
    expect(endpointOf(options('cn-north-1'))).toBe('https://lambda.cn-north-1.amazonaws.com.cn');
    const agents = { http: new HttpAgent(), https: new Agent(), close() {} };
    const { requestHandler } = lambdaConfig(options('eu-west-1'), agents);
    // A function may run, and its connection be silent, for so long.
    expect(requestHandler.requestTimeout).toBeGreaterThan(900_000);
    expect(requestHandler.socketTimeout).toBeGreaterThan(900_000);
  });
});

describe('a listing', () => {
  it('has all pages, with what Lambda tells of each function', async () => {
    const { client, server } = await opened(({ input }) =>
      tells('ListFunctions', {
        Functions:
          input['Marker'] === undefined
            ? [
                {
                  ...{
                    FunctionName: 'b',
                    Runtime: 'python3.14',
                    MemorySize: 512,
                    Timeout: 30,
                    Version: '$LATEST',
                  },
                  ...{ Description: 'adds', LastModified: '2026-11-01T10:00:00.000+0000' },
                },
              ]
            : [{ FunctionName: 'a', PackageType: 'Image' }],
        ...(input['Marker'] === undefined && { NextMarker: 'more/+' }),
      }),
    );
    expect(await client.listFunctions(NEVER)).toEqual([
      {
        ...{ name: 'b', runtime: 'python3.14', memoryMb: 512, timeoutSeconds: 30, version: '$LATEST' },
        ...{ description: 'adds', lastModified: new Date('2026-11-01T10:00:00Z') },
      },
      { name: 'a' },
    ]);
    expect(
      server
        .of('ListFunctions')
        .slice(1)
        .map(({ input }) => input),
    ).toEqual([{ MaxItems: 50 }, { MaxItems: 50, Marker: 'more/+' }]);
  });

  it('that leads round in a circle is none of Lambda', async () => {
    const { client } = await opened(() => tells('ListFunctions', { Functions: [], NextMarker: 'again' }));
    expect(await failure(client.listFunctions(NEVER))).toMatchObject({ code: 'backend_error' });
  });
});
