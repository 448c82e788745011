import { describe, expect, it } from 'vitest';
import { testClock } from '../../../testing/clock.ts';
import { errorAnswer, writeError } from './model.fixture.ts';
import { executionArn } from './offline.fixture.ts';
import { CALL, closing, failure, NEVER } from './wire-clients.fixture.ts';
import { answers, besidesListing, tells, type Call } from './wire.fixture.ts';

const { opened } = closing();

const DURABLE = { DurableConfig: { ExecutionTimeout: 3600, RetentionPeriodInDays: 14 } };
const ARN = executionArn({ FunctionName: 'order', Qualifier: '7', DurableExecutionName: CALL.requestId });
const RUN = { kind: 'durable execution', id: ARN };
const STARTED = 1_795_000_000;

/** Configurations by name, and events that start an execution. */
function starting(kinds: Readonly<Record<string, Readonly<Record<string, unknown>>>>) {
  return besidesListing(({ operation, input }: Call) => {
    if (operation === 'GetFunctionConfiguration')
      return tells(operation, kinds[String(input['FunctionName'])] ?? {});
    return tells('Invoke', { StatusCode: 202, DurableExecutionArn: executionArn(input) });
  });
}

/** How an execution stands; its data only to whoever asks for them. */
function standing(state: Readonly<Record<string, unknown>>, data: Readonly<Record<string, unknown>> = {}) {
  return besidesListing(({ operation, input }: Call) =>
    operation === 'GetDurableExecution'
      ? tells(operation, {
          ...{
            DurableExecutionArn: ARN,
            DurableExecutionName: CALL.requestId,
            FunctionArn: ARN.split('/')[0],
          },
          ...{ StartTimestamp: STARTED, ...state },
          ...(input['IncludeExecutionData'] === true && { InputPayload: '{}', ...data }),
        })
      : tells('StopDurableExecution', { StopTimestamp: STARTED }),
  );
}

describe('a durable function', () => {
  it('is started as an event under the id of the invocation, by $LATEST where nothing else is said', async () => {
    const { client, server } = await opened(starting({ order: DURABLE }));
    const run = await client.start?.('order', { id: 7 }, CALL, NEVER);
    expect(server.of('Invoke').map(({ input }) => input)).toEqual([
      {
        ...{ FunctionName: 'order', Qualifier: '$LATEST', InvocationType: 'Event' },
        ...{ DurableExecutionName: CALL.requestId, Payload: Buffer.from('{"id":7}') },
      },
    ]);
    expect(run).toEqual({ kind: 'durable execution', id: expect.stringContaining(`/${CALL.requestId}/`) });
    expect(await client.start?.('order', { id: 7 }, CALL, NEVER)).toEqual(run);
  });

  it('is started by its alias or version', async () => {
    const { client, server } = await opened(starting({ order: DURABLE }), {
      qualifier: 'live',
      tenant_id: 't',
    });
    await client.start?.('order', 1, CALL, NEVER);
    await client.start?.('order:7', 1, CALL, NEVER);
    const sent = (operation: 'Invoke' | 'GetFunctionConfiguration') =>
      server.of(operation).map(({ input }) => input['Qualifier']);
    expect(sent('Invoke')).toEqual(['live', '7']);
    expect(sent('GetFunctionConfiguration')).toEqual(['live', '7']);
    expect(server.of('Invoke')[0]?.input['TenantId']).toBe('t');
  });

  it('takes no payload that an event cannot hold', async () => {
    const { client, server } = await opened(starting({ order: DURABLE }));
    await client.start?.('order', 'x'.repeat(2 ** 20 - 2), CALL, NEVER);
    expect(await failure(client.start?.('order', 'x'.repeat(2 ** 20 - 1), CALL, NEVER))).toMatchObject({
      code: 'payload_too_large',
    });
    expect(server.of('Invoke')).toHaveLength(1);
  });

  it('whose start Lambda does not name is none of Lambda', async () => {
    const { client } = await opened(
      besidesListing(({ operation }) =>
        operation === 'Invoke'
          ? tells('Invoke', { StatusCode: 202 })
          : tells('GetFunctionConfiguration', DURABLE),
      ),
    );
    expect(await failure(client.start?.('order', 1, CALL, NEVER))).toMatchObject({ code: 'backend_error' });
  });

  it('that has the name already, with another payload, is a conflict', async () => {
    const { client } = await opened(
      besidesListing(({ operation }) =>
        operation === 'Invoke'
          ? writeError('DurableExecutionAlreadyStartedException')
          : tells('GetFunctionConfiguration', DURABLE),
      ),
    );
    expect(await failure(client.start?.('order', 1, CALL, NEVER))).toMatchObject({ code: 'conflict' });
  });
});

