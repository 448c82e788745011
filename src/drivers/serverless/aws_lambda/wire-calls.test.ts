import { describe, expect, it } from 'vitest';
import { CALL, closing, failure, NEVER } from './wire-clients.fixture.ts';
import { answers, besidesListing, tells, type Answering } from './wire.fixture.ts';

const { opened } = closing();

/** A client of functions that all answer so. */
async function functions(payload: unknown, more: Parameters<typeof answers>[1] = {}) {
  return (await opened(besidesListing(() => answers(payload, more)))).client;
}

describe('a call is sent', () => {
  it('as the SDK has it, with the id of the invocation for the function, and no qualifier unless there is one', async () => {
    const { client, server } = await opened(besidesListing(() => answers(1)));
    await client.invoke('f', { a: ['é', null] }, CALL, NEVER);
    const [{ input } = { input: {} as Readonly<Record<string, unknown>> }] = server.of('Invoke');
    expect(input).toEqual({
      ...{ FunctionName: 'f', InvocationType: 'RequestResponse', LogType: 'Tail' },
      ClientContext: expect.any(String),
      Payload: Buffer.from('{"a":["é",null]}'),
    });
    const context: unknown = JSON.parse(Buffer.from(String(input['ClientContext']), 'base64').toString());
    expect(context).toEqual({ custom: { request_id: CALL.requestId } });
  });

  it('to the alias in its name, otherwise to that of the connector, and for its tenant', async () => {
    const options = { qualifier: 'live', tenant_id: 'tenant/7' };
    const { client, server } = await opened(
      besidesListing(() => answers(1)),
      options,
    );
    await client.invoke('f', 1, CALL, NEVER);
    await client.invoke('f:next', 1, CALL, NEVER);
    expect(server.of('Invoke').map(({ input }) => [input['FunctionName'], input['Qualifier']])).toEqual([
      ['f', 'live'],
      ['f', 'next'],
    ]);
    expect(server.of('Invoke').every(({ input }) => input['TenantId'] === 'tenant/7')).toBe(true);
  });

  it('once, whatever comes of it, and many at the same time', async () => {
    const { client, server } = await opened(besidesListing(({ body }) => answers(body.toString())));
    const numbers = Array.from({ length: 150 }, (_, i) => i);
    const all = await Promise.all(numbers.map((n) => client.invoke('f', n, CALL, NEVER)));
    expect(all.map(({ result }) => result)).toEqual(numbers);
    expect(server.of('Invoke')).toHaveLength(150);
  });
});

describe('an answer has', () => {
  it('the last lines of the log, of a function that failed as well', async () => {
    const logs = 'START\nüber\nREPORT';
    expect(await (await functions(1, { logs })).invoke('f', 1, CALL, NEVER)).toMatchObject({ logs });
    const failed = await functions({ errorMessage: 'no' }, { logs, error: 'Unhandled' });
    expect(await failed.invoke('f', 1, CALL, NEVER)).toMatchObject({ status: 'failed', logs });
  });

  it.each([
    ['nothing', '', null],
    ['null', 'null', null],
    ['a text', '"é\\u0000"', 'é\u0000'],
  ])('%s as its result', async (_what, payload, result) => {
    expect(await (await functions(payload)).invoke('f', 1, CALL, NEVER)).toEqual({
      status: 'completed',
      result,
    });
  });

  it('a failure of the function where its result is no JSON, as that of a runtime of its own may be', async () => {
    for (const payload of ['<p>', '{"a":']) {
      const outcome = await (await functions(payload)).invoke('f', 1, CALL, NEVER);
      expect(outcome).toMatchObject({ status: 'failed', error: { name: 'ResultError' } });
    }
  });
});

