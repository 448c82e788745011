import type {
  $Command,
  GetObjectCommandOutput,
  HeadObjectCommandOutput,
  S3Client,
  S3ClientResolvedConfig,
  ServiceInputTypes,
  ServiceOutputTypes,
} from '@aws-sdk/client-s3';
import { until } from '../../../clouds/aws/sdk.ts';
import { answeredWith, s3Failure, type FailureContext } from './errors.ts';
import type { Sdk } from './sdk.ts';

/** Any command of S3 with its own input and output. */
type Command<Input extends ServiceInputTypes, Output extends ServiceOutputTypes> = $Command<
  Input,
  Output,
  S3ClientResolvedConfig,
  ServiceInputTypes,
  ServiceOutputTypes
>;

/** One bucket as one client sees it: requests that end with their signal and fail with errors of ours. */
export class Bucket {
  readonly name: string;
  readonly sdk: Sdk;
  readonly client: S3Client;
  readonly #failures: FailureContext;

  constructor(sdk: Sdk, client: S3Client, failures: FailureContext) {
    this.name = failures.bucket;
    this.sdk = sdk;
    this.client = client;
    this.#failures = failures;
  }

  async send<Input extends ServiceInputTypes, Output extends ServiceOutputTypes>(
    command: Command<Input, Output>,
    signal: AbortSignal,
  ): Promise<Output> {
    try {
      // The SDK asks for credentials without the signal, and whoever gives them may take his time.
      return await until(signal, () => this.client.send(command, { abortSignal: signal }));
    } catch (error) {
      throw this.failure(error, signal);
    }
  }

  /** Fetches the credentials, where they are not at hand; the client keeps them while they last. */
  async identify(signal: AbortSignal): Promise<void> {
    try {
      await until(signal, () => this.client.config.credentials());
    } catch (error) {
      throw this.failure(error, signal);
    }
  }

  /** An error of this bucket's client as one of ours. */
  failure(error: unknown, signal?: AbortSignal) {
    return s3Failure(error, this.#failures, signal);
  }

  /** The facts of a file. */
  async head(path: string, signal: AbortSignal): Promise<HeadObjectCommandOutput> {
    const { HeadObjectCommand } = this.sdk;
    try {
      return await this.send(new HeadObjectCommand({ Bucket: this.name, Key: path }), signal);
    } catch (error) {
      // An answer to HEAD has no body, so that it cannot say whether the keys or the rights are wrong. One to GET can.
      if (answeredWith(error).status === 403) await this.#touch(path, signal);
      throw error;
    }
  }

  /** An open file. */
  get(path: string, range: string | undefined, signal: AbortSignal): Promise<GetObjectCommandOutput> {
    const { GetObjectCommand } = this.sdk;
    return this.send(new GetObjectCommand({ Bucket: this.name, Key: path, Range: range }), signal);
  }

  async #touch(path: string, signal: AbortSignal): Promise<void> {
    const { Body } = await this.get(path, 'bytes=0-0', signal);
    if (Body !== undefined && 'destroy' in Body) Body.destroy();
  }
}