describe('the kind of a function', () => {
  it('is asked for once in five minutes, and an ordinary one is sent nothing', async () => {
    const clock = testClock(Date.now());
    const { client, server } = await opened(starting({ order: DURABLE }), {}, { clock });
    const starts = async () => {
      expect(await client.start?.('plain', 1, CALL, NEVER)).toBeUndefined();
      expect(await client.start?.('order', 1, CALL, NEVER)).toBeDefined();
    };
    await starts();
    await clock.advance(299_999);
    await starts();
    expect(server.of('GetFunctionConfiguration')).toHaveLength(2);
    await clock.advance(1);
    await starts();
    expect(server.of('GetFunctionConfiguration')).toHaveLength(4);
    expect(server.of('Invoke').every(({ input }) => input['FunctionName'] === 'order')).toBe(true);
  });

  it('is ordinary to whoever may not read it, and check says so', async () => {
    const { client, server } = await opened(
      besidesListing(() => errorAnswer(403, 'AccessDeniedException', { Message: 'no' })),
    );
    expect(await client.check(NEVER)).toEqual([
      { level: 'warn', message: expect.stringContaining('travel in clear') },
    ]);
    expect(await client.start?.('order', 1, CALL, NEVER)).toBeUndefined();
    expect(await client.start?.('order', 1, CALL, NEVER)).toBeUndefined();
    expect(server.of('GetFunctionConfiguration')).toHaveLength(1);
    const messages = (await client.check(NEVER)).map(({ message }) => message);
    expect(messages[0]).toContain('lambda:GetFunctionConfiguration');
  });

  it('that cannot be asked for says that nothing was started, and is asked for anew', async () => {
    let isDown = true;
    const up = starting({ order: DURABLE });
    const { client } = await opened((call, ...rest) =>
      isDown && call.operation !== 'ListFunctions' ? writeError('ServiceException') : up(call, ...rest),
    );
    expect(await failure(client.start?.('order', 1, CALL, NEVER))).toMatchObject({
      code: 'unavailable',
      details: { sent: false },
    });
    isDown = false;
    expect(await client.start?.('order', 1, CALL, NEVER)).toBeDefined();
  });

  it('of a function that is not there is not_found', async () => {
    const { client } = await opened(besidesListing(() => writeError('ResourceNotFoundException')));
    expect(await failure(client.start?.('order', 1, CALL, NEVER))).toMatchObject({
      code: 'not_found',
      message: 'there is no function order',
    });
  });
});

