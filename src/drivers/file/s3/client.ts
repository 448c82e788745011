import { secretsOf } from '../../../clouds/aws/options.ts';
import {
  ConnectorError,
  isConnectorError,
  reach,
  targetOf,
  type Agents,
  type ByteRange,
  type ClientListOptions,
  type ClientWriteOptions,
  type FileClient,
  type FileInfo,
  type FilePage,
  type Note,
  type OpenContext,
  type OpenedFile,
  type PresignedUrl,
  type PresignOptions,
  type WriteResult,
} from '../../../driver.ts';
import { Afterwards } from './afterwards.ts';
import { Bucket } from './bucket.ts';
import { copyFile } from './copy.ts';
import { signingOf } from './credentials.ts';
import { askForAny, listPage } from './list.ts';
import type { S3Options } from './options.ts';
import { presign, type Signer } from './presign.ts';
import { readBytes, readStream, statFile } from './read.ts';
import { addressOf, loadSdk, s3Config } from './sdk.ts';
import { writeFile } from './write.ts';
import { writingOf, type Writing } from './writing.ts';

/** To the endpoint; as many as the SDK would have. */
const CONNECTIONS = 50;

/** Opens the bucket of a connector, stage by stage. */
export async function openS3(options: S3Options, context: OpenContext): Promise<FileClient> {
  const { clock, signal } = context;
  const sdk = await loadSdk();
  const agents = context.network.agents({ ca: options.ca, connections: CONNECTIONS });
  const failures = {
    bucket: options.bucket,
    region: options.region,
    secrets: secretsOf(options),
    now: () => clock.now(),
  };
  try {
    const signing = await signingOf(options, { open: context, agents, failures });
    const config = { ...s3Config(options, agents), ...signing };
    const client = new sdk.S3Client(config);
    const bucket = new Bucket(sdk, client, failures);
    await reach(context, targetOf(await addressOf(client, options.bucket), options.ca));
    const missing = await context.stage('credentials', () => provenBy(bucket, signal));
    await context.stage('bucket', async () => {
      if (missing !== undefined) throw missing;
    });
    const signer = {
      bucket,
      client: new sdk.S3Client({ ...config, requestChecksumCalculation: 'WHEN_REQUIRED' }),
      now: failures.now,
      canSign: signing.signer === undefined,
    };
    return new S3FileClient({ agents, bucket, signer, options, afterwards: new Afterwards(clock) });
  } catch (error) {
    agents.close();
    throw error;
  }
}

/**
 * Proves the credentials; answers the error where they are right and the bucket is not there.
 *
 * Whoever may not list the whole bucket has shown that he is known, and may well read and write below a prefix.
 */
async function provenBy(bucket: Bucket, signal: AbortSignal): Promise<ConnectorError | undefined> {
  // Apart from the request: of whoever gives credentials nothing is forgiven.
  await bucket.identify(signal);
  try {
    await askForAny(bucket, signal);
  } catch (error) {
    if (!isConnectorError(error)) throw error;
    if (error.code === 'not_found') return noBucket(bucket.name, error);
    if (error.code !== 'permission_denied') throw error;
  }
  return undefined;
}

/** Whatever else a store says with 404 to a listing. */
function noBucket(name: string, { cause, details }: ConnectorError): ConnectorError {
  return new ConnectorError('not_found', `there is no bucket ${name}`, { cause, details });
}

type Parts = {
  readonly agents: Agents;
  readonly bucket: Bucket;
  readonly signer: Signer;
  readonly options: S3Options;
  readonly afterwards: Afterwards;
};

class S3FileClient implements FileClient {
  readonly #parts: Parts;
  readonly #bucket: Bucket;
  readonly #writing: Writing;

  constructor(parts: Parts) {
    this.#parts = parts;
    this.#bucket = parts.bucket;
    this.#writing = writingOf(parts.options, parts.bucket, parts.afterwards);
  }

  list(path: string, options: ClientListOptions, signal: AbortSignal): Promise<FilePage> {
    return listPage(this.#bucket, path, options, signal);
  }

  stat(path: string, signal: AbortSignal): Promise<FileInfo> {
    return statFile(this.#bucket, path, signal);
  }

  readBytes(path: string, range: ByteRange | undefined, signal: AbortSignal): Promise<Uint8Array> {
    return readBytes(this.#bucket, path, range, signal);
  }

  readStream(path: string, range: ByteRange | undefined, signal: AbortSignal): Promise<OpenedFile> {
    return readStream(this.#bucket, path, range, signal);
  }

  write(
    path: string,
    content: Uint8Array | AsyncIterable<Uint8Array>,
    options: ClientWriteOptions,
    signal: AbortSignal,
  ): Promise<WriteResult> {
    return writeFile(this.#writing, path, content, options, signal);
  }

  /** Looks first: S3 answers the same whether there was a file or not. */
  async delete(path: string, signal: AbortSignal): Promise<boolean> {
    try {
      await statFile(this.#bucket, path, signal);
    } catch (error) {
      if (isConnectorError(error) && error.code === 'not_found') return false;
      throw error;
    }
    await this.#remove(path, signal);
    return true;
  }

  copy(from: string, to: string, signal: AbortSignal): Promise<WriteResult> {
    return copyFile(this.#writing, from, to, signal);
  }

  /** A copy, and then a deletion: S3 has no names that could be changed. */
  async move(from: string, to: string, signal: AbortSignal): Promise<WriteResult> {
    const copied = await copyFile(this.#writing, from, to, signal);
    if (from !== to) await this.#remove(from, signal);
    return copied;
  }

  presign(path: string, options: PresignOptions, signal: AbortSignal): Promise<PresignedUrl> {
    return presign(this.#parts.signer, path, options, signal);
  }

  async check(signal: AbortSignal): Promise<readonly Note[]> {
    const notes: Note[] = [];
    try {
      await askForAny(this.#bucket, signal);
    } catch (error) {
      if (!isConnectorError(error) || error.code !== 'permission_denied') throw error;
      const message =
        'these credentials may not list the whole bucket; whether they may read and write was not tried';
      notes.push({ level: 'warn', message });
    }
    if (this.#parts.options.endpoint?.startsWith('http:') === true)
      notes.push({ level: 'warn', message: 'files travel in clear; use an endpoint with https' });
    return notes;
  }

  async close(): Promise<void> {
    await this.#parts.afterwards.finish();
    this.#bucket.client.destroy();
    this.#parts.signer.client.destroy();
    this.#parts.agents.close();
  }

  async #remove(path: string, signal: AbortSignal): Promise<void> {
    const { DeleteObjectCommand } = this.#bucket.sdk;
    await this.#bucket.send(new DeleteObjectCommand({ Bucket: this.#bucket.name, Key: path }), signal);
  }
}
