import { z } from 'zod';
import {
  ConnectorError,
  failureOf,
  httpFailure,
  parseRetryAfter,
  type Clock,
  type FunctionFailure,
  type HttpAnswer,
  type JsonValue,
  type NativeOutcome,
  type NativeRun,
} from '../../../driver.ts';
import type { AppRequest, FunctionApp } from './function-app.ts';

// https://learn.microsoft.com/azure/durable-task/durable-functions/durable-functions-http-api (read 2026-11-28), and the code behind it,
// https://github.com/Azure/azure-functions-durable-extension/blob/dev/src/WebJobs.Extensions.DurableTask/HttpApiHandler.cs (read 2026-11-28)
const API = ['runtime', 'webhooks', 'durabletask'];
// https://learn.microsoft.com/azure/azure-functions/durable/durable-functions-orchestrations (read 2026-11-28). The dot, because a URL
// resolves segments of dots.
const INSTANCE_ID = /^[^@./\\#?\p{Cc}][^/\\#?\p{Cc}]{0,99}$/u;
const GOING_ON: ReadonlySet<string> = new Set(['Pending', 'Running', 'ContinuedAsNew', 'Suspended']);
const KIND = 'durable orchestration';
/** Which nobody has: to ask for it tells whether the key is right. */
const NO_INSTANCE = 'connector-registry-probe';

/** Nine URLs. */
const MAX_PAYLOAD_BYTES = 65_536;

const instanceStatus = z.looseObject({
  runtimeStatus: z.string(),
  output: z.unknown(),
  createdTime: z.string().optional(),
  lastUpdatedTime: z.string().optional(),
});
/** What `CreateCheckStatusResponse` answers; the isolated worker of .NET writes the names as C# does. */
const managementPayload = z.union([
  z.looseObject({ id: z.string(), statusQueryGetUri: z.string() }),
  z
    .looseObject({ Id: z.string(), StatusQueryGetUri: z.string() })
    .transform(({ Id, StatusQueryGetUri }) => ({ id: Id, statusQueryGetUri: StatusQueryGetUri })),
]);

/** Orchestrations of the app, by the API that Durable Functions adds to it. */
export type Orchestrations = {
  /**
   * Starts one under the id, or finds the one that was started under it.
   *
   * @throws ConnectorError `not_found` where the app has no such orchestrator.
   */
  start(orchestrator: string, payload: JsonValue, id: string, signal: AbortSignal): Promise<NativeRun>;
  /** How it ended; `undefined` while it goes on. @throws ConnectorError `not_found`. */
  ended(id: string, signal: AbortSignal): Promise<NativeOutcome | undefined>;
  terminate(id: string, signal: AbortSignal): Promise<void>;
  /** @throws ConnectorError `auth_failed` where the key is wrong. */
  probe(signal: AbortSignal): Promise<void>;
};

export function orchestrations(app: FunctionApp, clock: Clock): Orchestrations {
  const ask = (request: Pick<AppRequest, 'method' | 'path' | 'query' | 'body'>, signal: AbortSignal) =>
    app.ask({ ...request, path: [...API, ...request.path], key: 'durable' }, signal);
  const status = (id: string, signal: AbortSignal) =>
    ask({ method: 'GET', path: ['instances', id], query: { showInput: 'false' } }, signal);
  const failed = (answer: HttpAnswer): ConnectorError => apiFailure(answer, clock.now());
  return {
    async start(orchestrator, payload, id, signal) {
      // An instance that has ended would be replaced by one that is started under its id, and so run again.
      const before = await status(id, signal);
      if (isStatus(before)) return runOf(id);
      if (before.status !== 404) throw failed(before);
      const path = ['orchestrators', orchestrator, id];
      const started = await ask({ method: 'POST', path, body: JSON.stringify(payload) }, signal);
      // 409: another call was faster between the two requests.
      if (started.status === 202 || started.status === 409) return runOf(id);
      if (started.status === 400 || started.status === 404)
        throw new ConnectorError('not_found', `the app has no orchestrator ${orchestrator}`, {
          details: { backend_status: started.status },
        });
      throw failed(started);
    },
    async ended(id, signal) {
      const answer = await status(instanceId(id), signal);
      if (answer.status === 404 || answer.status === 410)
        throw new ConnectorError('not_found', 'the app knows no such orchestration (any more)');
      if (!isStatus(answer)) throw failed(answer);
      return outcomeIn(answer);
    },
    async terminate(id, signal) {
      const query = { reason: 'cancelled' };
      const answer = await ask(
        { method: 'POST', path: ['instances', instanceId(id), 'terminate'], query },
        signal,
      );
      // 410: it has ended. 404: it is not even known any more.
      if (![200, 202, 404, 410].includes(answer.status)) throw failed(answer);
    },
    async probe(signal) {
      const answer = await status(NO_INSTANCE, signal);
      if (answer.status !== 404 && !isStatus(answer)) throw failed(answer);
    },
  };
}

/**
 * The run that a starter has started, where its answer is a management payload. Of its URLs, which hold the system key and
 * may name any host, nothing is kept or asked: the instance is one of this app.
 */
export function startedBy({ status, body }: HttpAnswer): NativeRun | undefined {
  if (status !== 202 || body.byteLength > MAX_PAYLOAD_BYTES) return undefined;
  const { data } = managementPayload.safeParse(jsonIn(body));
  return data?.statusQueryGetUri.includes(`/${API.join('/')}/instances/`) === true
    ? runOf(instanceId(data.id))
    : undefined;
}

function runOf(id: string): NativeRun {
  return { kind: KIND, id };
}

function instanceId(id: string): string {
  if (INSTANCE_ID.test(id)) return id;
  throw new ConnectorError(
    'backend_error',
    'the id of the orchestration is none that Durable Functions takes',
  );
}

/** 500 is the status of one that failed, too, where a URL asks for it; 400 was so in the first version. */
function isStatus({ status }: HttpAnswer): boolean {
  return status === 200 || status === 202;
}

function outcomeIn({ body }: HttpAnswer): NativeOutcome | undefined {
  const { success, data } = instanceStatus.safeParse(jsonIn(body));
  if (!success) throw new ConnectorError('backend_error', 'the app answered no status of an orchestration');
  const { runtimeStatus, output, createdTime = '', lastUpdatedTime = '' } = data;
  const tookMs = Date.parse(lastUpdatedTime) - Date.parse(createdTime);
  const took = tookMs >= 0 ? { durationMs: tookMs } : {};
  if (GOING_ON.has(runtimeStatus)) return undefined;
  switch (runtimeStatus) {
    case 'Completed':
      // It came out of JSON.parse.
      return { status: 'completed', result: (output ?? null) as JsonValue, ...took };
    case 'Failed':
      return { status: 'failed', error: failureIn('OrchestrationFailed', output), ...took };
    case 'Terminated':
    case 'Canceled':
      return { status: 'cancelled', error: failureIn(`Orchestration${runtimeStatus}`, output), ...took };
    default:
      throw new ConnectorError(
        'backend_error',
        'the app answered a status of an orchestration that is not known',
      );
  }
}

/** What a failed or ended orchestration leaves is text, mostly. */
function failureIn(name: string, output: unknown): FunctionFailure {
  const told = failureOf(output);
  if (told !== undefined) return told;
  const text = typeof output === 'string' ? output : output === undefined ? '' : JSON.stringify(output);
  return { name, message: text.slice(0, 4_000) };
}

function apiFailure({ status, headers, body }: HttpAnswer, nowMs: number): ConnectorError {
  if (status === 401 || status === 403)
    return new ConnectorError(
      status === 401 ? 'auth_failed' : 'permission_denied',
      `the app refused the durable_key (${status}), which has to be the system key durabletask_extension`,
      { details: { backend_status: status } },
    );
  const retryAfterMs = parseRetryAfter(headers.get('retry-after'), nowMs);
  // What the extension could not do, its storage mostly, it answers with 500; every request here can be repeated.
  const meant = status === 500 ? 503 : status;
  const failure = httpFailure({ status: meant, message: new TextDecoder().decode(body), retryAfterMs });
  return meant === status
    ? failure
    : new ConnectorError(failure.code, 'Durable Functions could not do it (500)', {
        details: { backend_status: status },
        ...(retryAfterMs !== undefined && { retryAfterMs }),
      });
}

function jsonIn(body: Uint8Array): unknown {
  try {
    return JSON.parse(new TextDecoder().decode(body));
  } catch {
    return undefined;
  }
}
