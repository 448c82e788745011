import {
  ConnectorError,
  invocationHeaders,
  isConnectorError,
  networkFailure,
  withinTime,
  type ClientInvocation,
  type Clock,
  type FunctionInfo,
  type FunctionLog,
  type InvocationOutcome,
  type JsonValue,
  type NativeRun,
  type Note,
  type ServerlessClient,
} from '../../../driver.ts';
import { hasNoEndpoint, outcomeOfAnswer, refusalOf } from './answers.ts';
import type { Call, FunctionStatus, Gateway } from './gateway.ts';
import { infoOf, listing } from './listing.ts';
import { readLogs } from './logs.ts';
import { addressOf, type Address } from './names.ts';
import type { OpenfaasOptions } from './options.ts';

/** Of a payload and of a result. OpenFaaS names no limit for a call, so this is that of AWS Lambda, as for `local`. */
export const MAX_BYTES = 6 * 2 ** 20;
/**
 * Of a payload in the queue: "the maximum size is configured to be 1MB" (https://docs.openfaas.com/reference/async/, read
 * 2026-11-28), which is of a message that holds the payload in base64 and the headers as well.
 */
const MAX_QUEUED_BYTES = 700_000;

export type OpenfaasParts = {
  readonly options: OpenfaasOptions;
  readonly gateway: Gateway;
  readonly clock: Clock;
  /** Proof of life with its notes. */
  readonly check: (signal: AbortSignal) => Promise<readonly Note[]>;
};

/** Functions behind one gateway. */
export class OpenfaasFunctions implements ServerlessClient {
  readonly #namespace: string | undefined;
  readonly #isQueued: boolean;
  readonly #gateway: Gateway;
  readonly #clock: Clock;
  readonly #check: OpenfaasParts['check'];

  constructor({ options, gateway, clock, check }: OpenfaasParts) {
    this.#namespace = options.namespace;
    this.#isQueued = options.async === 'gateway';
    this.#gateway = gateway;
    this.#clock = clock;
    this.#check = check;
  }

  check(signal: AbortSignal): Promise<readonly Note[]> {
    return this.#check(signal);
  }

  close(): Promise<void> {
    return this.#gateway.close();
  }