describe('a durable execution', () => {
  it('has no outcome while it runs, and its payload is not sent for', async () => {
    const { client, server } = await opened(standing({ Status: 'RUNNING' }));
    expect(await client.follow?.('order', RUN, NEVER)).toBeUndefined();
    expect(server.of('GetDurableExecution').map(({ input }) => input)).toEqual([
      { DurableExecutionArn: ARN, IncludeExecutionData: false },
    ]);
  });

  const error = { ErrorType: 'OrderError', ErrorMessage: 'no stock', StackTrace: ['at reserve', 'at order'] };
  const told = { name: 'OrderError', message: 'no stock', stack: 'at reserve\nat order' };
  it.each([
    ['SUCCEEDED', { Result: '{"total":3}' }, { status: 'completed', result: { total: 3 } }],
    ['SUCCEEDED', {}, { status: 'completed', result: null }],
    [
      'SUCCEEDED',
      { Result: '{' },
      { status: 'failed', error: { name: 'ResultError', message: expect.any(String) } },
    ],
    ['FAILED', { Error: error }, { status: 'failed', error: told }],
    ['FAILED', {}, { status: 'failed', error: { name: 'Error', message: 'failed without a word' } }],
    [
      'TIMED_OUT',
      { Error: { ErrorMessage: 'too long' } },
      { status: 'timed_out', error: { name: 'Error', message: 'too long' } },
    ],
    ['TIMED_OUT', {}, { status: 'timed_out' }],
    ['STOPPED', {}, { status: 'cancelled' }],
  ])('that is %s with %j ends so', async (Status, data, outcome) => {
    const { client } = await opened(standing({ Status, EndTimestamp: STARTED + 90 }, data));
    expect(await client.follow?.('order', RUN, NEVER)).toEqual({ ...outcome, durationMs: 90_000 });
  });

  it('with a state of Lambda to come goes on, and with none is none of Lambda', async () => {
    const { client } = await opened(standing({ Status: 'DREAMING' }));
    expect(await client.follow?.('order', RUN, NEVER)).toBeUndefined();
    const { client: other } = await opened(standing({}));
    expect(await failure(other.follow?.('order', RUN, NEVER))).toMatchObject({ code: 'backend_error' });
  });

  it('that Lambda no longer knows is not_found to follow, and nothing to stop', async () => {
    const { client } = await opened(besidesListing(() => writeError('ResourceNotFoundException')));
    expect(await failure(client.follow?.('order', RUN, NEVER))).toMatchObject({ code: 'not_found' });
    await client.stop?.('order', RUN, NEVER);
  });

  it('is stopped by its ARN', async () => {
    const { client, server } = await opened(standing({ Status: 'RUNNING' }));
    await client.stop?.('order', RUN, NEVER);
    expect(server.of('StopDurableExecution').map(({ input }) => input)).toEqual([
      {
        DurableExecutionArn: ARN,
        Error: { ErrorType: 'Cancelled', ErrorMessage: 'cancelled through its connector' },
      },
    ]);
  });

  it('that has ended is not stopped, whatever Lambda says to that; one that runs is an error', async () => {
    for (const [Status, outcome] of [
      ['SUCCEEDED', 'stopped'],
      ['RUNNING', 'invalid_argument'],
    ] as const) {
      const stands = standing({ Status });
      const { client } = await opened((call, ...rest) =>
        call.operation === 'StopDurableExecution'
          ? writeError('InvalidParameterValueException')
          : stands(call, ...rest),
      );
      const stopped = client.stop?.('order', RUN, NEVER).then(
        () => 'stopped',
        (error: { code?: unknown }) => error.code,
      );
      expect(await stopped).toBe(outcome);
    }
  });

  it('is followed until its caller gives up', async () => {
    const { client, server } = await opened(besidesListing(() => undefined));
    const caller = new AbortController();
    const left = failure(client.follow?.('order', RUN, caller.signal));
    await server.call(({ operation }) => operation === 'GetDurableExecution');
    caller.abort();
    expect(await left).toMatchObject({ code: 'cancelled' });
    await server.idle();
  });

  it('may have a result larger than that of a call, as text within JSON', async () => {
    const result = JSON.stringify('"'.repeat(2 ** 20));
    const { client } = await opened(
      standing({ Status: 'SUCCEEDED' }, { Result: result, InputPayload: result.repeat(4) }),
    );
    expect((await client.follow?.('order', RUN, NEVER))?.status).toBe('completed');
    const ordinary = await opened(besidesListing(() => answers(result.repeat(4))));
    expect(await failure(ordinary.client.invoke('f', 1, CALL, NEVER))).toMatchObject({
      code: 'payload_too_large',
    });
  });
});
