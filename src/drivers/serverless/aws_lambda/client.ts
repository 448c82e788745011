import {
  isConnectorError,
  withinTime,
  type Agents,
  type ClientInvocation,
  type Clock,
  type FunctionInfo,
  type InvocationOutcome,
  type JsonValue,
  type NativeOutcome,
  type NativeRun,
  type Note,
  type ServerlessClient,
} from '../../../driver.ts';
import type { LambdaApi } from './api.ts';
import { followExecution, FunctionKinds, startExecution, stopExecution } from './durable.ts';
import { invoke, type Calling } from './invoke.ts';
import { askForAny, listFunctions } from './list.ts';
import type { LambdaOptions } from './options.ts';
import { functionTarget, UNPUBLISHED, type FunctionTarget } from './target.ts';

/** A difference between clocks that a person should know of. AWS takes five minutes, and the SDK makes up for more. */
const SKEW_MS = 60_000;

export type LambdaParts = {
  readonly agents: Agents;
  readonly api: LambdaApi;
  readonly options: LambdaOptions;
  readonly clock: Clock;
};

/** The functions of one account in one region, with the rights of one identity. */
export class LambdaFunctions implements ServerlessClient {
  readonly #parts: LambdaParts;
  readonly #calling: Calling;
  readonly #kinds: FunctionKinds;

  constructor(parts: LambdaParts) {
    this.#parts = parts;
    this.#calling = { api: parts.api, tenantId: parts.options.tenant_id };
    this.#kinds = new FunctionKinds(parts.api, parts.clock);
  }

  async invoke(
    name: string,
    payload: JsonValue,
    invocation: ClientInvocation,
    signal: AbortSignal,
  ): Promise<InvocationOutcome> {
    const target = this.#target(name);
    const { clock } = this.#parts;
    return withinTime(name, invocation, { clock, signal }, async (signal) => {
      const run = (target: FunctionTarget & { readonly isDurable?: boolean }) =>
        invoke(this.#calling, target, payload, invocation, signal);
      try {
        return await run(target);
      } catch (error) {
        if (!(await this.#isDurableByBareName(error, target, signal))) throw error;
        return run({ ...target, qualifier: UNPUBLISHED, isDurable: true });
      }
    });
  }

  listFunctions(signal: AbortSignal): Promise<readonly FunctionInfo[]> {
    return listFunctions(this.#parts.api, signal);
  }

  async start(
    name: string,
    payload: JsonValue,
    invocation: ClientInvocation,
    signal: AbortSignal,
  ): Promise<NativeRun | undefined> {
    const target = this.#target(name);
    if (!(await this.#kinds.isDurable(target, signal))) return undefined;
    return startExecution(this.#calling, target, payload, invocation, signal);
  }

  follow(_name: string, run: NativeRun, signal: AbortSignal): Promise<NativeOutcome | undefined> {
    return followExecution(this.#parts.api, run, signal);
  }

  stop(_name: string, run: NativeRun, signal: AbortSignal): Promise<void> {
    return stopExecution(this.#parts.api, run, signal);
  }

  async check(signal: AbortSignal): Promise<readonly Note[]> {
    const { api, options } = this.#parts;
    const notes: Note[] = [];
    const warn = (message: string) => notes.push({ level: 'warn', message });
    try {
      await askForAny(api, signal);
    } catch (error) {
      if (!isConnectorError(error)) throw error;
      if (error.code === 'permission_denied')
        warn('these credentials may not list functions; whether they may invoke them was not tried');
      else if (error.code === 'unsupported' && options.endpoint !== undefined)
        warn('the endpoint lists no functions, as Lambda would; the credentials were not tried');
      else throw error;
    }
    if (this.#kinds.isDenied)
      warn(
        'these credentials may not read configurations (lambda:GetFunctionConfiguration); durable functions are called like any other',
      );
    const skewMs = Math.abs(api.clockOffsetMs);
    if (skewMs >= SKEW_MS)
      warn(`this machine's clock and that of AWS differ by ${Math.round(skewMs / 1000)} s`);
    if (options.endpoint?.startsWith('http:') === true)
      warn('payloads and results travel in clear; use an endpoint with https');
    return notes;
  }

  async close(): Promise<void> {
    this.#parts.api.close();
    this.#parts.agents.close();
  }

  /** Whether Lambda refused a durable function for its bare name: it says so in words alone, and has run nothing. */
  async #isDurableByBareName(error: unknown, target: FunctionTarget, signal: AbortSignal): Promise<boolean> {
    const isRefused =
      isConnectorError(error) && error.details['backend_code'] === 'InvalidParameterValueException';
    return isRefused && target.qualifier === undefined && this.#kinds.isDurable(target, signal);
  }

  #target(name: string): FunctionTarget {
    return functionTarget(name, this.#parts.options.qualifier);
  }
}