  async invoke(
    name: string,
    payload: JsonValue,
    invocation: ClientInvocation,
    signal: AbortSignal,
  ): Promise<InvocationOutcome> {
    const address = addressOf(name, this.#namespace);
    const call: Call = {
      ...{ route: 'function' as const, address, headers: headersOf(invocation) },
      ...{ body: JSON.stringify(payload), maxResultBytes: MAX_BYTES },
    };
    return withinTime(name, invocation, { clock: this.#clock, signal }, async (within) => {
      const answer = await this.#gateway.call(call, within);
      if (hasNoEndpoint(answer)) throw await this.#notReached(name, address, within);
      return outcomeOfAnswer(name, answer, this.#clock.now());
    });
  }

  async listFunctions(signal: AbortSignal): Promise<readonly FunctionInfo[]> {
    const query = { namespace: this.#namespace };
    const found = await this.#gateway.read('/system/functions', query, listing, signal);
    return (found ?? []).map(infoOf);
  }

  async start(
    name: string,
    payload: JsonValue,
    invocation: ClientInvocation,
    signal: AbortSignal,
  ): Promise<NativeRun | undefined> {
    const address = addressOf(name, this.#namespace);
    const { callbackUrl, requestId } = invocation;
    const body = JSON.stringify(payload);
    if (!this.#isQueued || callbackUrl === undefined) return undefined;
    if (Buffer.byteLength(body) > MAX_QUEUED_BYTES) return undefined;
    // The queue takes calls of functions that do not exist (https://github.com/openfaas/faas/issues/947, read 2026-11-28).
    const status = await this.#known(address, signal);
    if (status === 'absent') throw notFound(name);
    const call: Call = {
      ...{ route: 'async-function' as const, address, headers: headersOf(invocation), callbackUrl },
      ...{ body, maxResultBytes: MAX_BYTES },
    };
    const answer = await this.#gateway.call(call, signal);
    if (answer.status === 202) return { kind: 'queued call', id: requestId };
    // Without a queue the gateway has no such route (gateway/main.go, `UseNATS`), and nothing was taken.
    if (answer.status === 404 && status !== 'unknown') return undefined;
    if (answer.status >= 400)
      throw refusalOf(answer, new TextDecoder().decode(answer.body), this.#clock.now());
    throw new ConnectorError(
      'backend_error',
      `the gateway answered ${answer.status} to a call for its queue`,
      {
        details: { backend_status: answer.status },
      },
    );
  }

  /** What the replicas that run now have written; without one there is nothing. */
  async logs(name: string, limit: number, signal: AbortSignal): Promise<readonly FunctionLog[]> {
    const address = addressOf(name, this.#namespace);
    const { entries, failure } = await this.#linesOf(address, limit, signal);
    if (entries.length > 0) return entries;
    const status = await this.#gateway.status(address, signal);
    if (status === undefined) throw notFound(name);
    if (failure !== undefined && status.availableReplicas !== 0) throw failure;
    return [];
  }

  /**
   * A provider fails where there is no replica (`no matching instances found`,
   * https://github.com/openfaas/faas-netes/blob/master/pkg/k8s/logs.go, read 2026-11-28), and the gateway may pass its words on as
   * a success (https://github.com/openfaas/faas/blob/master/gateway/handlers/logs.go, read 2026-11-28).
   */
  async #linesOf({ name, namespace }: Address, limit: number, signal: AbortSignal): Promise<Lines> {
    const query = { name, namespace, tail: String(limit), follow: 'false' };
    try {
      const response = await this.#gateway.open('/system/logs', query, signal);
      const { entries, hasOther } = await readLogs(response, limit);
      return hasOther ? { entries, failure: noLines() } : { entries };
    } catch (error) {
      const failure = isConnectorError(error) ? error : networkFailure(error, signal);
      if (failure.details?.['backend_status'] === 500 || failure.code === 'not_found')
        return { entries: [], failure };
      throw failure;
    }
  }

  /** Whether there is such a function, as far as the gateway lets us ask. */
  async #known(address: Address, signal: AbortSignal): Promise<FunctionStatus | 'absent' | 'unknown'> {
    try {
      return (await this.#gateway.status(address, signal)) ?? 'absent';
    } catch (error) {
      if (!isConnectorError(error) || !MAY_NOT_ASK.has(error.code)) throw error;
      return 'unknown';
    }
  }

  /** No replica was there to take the call: because there is no such function, or none runs. */
  async #notReached(name: string, address: Address, signal: AbortSignal): Promise<ConnectorError> {
    const status = await this.#known(address, signal).catch(() => 'unknown' as const);
    if (status === 'absent') return notFound(name);
    const details = { backend_status: 503, sent: false };
    return new ConnectorError('unavailable', `no replica of function ${name} is available`, { details });
  }
}

const MAY_NOT_ASK: ReadonlySet<string> = new Set(['auth_failed', 'permission_denied']);

/**
 * The id of the invocation as OpenFaaS knows it, which is `Http_X_Call_Id` in a function, and as functions of all platforms do.
 *
 * https://github.com/openfaas/faas/blob/master/gateway/README.md#tracing; the gateway keeps one that it is given
 * (gateway/handlers/callid_middleware.go; both read 2026-11-28)
 */
function headersOf(invocation: ClientInvocation): Record<string, string> {
  return { ...invocationHeaders(invocation), 'x-call-id': invocation.requestId };
}

type Lines = { readonly entries: readonly FunctionLog[]; readonly failure?: ConnectorError };

function noLines(): ConnectorError {
  return new ConnectorError('backend_error', 'the gateway answered what are no lines of a log');
}

function notFound(name: string): ConnectorError {
  return new ConnectorError('not_found', `there is no function ${name}`);
}

/** The error of a result that is over the limit. */
export function tooLarge(): ConnectorError {
  return new ConnectorError('payload_too_large', `the result is longer than ${MAX_BYTES} bytes`, {
    details: { maxBytes: MAX_BYTES },
  });
}
