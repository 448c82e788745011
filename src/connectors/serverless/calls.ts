import type { Clock } from '../../contract/clock.ts';
import { ConnectorError, isConnectorError } from '../../errors/error.ts';
import type { CallOptions } from '../base.ts';
import type { ClientSession } from '../session.ts';
import type {
  ClientInvocation,
  FunctionCallback,
  NativeOutcome,
  NativeRun,
  ServerlessCapabilities,
  ServerlessClient,
  ServerlessDriver,
} from './driver.ts';
import type { InvocationRecord } from './invocations.ts';
import { checkedOutcome } from './json.ts';
import type { CallEnd, StartEnd } from './turns.ts';

/**
 * Time that an attempt has beyond the function's own limit, in milliseconds: for a cold start, and so that the
 * platform's precise answer about a function that ran too long comes before the pipeline gives up on the platform.
 */
export const ATTEMPT_SLACK_MS = 5_000;

export type CallsParts = {
  readonly session: ClientSession<ServerlessClient>;
  readonly capabilities: ServerlessCapabilities;
  readonly outcomeOf?: ServerlessDriver['outcomeOf'];
  readonly clock: Clock;
  /** Where a platform reports the end of an invocation; `undefined` where the registry has no address. */
  readonly callbackUrl: (requestId: string) => string | undefined;
  /** The error as it names its connector. */
  readonly named: (error: ConnectorError) => ConnectorError;
};

/** What is asked of a platform for one invocation, through the connector's policies. */
export class FunctionCalls {
  readonly #parts: CallsParts;

  constructor(parts: CallsParts) {
    this.#parts = parts;
  }

  /**
   * One call that waits for the function's end. Never rejects.
   *
   * The platform's `timeout` for a function that ran too long is taken out of the pipeline as an answer: it says
   * nothing about the platform's health, so it must neither open the breaker for the other functions nor be retried.
   *
   * @param once the caller repeats it himself.
   */
  async call(
    { requestId, functionName, payload, timeoutMs, repeatable }: InvocationRecord,
    { signal, once = false }: CallOptions & { readonly once?: boolean },
  ): Promise<CallEnd> {
    const { session, clock, named } = this.#parts;
    const call = {
      operation: 'serverless.invoke',
      idempotent: repeatable,
      once,
      signal,
      timeoutMs: timeoutMs + ATTEMPT_SLACK_MS,
    };
    const startedMs = clock.monotonicMs();
    const elapsedMs = () => clock.monotonicMs() - startedMs;
    let asked = false;
    try {
      const outcome = await session.run(call, async (client, { signal }) => {
        asked = true;
        try {
          return await client.invoke(functionName, payload, { requestId, timeoutMs }, signal);
        } catch (error) {
          const isOverTime = isConnectorError(error) && error.code === 'timeout';
          if (isOverTime && error.details['sent'] !== false) return error;
          throw error;
        }
      });
      if (isConnectorError(outcome)) return { timedOut: named(outcome) };
      const timed = { ...outcome, durationMs: outcome.durationMs ?? elapsedMs() };
      return { outcome: checkedOutcome(timed, this.#resultBytes) };
    } catch (error) {
      // The session throws nothing else, and a result over the limit is refused with one as well.
      return { failure: named(error as ConnectorError), asked, durationMs: elapsedMs() };
    }
  }

  /** Starts a run that the platform carries on; `undefined` where it only takes calls. Never rejects. */
  async start(invocation: InvocationRecord, signal: AbortSignal): Promise<StartEnd> {
    const { session, capabilities, callbackUrl } = this.#parts;
    const { requestId, functionName, payload, timeoutMs, repeatable } = invocation;
    const url = capabilities.native === 'callback' ? callbackUrl(requestId) : undefined;
    if (capabilities.native === 'callback' && url === undefined) return { native: undefined };
    const given: ClientInvocation = {
      ...{ requestId, timeoutMs },
      ...(url !== undefined && { callbackUrl: url }),
      ...(!repeatable && { once: true }),
    };
    const call = { operation: 'serverless.start', idempotent: false, once: true, signal };
    let asked = false;
    try {
      const native = await session.run(call, async (client, { signal }) => {
        asked = true;
        return client.start?.(functionName, payload, given, signal);
      });
      return { native };
    } catch (error) {
      // The session throws nothing else.
      return { failure: error as ConnectorError, asked, durationMs: 0 };
    }
  }

  /** How a started run ended; `undefined` while it goes on. @throws ConnectorError the platform's failure. */
  async follow(
    { functionName }: InvocationRecord,
    run: NativeRun,
    signal: AbortSignal,
  ): Promise<NativeOutcome | undefined> {
    const call = { operation: 'serverless.follow', idempotent: true, once: true, signal };
    const outcome = await this.#parts.session.run(call, async (client, { signal }) =>
      client.follow?.(functionName, run, signal),
    );
    return outcome && this.#checked(outcome);
  }

  /** Asks the platform to end a started run. @throws ConnectorError the platform's failure. */
  async stop({ functionName }: InvocationRecord, run: NativeRun): Promise<void> {
    const call = { operation: 'serverless.stop', idempotent: true };
    await this.#parts.session.run(call, async (client, { signal }) =>
      client.stop?.(functionName, run, signal),
    );
  }

  /**
   * What a platform says of an end; without the policies, since nothing is asked of it, and it says that once.
   *
   * @throws ConnectorError `invalid_argument` where the callback says nothing, `unsupported` where the platform sends none.
   */
  outcomeOf(callback: FunctionCallback): NativeOutcome {
    const { outcomeOf, named } = this.#parts;
    try {
      if (!outcomeOf) throw new ConnectorError('unsupported', 'this platform calls nobody back');
      return this.#checked(outcomeOf(callback));
    } catch (error) {
      if (!isConnectorError(error)) throw error;
      // It ran, and what came of it can be had from nowhere else.
      if (error.code === 'payload_too_large')
        return { status: 'failed', error: { name: error.code, message: error.message } };
      throw named(error);
    }
  }

  /** What ended otherwise than by completing has no result that could be refused. */
  #checked(outcome: NativeOutcome): NativeOutcome {
    if (outcome.status !== 'completed') return outcome;
    return checkedOutcome({ ...outcome, status: 'completed' }, this.#resultBytes);
  }

  get #resultBytes(): number {
    const { payloadBytes, resultBytes = payloadBytes } = this.#parts.capabilities.limits;
    return resultBytes;
  }
}
