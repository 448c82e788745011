import {
  ConnectorError,
  isConnectorError,
  sleep,
  type ClientInvocation,
  type InvocationOutcome,
  type JsonValue,
  type NativeOutcome,
  type NativeRun,
  type OpenContext,
} from '../../../driver.ts';
import type { CloudflareApi, Instance } from './api.ts';

/** "Maximum event payload size": https://developers.cloudflare.com/workflows/reference/limits/ (read 2026-11-28) */
export const PARAMS_BYTES = 2 ** 20;

/**
 * How often a run is asked about that somebody waits for. An account has 1,200 requests in five minutes
 * (https://developers.cloudflare.com/fundamentals/api/reference/limits/, read 2026-11-28).
 */
const FIRST_POLL_MS = 500;
const LAST_POLL_MS = 5_000;
/** For telling a run to end that nobody waits for any more. */
const STOP_MS = 5_000;

const ENDED: ReadonlySet<string> = new Set(['complete', 'errored', 'terminated']);

/** Instances of Workflows, by the id of the invocation. */
export class WorkflowRuns {
  readonly #api: CloudflareApi;
  readonly #context: Pick<OpenContext, 'clock' | 'log'>;
  readonly #stopping = new Set<Promise<void>>();

  constructor(api: CloudflareApi, context: Pick<OpenContext, 'clock' | 'log'>) {
    this.#api = api;
    this.#context = context;
  }

  async start(
    name: string,
    payload: JsonValue,
    { requestId }: Pick<ClientInvocation, 'requestId'>,
    signal: AbortSignal,
  ): Promise<NativeRun> {
    const params = JSON.stringify(payload);
    if (Buffer.byteLength(params) > PARAMS_BYTES) {
      throw new ConnectorError(
        'payload_too_large',
        `the payload of a Workflow is at most ${PARAMS_BYTES} bytes of JSON`,
        {
          details: { limitBytes: PARAMS_BYTES, sent: false },
        },
      );
    }
    try {
      await this.#api.create(name, requestId, params, signal);
    } catch (error) {
      if (!(await this.#isThere(error, name, requestId, signal))) throw error;
    }
    return { kind: 'workflow instance', id: requestId };
  }

  /** Whether a start was refused because an earlier attempt had started the run, whose answer did not arrive. */
  async #isThere(error: unknown, name: string, id: string, signal: AbortSignal): Promise<boolean> {
    if (!isConnectorError(error)) return false;
    if (error.code === 'already_exists') return true;
    // The number of that refusal is not documented, and may be another one day.
    if (error.code !== 'backend_error' || typeof error.details['backend_status'] !== 'number') return false;
    return this.#api.get(name, id, signal).then(
      () => true,
      () => false,
    );
  }

  async follow(name: string, id: string, signal: AbortSignal): Promise<NativeOutcome | undefined> {
    return outcomeOf(await this.#api.get(name, id, signal));
  }

  async stop(name: string, id: string, signal: AbortSignal): Promise<void> {
    try {
      await this.#api.terminate(name, id, signal);
    } catch (error) {
      if (!isConnectorError(error) || signal.aborted) throw error;
      if (error.code === 'not_found') return;
      // It says so with an error where the instance has ended already, whose number is not published.
      const { status } = await this.#api.get(name, id, signal).catch(() => ({ status: '' }));
      if (!ENDED.has(status)) throw error;
    }
  }

  /** Runs one to its end; one that nobody waits for any more is told to end. */
  async run(
    name: string,
    payload: JsonValue,
    invocation: ClientInvocation,
    signal: AbortSignal,
  ): Promise<InvocationOutcome> {
    const id = invocation.requestId;
    try {
      await this.start(name, payload, invocation, signal);
      for (let waitMs = FIRST_POLL_MS; ; waitMs = Math.min(waitMs * 1.5, LAST_POLL_MS)) {
        const outcome = await this.follow(name, id, signal);
        if (outcome !== undefined) return ofCall(outcome);
        await sleep(this.#context.clock, waitMs, signal);
      }
    } catch (error) {
      // Also where the answer to its start was not waited for: it may have arrived.
      if (signal.aborted) this.#stopLater(name, id);
      throw error;
    }
  }

  async close(): Promise<void> {
    await Promise.all(this.#stopping);
  }

  #stopLater(name: string, id: string): void {
    const { clock, log } = this.#context;
    const over = new AbortController();
    const done = clock.after(STOP_MS, () => over.abort());
    const stopping = this.stop(name, id, over.signal)
      .catch(() =>
        log.warn('a Workflow that nobody waits for could not be told to end', { workflow: name, id }),
      )
      .finally(() => {
        done();
        this.#stopping.delete(stopping);
      });
    this.#stopping.add(stopping);
  }
}

/** `undefined` while it goes on: queued, running, paused, waiting, waitingForPause, rollingBack, and what is added to them. */
function outcomeOf({ status, output, error, start, end }: Instance): NativeOutcome | undefined {
  if (!ENDED.has(status)) return undefined;
  const tookMs = start && end ? Date.parse(end) - Date.parse(start) : Number.NaN;
  const took = tookMs >= 0 ? { durationMs: tookMs } : {};
  if (status === 'complete') return { status: 'completed', result: output, ...took };
  if (status === 'terminated') return { status: 'cancelled', ...took };
  const told = typeof error === 'string' ? { name: 'Error', message: error } : error;
  const { name, message } = told ?? { name: 'Error', message: 'the Workflow failed and does not tell why' };
  return {
    status: 'failed',
    error: { name: name.slice(0, 200), message: message.slice(0, 4_000) },
    ...took,
  };
}

/** Somebody else ended the instance: for whoever waits for its result, it failed. */
function ofCall({ status, ...outcome }: NativeOutcome): InvocationOutcome {
  if (status === 'completed' || status === 'failed') return { status, ...outcome };
  return {
    ...outcome,
    status: 'failed',
    error: { name: 'TerminatedError', message: 'the Workflow was terminated' },
  };
}
