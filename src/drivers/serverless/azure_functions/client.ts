import {
  ConnectorError,
  httpFailure,
  httpOutcome,
  invocationHeaders,
  isConnectorError,
  sleep,
  unsent,
  withinTime,
  type ClientInvocation,
  type Clock,
  type FunctionInfo,
  type HttpAnswer,
  type InvocationOutcome,
  type JsonValue,
  type NativeOutcome,
  type NativeRun,
  type Note,
  type ServerlessClient,
} from '../../../driver.ts';
import type { Catalogue, CatalogueEntry } from './catalogue.ts';
import { startedBy, type Orchestrations } from './durable.ts';
import type { FunctionApp } from './function-app.ts';
import { checkFunctionName } from './names.ts';
import type { AzureFunctionsOptions } from './options.ts';

/** Between looks at an orchestration that somebody waits for; the host itself asks for five seconds. */
const FIRST_LOOK_MS = 200;
const LOOK_MS = 5_000;

/** What a client is made of. */
export type Parts = {
  readonly options: AzureFunctionsOptions;
  readonly app: FunctionApp;
  readonly durable: Orchestrations;
  /** Absent where the options name no app for Azure Resource Manager. */
  readonly catalogue: Catalogue | undefined;
  readonly clock: Clock;
  /** Ends all of it. */
  readonly release: () => Promise<void>;
};

/** The functions of one app. */
export class AzureFunctions implements ServerlessClient {
  readonly #parts: Parts;

  constructor(parts: Parts) {
    this.#parts = parts;
  }

  async check(signal: AbortSignal): Promise<readonly Note[]> {
    const { options, app, durable } = this.#parts;
    const { status, headers, body } = await app.ask({ method: 'GET', path: [''], key: 'none' }, signal);
    if (status === 401 || status === 403 || status >= 500)
      throw httpFailure({ status, message: new TextDecoder().decode(body) });
    if (options.durable_key !== undefined) await durable.probe(signal);
    return [
      ...(status >= 300 && status < 400 ? [redirected(status, headers)] : []),
      ...(await this.#listed(signal)),
      ...this.#said(),
    ];
  }

  async invoke(
    name: string,
    payload: JsonValue,
    invocation: ClientInvocation,
    signal: AbortSignal,
  ): Promise<InvocationOutcome> {
    checkFunctionName(name);
    const { clock, durable } = this.#parts;
    return withinTime(name, invocation, { clock, signal }, async (inTime) => {
      const call = (await this.#known(name, inTime)) ?? byName(name);
      if (call.by === 'orchestration') {
        const run = await durable.start(name, payload, invocation.requestId, inTime);
        return this.#end(run, inTime);
      }
      const answer = await this.#post(call.route, payload, invocation, inTime);
      const run = startedBy(answer);
      return run === undefined ? this.#outcome(name, answer) : this.#end(run, inTime);
    });
  }

  async start(
    name: string,
    payload: JsonValue,
    invocation: ClientInvocation,
    signal: AbortSignal,
  ): Promise<NativeRun | undefined> {
    checkFunctionName(name);
    const { clock, durable, options } = this.#parts;
    return withinTime(name, invocation, { clock, signal }, async (inTime) => {
      const call = await this.#callOf(name, inTime);
      if (call.by === 'orchestration') return durable.start(name, payload, invocation.requestId, inTime);
      // What ids it gives its instances is its own affair, so that two calls may be two instances.
      if (!options.starters.includes(name) || invocation.once) return undefined;
      const answer = await this.#post(call.route, payload, invocation, inTime);
      const run = startedBy(answer);
      if (run !== undefined) return run;
      // Throws what the platform said in its place.
      const { error } = this.#outcome(name, answer);
      throw new ConnectorError(
        'backend_error',
        `function ${name} was called and started no orchestration${error ? `: ${error.message}` : ''}`,
      );
    });
  }

  follow(_name: string, run: NativeRun, signal: AbortSignal): Promise<NativeOutcome | undefined> {
    return this.#parts.durable.ended(run.id, signal);
  }

  stop(_name: string, run: NativeRun, signal: AbortSignal): Promise<void> {
    return this.#parts.durable.terminate(run.id, signal);
  }

  async listFunctions(signal: AbortSignal): Promise<readonly FunctionInfo[]> {
    const { catalogue } = this.#parts;
    if (catalogue === undefined)
      throw new ConnectorError(
        'unsupported',
        'functions are listed by Azure Resource Manager: set subscription_id, resource_group and app_name, with a service principal or auth_type iam',
      );
    return (await catalogue.list(signal)).map(({ info }) => info);
  }

  async close(): Promise<void> {
    await this.#parts.release();
  }

  /**
   * How a function is called. Whether one that was never listed is an orchestrator is not known while Azure Resource
   * Manager does not answer, and is not guessed; who may not list calls functions by their names.
   *
   * @throws ConnectorError with `details.sent: false`.
   */
  async #callOf(name: string, signal: AbortSignal): Promise<CatalogueEntry['call']> {
    try {
      return (await this.#found(name, signal)) ?? byName(name);
    } catch (error) {
      if (!isConnectorError(error) || error.retryable || signal.aborted)
        throw isConnectorError(error) ? unsent(error) : error;
      return byName(name);
    }
  }

  /** The same for somebody who waits: most functions are called by their names, which needs nobody but the app. */
  async #known(name: string, signal: AbortSignal): Promise<CatalogueEntry['call'] | undefined> {
    try {
      return await this.#found(name, signal);
    } catch (error) {
      if (signal.aborted) throw error;
      return undefined;
    }
  }

  async #found(name: string, signal: AbortSignal): Promise<CatalogueEntry['call'] | undefined> {
    const { options, catalogue } = this.#parts;
    if (options.orchestrators.includes(name)) return { by: 'orchestration' };
    return (await catalogue?.find(name, signal))?.call;
  }

