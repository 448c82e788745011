import { afterAll, describe, expect, it } from 'vitest';
import { NEVER } from '../../../policies/pipeline.ts';
import { clientsOfDouble, INVOCATION } from './clients.fixture.ts';
import { functionsFront } from './front.fixture.ts';
import { startFunctions } from './functions.fixture.ts';

// Real: each function is a process of @google-cloud/functions-framework.
const { google, start } = await clientsOfDouble();
const functions = await startFunctions(['headers', 'throws', 'event', 'event_throws']);
const production = await startFunctions(['throws'], { NODE_ENV: 'production' });
const front = await functionsFront(functions.ports, {
  audienceOf: (given) => google.tokens.audienceOf(given),
});
const plain = await functionsFront(production.ports, { tls: false });
afterAll(() => Promise.all([functions.close(), production.close(), front.close(), plain.close()]));

const event = (more: object = {}) => ({ signature: 'cloudevent', ...more });
const OPTIONS = {
  ...google.credentials,
  ca: front.ca,
  functions: {
    headers: `${front.url}/headers`,
    throws: { url: `${front.url}/throws` },
    event: event({ url: `${front.url}/event` }),
    typed: event({ url: `${front.url}/event`, event_type: 'com.acme "paid" 100%' }),
    event_throws: event({ url: `${front.url}/event_throws` }),
  },
};
const { requestId } = INVOCATION;

describe('a function of the framework', () => {
  it('is told which invocation it is, and that the payload is JSON', async () => {
    const client = await start(OPTIONS);
    const { status, result } = await client.invoke('headers', { a: 1 }, INVOCATION, NEVER);
    expect(status).toBe('completed');
    expect(result).toMatchObject({
      'x-request-id': requestId,
      'idempotency-key': `"${requestId}"`,
      'content-type': 'application/json',
      'content-length': '7',
    });
    // Only what a CloudEvent has begins like that.
    expect(Object.keys(result ?? {}).filter((name) => name.startsWith('ce-'))).toEqual([]);
  });

  it('that throws has failed, with the message that the framework tells', async () => {
    const client = await start(OPTIONS);
    expect(await client.invoke('throws', null, INVOCATION, NEVER)).toMatchObject({
      status: 'failed',
      error: { name: 'Error', message: 'thrown on purpose' },
    });
    expect(await client.invoke('event_throws', {}, INVOCATION, NEVER)).toMatchObject({
      status: 'failed',
      error: { name: 'Error', message: 'thrown by an event' },
    });
    // In production the framework keeps the message for the log.
    const live = await start({ endpoint: plain.url }, { authType: 'none' });
    expect(await live.invoke('throws', null, INVOCATION, NEVER)).toMatchObject({
      status: 'failed',
      error: { name: 'Error', message: 'Internal Server Error' },
    });
  });
});

describe('a function for CloudEvents', () => {
  it('gets the payload as the data of an event whose id is that of the invocation', async () => {
    const client = await start(OPTIONS, { connectorId: 'connector-7' });
    const answer = await client.invoke('event', { paid: [1, true, null] }, INVOCATION, NEVER);
    expect(answer).toMatchObject({
      status: 'completed',
      // As the framework took the event apart: nothing but what the specification names.
      result: {
        specversion: '1.0',
        id: requestId,
        source: '/connectors/connector-7',
        type: 'connector-registry.invocation',
        data: { paid: [1, true, null] },
      },
    });
    expect(Object.keys(answer.result ?? {}).toSorted((a, b) => (a < b ? -1 : 1))).toEqual([
      ...['data', 'id', 'source', 'specversion', 'type'],
    ]);
    const again = await client.invoke('event', {}, INVOCATION, NEVER);
    expect(again.result).toMatchObject({ id: requestId });
  });

  it('gets a type with blanks, quotes and percent signs as the binding encodes it', async () => {
    const client = await start(OPTIONS);
    const { result } = await client.invoke('typed', {}, INVOCATION, NEVER);
    expect(result).toMatchObject({ type: 'com.acme%20%22paid%22%20100%25' });
  });

  it('gets what is no object as bytes of JSON, because the framework parses no other', async () => {
    const client = await start(OPTIONS);
    const { result } = await client.invoke('event', 'é', INVOCATION, NEVER);
    expect(result).toMatchObject({ data: { type: 'Buffer', data: [...Buffer.from('"é"')] } });
  });
});
