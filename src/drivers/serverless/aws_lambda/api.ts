import type {
  $Command,
  LambdaClient,
  LambdaClientResolvedConfig,
  ServiceInputTypes,
  ServiceOutputTypes,
} from '@aws-sdk/client-lambda';
import type { AwsFailureContext } from '../../../clouds/aws/errors.ts';
import { until } from '../../../clouds/aws/sdk.ts';
import { lambdaFailure } from './errors.ts';
import type { Sdk } from './sdk.ts';

/** Any command of Lambda with its own input and output. */
type Command<Input extends ServiceInputTypes, Output extends ServiceOutputTypes> = $Command<
  Input,
  Output,
  LambdaClientResolvedConfig,
  ServiceInputTypes,
  ServiceOutputTypes
>;

export type ApiParts = {
  readonly sdk: Sdk;
  /** For whatever is asked about functions and their runs. */
  readonly control: LambdaClient;
  /** For runs, whose results have a limit of their own. */
  readonly runs: LambdaClient;
  readonly failures: AwsFailureContext;
};

/** Lambda in one region: requests that end with their signal and fail with errors of ours. */
export class LambdaApi {
  readonly sdk: Sdk;
  readonly #parts: ApiParts;

  constructor(parts: ApiParts) {
    this.sdk = parts.sdk;
    this.#parts = parts;
  }

  /** How far the service's clock is ahead of this machine's, in milliseconds, as of its last answer. */
  get clockOffsetMs(): number {
    return this.#parts.control.config.systemClockOffset;
  }

  /** `what` is what is not there where Lambda says so. */
  ask<Input extends ServiceInputTypes, Output extends ServiceOutputTypes>(
    command: Command<Input, Output>,
    what: string,
    signal: AbortSignal,
  ): Promise<Output> {
    return this.#send(this.#parts.control, command, what, signal);
  }

  run<Input extends ServiceInputTypes, Output extends ServiceOutputTypes>(
    command: Command<Input, Output>,
    what: string,
    signal: AbortSignal,
  ): Promise<Output> {
    return this.#send(this.#parts.runs, command, what, signal);
  }

  /** Fetches the credentials, where they are not at hand; the clients keep them while they last. */
  async identify(signal: AbortSignal): Promise<void> {
    try {
      await until(signal, () => this.#parts.control.config.credentials());
    } catch (error) {
      throw lambdaFailure(error, 'identity', this.#parts.failures, signal);
    }
  }

  close(): void {
    this.#parts.control.destroy();
    this.#parts.runs.destroy();
  }

  async #send<Input extends ServiceInputTypes, Output extends ServiceOutputTypes>(
    client: LambdaClient,
    command: Command<Input, Output>,
    what: string,
    signal: AbortSignal,
  ): Promise<Output> {
    try {
      return await until(signal, () => client.send(command, { abortSignal: signal }));
    } catch (error) {
      throw lambdaFailure(error, what, this.#parts.failures, signal);
    }
  }
}