  /** Azure answers 401 for a wrong key or token; its 403 is that of an app that is stopped, or closed to our address. */
  #outcome(name: string, answer: HttpAnswer): InvocationOutcome {
    const { status, body } = answer;
    if (status === 403) throw httpFailure({ status, message: new TextDecoder().decode(body) });
    return httpOutcome(name, answer, this.#parts.clock.now());
  }

  #post(
    route: readonly string[],
    payload: JsonValue,
    invocation: ClientInvocation,
    signal: AbortSignal,
  ): Promise<HttpAnswer> {
    const { app, options } = this.#parts;
    const prefix = options.route_prefix === '' ? [] : options.route_prefix.split('/');
    const headers = invocationHeaders(invocation);
    const body = JSON.stringify(payload);
    return app.ask({ method: 'POST', path: [...prefix, ...route], key: 'function', headers, body }, signal);
  }

  /** Waits for the end of an orchestration, which goes on where nobody waits any more. */
  async #end({ id }: NativeRun, signal: AbortSignal): Promise<InvocationOutcome> {
    const { clock, durable } = this.#parts;
    for (let waitMs = FIRST_LOOK_MS; ; waitMs = Math.min(waitMs * 2, LOOK_MS)) {
      const outcome = await durable.ended(id, signal);
      // One that was ended from elsewhere has failed, for whoever waits for its result.
      if (outcome !== undefined)
        return { ...outcome, status: outcome.status === 'completed' ? 'completed' : 'failed' };
      await sleep(clock, waitMs, signal);
    }
  }

  /** Whether functions can be listed, which no call depends upon; a refused identity is a failure all the same. */
  async #listed(signal: AbortSignal): Promise<readonly Note[]> {
    try {
      await this.#parts.catalogue?.list(signal);
      return [];
    } catch (error) {
      if (!isConnectorError(error) || error.code === 'auth_failed' || error.code === 'cancelled') throw error;
      return [{ level: 'warn', message: `functions cannot be listed: ${error.message}` }];
    }
  }

  #said(): readonly Note[] {
    const { endpoint, function_key, durable_key, orchestrators, starters } = this.#parts.options;
    const isSecret = function_key !== undefined || durable_key !== undefined;
    const isDurable = orchestrators.length > 0 || starters.length > 0;
    return [
      ...(function_key === undefined
        ? []
        : [note('info', 'the function key is tried when a function is called, and not before')]),
      ...(isDurable && durable_key === undefined
        ? [note('warn', 'there is no durable_key, without which Azure lets nobody follow orchestrations')]
        : []),
      ...(isSecret && /^http:/i.test(endpoint)
        ? [note('warn', 'keys are sent in clear; use an endpoint with https')]
        : []),
    ];
  }
}

function byName(name: string): CatalogueEntry['call'] {
  return { by: 'http', route: [name] };
}

function note(level: Note['level'], message: string): Note {
  return { level, message };
}

function redirected(status: number, headers: HttpAnswer['headers']): Note {
  const wantsTls = headers.get('location')?.startsWith('https:') === true;
  return note(
    'warn',
    `the app leads elsewhere (${status}), which is not followed: ${wantsTls ? 'it may want https or a login' : 'it may want a login'}`,
  );
}