// https://docs.aws.amazon.com/lambda/latest/dg/nodejs-exceptions.html, …/python-exceptions.html, …/java-exceptions.html and
// …/golang-exceptions.html (read 2026-11-28)
describe('what a function threw is data, as the runtime says it:', () => {
  it.each([
    [
      'Node.js',
      {
        errorType: 'TypeError',
        errorMessage: 'no',
        trace: ['TypeError: no', '    at f (/var/task/index.js:2:3)'],
      },
      { name: 'TypeError', message: 'no', stack: 'TypeError: no\n    at f (/var/task/index.js:2:3)' },
    ],
    [
      'Python',
      {
        errorType: 'KeyError',
        errorMessage: "'a'",
        requestId: 'x',
        stackTrace: ['  File "f.py", line 2, in f\n'],
      },
      { name: 'KeyError', message: "'a'", stack: '  File "f.py", line 2, in f\n' },
    ],
    [
      'Go',
      {
        errorType: 'errorString',
        errorMessage: 'no',
        stackTrace: [{ path: 'main.go', line: 9, label: 'handler' }],
      },
      { name: 'errorString', message: 'no', stack: '    at handler (main.go:9)' },
    ],
    [
      'no error but a text',
      { errorType: 'string', errorMessage: 'no', trace: [] },
      { name: 'string', message: 'no' },
    ],
    [
      'a process that ended',
      { errorType: 'Runtime.ExitError', errorMessage: 'RequestId: x Error: Runtime exited' },
      { name: 'Runtime.ExitError', message: 'RequestId: x Error: Runtime exited' },
    ],
    ['a type alone', { errorType: 'Odd' }, { name: 'Odd', message: '{"errorType":"Odd"}' }],
    ['nothing', '', { name: 'Error', message: 'Unhandled, without a word' }],
    ['no JSON', 'segfault', { name: 'Error', message: 'Unhandled, without a word' }],
  ])('%s', async (_what, payload, error) => {
    const client = await functions(payload, { error: 'Unhandled' });
    expect(await client.invoke('f', 1, CALL, NEVER)).toEqual({ status: 'failed', error });
  });

  it.each([
    ['Sandbox.Timedout', 'RequestId: x Error: Task timed out after 3.00 seconds', 'timeout'],
    [undefined, `2026-11-28T10:00:00.000Z ${CALL.requestId} Task timed out after 3.00 seconds`, 'timeout'],
    ['Function.ResponseSizeTooLarge', 'Response payload size exceeded', 'payload_too_large'],
  ])('but %s is an error of ours', async (errorType, errorMessage, code) => {
    const client = await functions({ errorType, errorMessage }, { error: 'Unhandled' });
    expect(await failure(client.invoke('f', 1, CALL, NEVER))).toMatchObject({ code });
  });

  it('and a function that only speaks of time has thrown', async () => {
    const thrown = {
      errorType: 'Error',
      errorMessage: `1 ${CALL.requestId} Task timed out after 3.00 seconds`,
    };
    const client = await functions(thrown, { error: 'Unhandled' });
    expect(await client.invoke('f', 1, CALL, NEVER)).toMatchObject({ status: 'failed' });
  });
});

describe('a durable function that is called by its bare name', () => {
  const bare = 'You cannot invoke a durable function using an unqualified ARN.';
  const refusing =
    (config: Readonly<Record<string, unknown>>): Answering =>
    ({ operation, input }) => {
      if (operation === 'GetFunctionConfiguration') return tells(operation, config);
      if (input['Qualifier'] !== undefined) return answers('"done"');
      return {
        status: 400,
        headers: { 'x-amzn-errortype': 'InvalidParameterValueException' },
        body: Buffer.from(JSON.stringify({ message: bare })),
      };
    };

  it('is called again by $LATEST, under the name of the invocation', async () => {
    const durable = refusing({ DurableConfig: { ExecutionTimeout: 60 } });
    const { client, server } = await opened(besidesListing(durable));
    expect(await client.invoke('f', 1, CALL, NEVER)).toMatchObject({ status: 'completed', result: 'done' });
    expect(
      server.of('Invoke').map(({ input }) => [input['Qualifier'], input['DurableExecutionName']]),
    ).toEqual([
      [undefined, undefined],
      ['$LATEST', CALL.requestId],
    ]);
  });

  it('is not where it is none, which stays refused', async () => {
    const { client, server } = await opened(besidesListing(refusing({})));
    expect(await failure(client.invoke('f', 1, CALL, NEVER))).toMatchObject({
      code: 'invalid_argument',
      message: expect.stringContaining(bare),
      details: { sent: false },
    });
    expect(server.of('Invoke')).toHaveLength(1);
  });
});
