import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { ServerlessClient } from '../../../driver.ts';
import { testServerlessDriver } from '../../../testing/serverless.ts';
import driver from './index.ts';
import { startOffline, type OfflineLambda } from './offline.fixture.ts';
import { clientTo, KEY } from './wire.fixture.ts';

const NEVER = new AbortController().signal;
const CALL = { requestId: '2f1c6c3e-9d1b-4a55-8a0e-5c3f0a6f7d11', timeoutMs: 20_000 };

let server: OfflineLambda;
let client: ServerlessClient;
beforeAll(async () => {
  server = await startOffline();
  client = await clientTo(server.url, {}, { trusted: false });
});
afterAll(async () => {
  await client.close();
  await server.close();
});

testServerlessDriver({
  driver,
  engine: { mode: 'live', name: 'the Lambda server of serverless-offline 14' },
  open: () => clientTo(server.url, {}, { trusted: false }),
});

describe('a call of Lambda', () => {
  it('tells the function which invocation it is', async () => {
    expect(await client.invoke('context', null, CALL, NEVER)).toMatchObject({
      status: 'completed',
      result: { custom: { request_id: CALL.requestId } },
    });
  });

  it('gives the name, the message and the stack of what a function threw', async () => {
    const { status, error } = await client.invoke('fails', null, CALL, NEVER);
    expect(status).toBe('failed');
    expect(error).toMatchObject({ name: 'TypeError', message: 'on purpose' });
    expect(error?.stack).toMatch(/^TypeError: on purpose\n {4}at /);
  });

  it('is a timeout where the function ran longer than its own limit at Lambda', async () => {
    await expect(client.invoke('late', null, CALL, NEVER)).rejects.toMatchObject({
      code: 'timeout',
      message: 'function late ran longer than its own limit at Lambda',
    });
    expect(await client.invoke('echo', 1, CALL, NEVER)).toMatchObject({ result: 1 });
  });

  it('says which function is not there', async () => {
    await expect(client.invoke('absent', null, CALL, NEVER)).rejects.toMatchObject({
      code: 'not_found',
      message: 'there is no function absent',
      details: { backend_code: 'ResourceNotFoundException', sent: false },
    });
  });

  it('with a key or a region that is wrong is auth_failed, and nothing is told of it', async () => {
    for (const wrong of [
      { access_key_id: 'nobody' },
      { secret_access_key: `${KEY.secret}x` },
      { region: 'eu-west-1' },
    ])
      await expect(clientTo(server.url, wrong)).rejects.toMatchObject({ code: 'auth_failed' });
  });

  it('starts a durable function as an event, and no other', async () => {
    expect(await client.start?.('echo', 1, CALL, NEVER)).toBeUndefined();
    const run = await client.start?.('durable', { order: 7 }, CALL, NEVER);
    expect(run).toMatchObject({ kind: 'durable execution', id: expect.stringContaining(CALL.requestId) });
    await expect
      .poll(async () => (await client.invoke('last', null, CALL, NEVER)).result)
      .toEqual({ order: 7 });
  });
});
