import {
  ConnectorError,
  httpAnswer,
  invocationHeaders,
  isConnectorError,
  networkFailure,
  reach,
  targetOf,
  withinTime,
  type ClientInvocation,
  type Fetcher,
  type FunctionInfo,
  type InvocationOutcome,
  type JsonValue,
  type NativeOutcome,
  type NativeRun,
  type Note,
  type OpenContext,
  type ServerlessClient,
} from '../../../driver.ts';
import type { Addresses } from './addresses.ts';
import { workerOutcome } from './answer.ts';
import type { CloudflareApi } from './api.ts';
import { masked, secretsOf, type CloudflareWorkersOptions } from './options.ts';
import { WorkflowRuns } from './workflow-runs.ts';
import type { WorkflowNames } from './workflow-names.ts';

/**
 * Ours, an eighth of what an isolate has: text, and what is parsed of it, lie in its 128 MB side by side. A request may
 * have 100 MB (https://developers.cloudflare.com/workers/platform/limits/, read 2026-11-28), a response has no limit.
 */
export const PAYLOAD_BYTES = 16 * 2 ** 20;

export type WorkersParts = {
  readonly options: CloudflareWorkersOptions;
  readonly addresses: Addresses;
  readonly api: CloudflareApi | undefined;
  readonly workflows: WorkflowNames;
  readonly fetcher: Fetcher;
  readonly context: OpenContext;
  readonly probe: string | undefined;
};

export class WorkersClient implements ServerlessClient {
  readonly #parts: WorkersParts;
  readonly #runs: WorkflowRuns | undefined;
  readonly #headers: Readonly<Record<string, string>>;
  readonly #secrets: readonly string[];

  constructor(parts: WorkersParts) {
    const { options, api, context } = parts;
    this.#parts = parts;
    this.#runs = api && new WorkflowRuns(api, context);
    this.#secrets = secretsOf(options);
    this.#headers = {
      // Not `*/*`: Cloudflare answers its own errors as JSON then, and development servers the error instead of a page.
      accept: 'application/json, text/plain;q=0.9',
      'content-type': 'application/json',
      ...credentials(options),
    };
  }

  invoke(
    name: string,
    payload: JsonValue,
    invocation: ClientInvocation,
    signal: AbortSignal,
  ): Promise<InvocationOutcome> {
    const { context } = this.#parts;
    return withinTime(name, invocation, { clock: context.clock, signal }, (within) =>
      this.#isWorkflow(name) && this.#runs
        ? this.#runs.run(name, payload, invocation, within)
        : this.#post(name, payload, invocation, within),
    );
  }

  async listFunctions(signal: AbortSignal): Promise<readonly FunctionInfo[]> {
    const { addresses, api, workflows, options } = this.#parts;
    if (api === undefined && addresses.isOpen) {
      throw new ConnectorError(
        'unsupported',
        'functions are listed with account_id and api_token, or where each has its URL in functions',
        { details: { capability: 'list', missing: ['account_id', 'api_token'] } },
      );
    }
    if (options.workflows === undefined) await workflows.load(signal);
    const found = new Map<string, FunctionInfo>();
    // What no address leads to cannot be called, and is none of this connector's.
    if (addresses.isOpen)
      for (const info of (await api?.listScripts(signal)) ?? []) found.set(info.name, info);
    for (const name of workflows.all()) found.set(name, { name, description: 'Workflow' });
    for (const name of addresses.named) found.set(name, { ...found.get(name), name });
    return [...found.values()];
  }

  async start(
    name: string,
    payload: JsonValue,
    invocation: ClientInvocation,
    signal: AbortSignal,
  ): Promise<NativeRun | undefined> {
    return this.#isWorkflow(name) ? await this.#runs?.start(name, payload, invocation, signal) : undefined;
  }

  async follow(name: string, { id }: NativeRun, signal: AbortSignal): Promise<NativeOutcome | undefined> {
    return await this.#native().follow(name, id, signal);
  }

  async stop(name: string, { id }: NativeRun, signal: AbortSignal): Promise<void> {
    await this.#native().stop(name, id, signal);
  }

  async check(signal: AbortSignal): Promise<readonly Note[]> {
    const { api, context, options, probe } = this.#parts;
    const notes: Note[] = [];
    if (api !== undefined) await api.probe(signal);
    else if (probe !== undefined) {
      await reach({ ...context, signal, stage: (_name, step) => step() }, targetOf(probe, options.ca));
    } else {
      const message = 'no address is known before a function is named, so that nothing was asked';
      notes.push({ level: 'info', message });
    }
    if (api === undefined && this.#parts.addresses.isOpen) {
      const message = 'without account_id and api_token, functions are not listed and Workflows not started';
      notes.push({ level: 'info', message });
    }
    const isClear = [options.endpoint, ...Object.values(options.functions)].some((url) =>
      url?.toLowerCase().startsWith('http:'),
    );
    if (isClear && Object.keys(credentials(options)).length > 0)
      notes.push({ level: 'warn', message: 'credentials are sent in clear; use addresses with https' });
    return notes;
  }

  async close(): Promise<void> {
    await Promise.all([this.#parts.workflows.close(), this.#runs?.close()]);
    await this.#parts.fetcher.close();
  }

  async #post(
    name: string,
    payload: JsonValue,
    invocation: ClientInvocation,
    signal: AbortSignal,
  ): Promise<InvocationOutcome> {
    const { addresses, fetcher, context } = this.#parts;
    const url = addresses.urlOf(name);
    try {
      const response = await fetcher.fetch(url, {
        method: 'POST',
        headers: { ...this.#headers, ...invocationHeaders(invocation) },
        body: JSON.stringify(payload),
        redirect: 'manual',
        signal,
      });
      const answer = await httpAnswer(response, PAYLOAD_BYTES);
      const body = response.ok ? answer.body : this.#withoutSecrets(answer.body);
      return workerOutcome(name, { ...answer, body }, context.clock.now());
    } catch (error) {
      throw isConnectorError(error) ? error : networkFailure(error, signal);
    }
  }

  #withoutSecrets(body: Uint8Array): Uint8Array {
    if (this.#secrets.length === 0) return body;
    return Buffer.from(masked(new TextDecoder().decode(body), this.#secrets));
  }

  /** A name in the table is an address, whatever else the account has by that name. */
  #isWorkflow(name: string): boolean {
    const { addresses, workflows } = this.#parts;
    return this.#runs !== undefined && !addresses.named.includes(name) && workflows.has(name);
  }

  #native(): WorkflowRuns {
    if (this.#runs) return this.#runs;
    throw new ConnectorError('unsupported', 'Workflows need account_id and api_token', {
      details: { capability: 'native', missing: ['account_id', 'api_token'] },
    });
  }
}

/**
 * What a Worker, or Cloudflare Access in front of it, knows us by:
 * https://developers.cloudflare.com/cloudflare-one/access-controls/service-credentials/service-tokens/ (read 2026-11-28)
 */
function credentials({
  api_key,
  api_key_header,
  access_client_id,
  access_client_secret,
}: CloudflareWorkersOptions): Record<string, string> {
  return {
    ...(api_key !== undefined &&
      (api_key_header === undefined
        ? { authorization: `Bearer ${api_key}` }
        : { [api_key_header.toLowerCase()]: api_key })),
    ...(access_client_id !== undefined &&
      access_client_secret !== undefined && {
        'cf-access-client-id': access_client_id,
        'cf-access-client-secret': access_client_secret,
      }),
  };
}
