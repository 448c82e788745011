import { mkdir, mkdtemp, writeFile } from 'node:fs/promises';
import { request as httpRequest, type IncomingMessage, type ServerResponse } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { freePort, startChildServer } from '../../../testing/child-server.fixture.ts';
import { bodyOf, send, tells, wireLambda, type Call, type WireLambda } from './wire.fixture.ts';

const SCRIPT = fileURLToPath(new URL('offline.fixture.mjs', import.meta.url));

/** As long as no test takes. */
const LONG_SECONDS = 900;

/**
 * The functions, written for serverless-offline: a text becomes an object, as what is one is put between quotes and not
 * escaped.
 */
const FUNCTIONS: Readonly<Record<string, { readonly code: string; readonly timeout?: number }>> = {
  echo: {
    code: "export const handler = async (event) => (typeof event === 'string' ? new String(event) : event);",
  },
  fails: { code: "export const handler = async () => { throw new TypeError('on purpose'); };" },
  endless: { code: 'export const handler = () => new Promise(() => {});' },
  large: { code: "export const handler = async (length) => new String('x'.repeat(length));" },
  random: { code: 'export const handler = async () => new String(Math.random());' },
  context: { code: 'export const handler = async (_event, { clientContext }) => clientContext;' },
  late: { code: 'export const handler = () => new Promise(() => {});', timeout: 1 },
  durable: { code: 'export const handler = async (event) => void (globalThis.durable = event);' },
  last: { code: 'export const handler = async () => globalThis.durable ?? null;' },
};

export type OfflineLambda = Omit<WireLambda, 'close'> & { readonly close: () => Promise<void> };

/**
 * serverless-offline 14 in a process of its own, behind a front that adds what it lacks and says what it says wrongly:
 *
 * - signatures, listings and the configuration of the function `durable` are the double's, as in wire.fixture.ts;
 * - what a function threw has its own name instead of `Error`, which the first line of its stack has;
 * - a function that ran too long is `Sandbox.Timedout`;
 * - the answer to an event names a durable execution, where one was asked for.
 *
 * Everything else, which is calling functions, is serverless-offline's own.
 */
export async function startOffline(): Promise<OfflineLambda> {
  const folder = await mkdtemp(join(tmpdir(), 'lambda-offline-'));
  await mkdir(join(folder, 'node_modules'));
  const named = Object.entries(FUNCTIONS);
  await Promise.all(named.map(([name, { code }]) => writeFile(join(folder, `${name}.mjs`), code)));
  const port = await freePort();
  const list = named.map(([name, { timeout = LONG_SECONDS }]) => ({ name, timeout }));
  const server = await startChildServer({
    command: process.execPath,
    args: [SCRIPT, folder, `${port}`, JSON.stringify(list)],
    env: { PATH: process.env['PATH'] },
    folder,
    isReady: (output) => output.includes('ready'),
  });
  const front = await wireLambda((call, response, request) => {
    if (call.operation === 'ListFunctions') return listing();
    if (call.operation === 'GetFunctionConfiguration') return configuration(call);
    void forward(call, response, request, port);
    return undefined;
  });
  return {
    ...front,
    async close() {
      await front.close();
      await server.close();
    },
  };
}

function listing() {
  const named = Object.keys(FUNCTIONS).map((name) => ({ FunctionName: name, Runtime: 'nodejs22.x' }));
  return tells('ListFunctions', { Functions: named });
}

function configuration({ input }: Call) {
  const isDurable = input['FunctionName'] === 'durable';
  return tells('GetFunctionConfiguration', {
    FunctionName: input['FunctionName'],
    ...(isDurable && { DurableConfig: { ExecutionTimeout: 3600 } }),
  });
}

/** Hands the call to serverless-offline and its answer back; a caller who hangs up hangs up there, too. */
async function forward(
  call: Call,
  response: ServerResponse,
  request: IncomingMessage,
  port: number,
): Promise<void> {
  const { method, url, headers, body } = call;
  const onward = httpRequest({ host: '127.0.0.1', port, method, path: url, headers: { ...headers } });
  request.socket.once('close', () => onward.destroy());
  onward.on('error', () => response.destroy());
  onward.end(body);
  onward.once('response', (answer: IncomingMessage) => void back(call, answer, response));
}

async function back({ input }: Call, answer: IncomingMessage, response: ServerResponse): Promise<void> {
  const body = await bodyOf(answer);
  if (body === undefined) return void response.destroy();
  const { statusCode: status = 0, headers } = answer;
  const kept = Object.fromEntries(
    Object.entries(headers).filter(
      (header): header is [string, string] => header[0].startsWith('x-am') && typeof header[1] === 'string',
    ),
  );
  const execution =
    input['DurableExecutionName'] === undefined ? {} : { 'x-amz-durable-execution-arn': executionArn(input) };
  const isFailure = headers['x-amz-function-error'] !== undefined;
  send(response, {
    status,
    headers: { ...kept, ...execution },
    body: isFailure ? Buffer.from(JSON.stringify(asLambdaSays(JSON.parse(body.toString())))) : body,
  });
}

export function executionArn(input: Readonly<Record<string, unknown>>): string {
  const { FunctionName, Qualifier, DurableExecutionName } = input;
  return `arn:aws:lambda:us-east-1:123456789012:function:${String(FunctionName)}:${String(Qualifier)}/durable-execution/${String(DurableExecutionName)}/0b2c`;
}

type Failure = {
  readonly errorMessage: string;
  readonly errorType: string;
  readonly trace: readonly string[];
};

// Error objects as https://docs.aws.amazon.com/lambda/latest/dg/nodejs-exceptions.html has them (read 2026-11-28).
function asLambdaSays(failure: Failure): unknown {
  if (failure.errorMessage === '[504] - Lambda timeout.')
    return {
      errorType: 'Sandbox.Timedout',
      errorMessage:
        'RequestId: 7c9e6679-7425-40de-944b-e07fc1f90ae7 Error: Task timed out after 1.00 seconds',
    };
  return { ...failure, errorType: /^(\w+): /.exec(failure.trace[0] ?? '')?.[1] ?? failure.errorType };
}
