import type * as S3 from '@aws-sdk/client-s3';
import { ConnectorError, loadPeer, type Agents } from '../../../driver.ts';
import { isAmazon, type S3Options } from './options.ts';

export const S3_PEERS = {
  '@aws-sdk/client-s3': '^3.1100.0',
  '@aws-sdk/credential-providers': '^3.1100.0',
  '@aws-sdk/s3-request-presigner': '^3.1100.0',
} as const;

/** The module of the client. */
export type Sdk = typeof S3;
/** What a client is made with. */
export type ClientConfig = NonNullable<ConstructorParameters<Sdk['S3Client']>[0]>;

/**
 * A backstop alone: the signal of a call ends it long before. It is longer than the five minutes that a body may lie
 * unread, during which its socket is silent.
 */
const SILENCE_MS = 330_000;
/** A listing of 1,000 keys has some two megabytes. */
const MAX_ANSWER_BYTES = 32 * 2 ** 20;
const NO_LOG = { trace() {}, debug() {}, info() {}, warn() {}, error() {} };

export function loadSdk(): Promise<Sdk> {
  return loadPeer('@aws-sdk/client-s3', S3_PEERS['@aws-sdk/client-s3'], () => import('@aws-sdk/client-s3'));
}

/**
 * What all clients of the SDK have in common, of S3 and of STS.
 *
 * Whatever is left out is read from the environment, from `~/.aws` or from the machine's metadata service, so that
 * everything is said here.
 */
export function baseConfig({ region }: Pick<S3Options, 'region'>, { http, https }: Agents) {
  return {
    region,
    // Ours are the only repetitions.
    maxAttempts: 1,
    retryMode: 'standard',
    defaultsMode: 'standard',
    useDualstackEndpoint: false,
    useFipsEndpoint: false,
    disableClockSkewCorrection: false,
    authSchemePreference: [],
    userAgentAppId: 'connector-registry',
    logger: NO_LOG,
    streamCollector: wholeOf,
    requestHandler: {
      httpAgent: http,
      httpsAgent: https,
      // The agents have a time of their own for connecting; this one counts the wait for a free connection as well.
      connectionTimeout: SILENCE_MS,
      requestTimeout: SILENCE_MS,
      throwOnRequestTimeout: true,
      socketTimeout: SILENCE_MS,
      // Otherwise the console is told of many requests that wait for a connection.
      logger: NO_LOG,
    },
  } as const;
}

/** An answer that is no content of a file: the SDK itself would read whatever comes. */
async function wholeOf(body: AsyncIterable<Uint8Array>): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  for await (const chunk of body) {
    bytes += chunk.byteLength;
    if (bytes > MAX_ANSWER_BYTES)
      throw new ConnectorError(
        'backend_error',
        `the backend answered more than ${MAX_ANSWER_BYTES} bytes at once`,
        {
          details: { maxBytes: MAX_ANSWER_BYTES },
        },
      );
    chunks.push(chunk);
  }
  return Buffer.concat(chunks, bytes);
}

/** What a client of S3 is made with, but for its credentials. */
export function s3Config(options: S3Options, agents: Agents): ClientConfig {
  // Compatible stores refuse what the newer checksums need (Ceph answers 411 to chunks with a trailer).
  const checksums = isAmazon(options) ? 'WHEN_SUPPORTED' : 'WHEN_REQUIRED';
  return {
    ...baseConfig(options, agents),
    authSchemePreference: [],
    // Always said: without one, the SDK looks for another endpoint in the environment.
    endpoint: options.endpoint ?? amazonEndpoint('s3', options),
    forcePathStyle: options.force_path_style ?? options.endpoint !== undefined,
    requestChecksumCalculation: checksums,
    responseChecksumValidation: checksums,
    useArnRegion: false,
    useAccelerateEndpoint: false,
    disableMultiregionAccessPoints: true,
    disableS3ExpressSessionAuth: true,
    followRegionRedirects: false,
    sigv4aSigningRegionSet: [],
    // With agents of ours the SDK announces itself this way and does not wait for the answer.
    expectContinueHeader: false,
  };
}

/** The address of a service of AWS in the region. */
export function amazonEndpoint(service: 's3' | 'sts', { region }: Pick<S3Options, 'region'>): string {
  return `https://${service}.${region}.amazonaws.com${region.startsWith('cn-') ? '.cn' : ''}`;
}

/** The base address that requests about the bucket go to, its own host among them. */
export async function addressOf(client: S3.S3Client, bucket: string): Promise<string> {
  const { config } = client;
  const custom = await config.endpoint?.();
  if (custom === undefined) throw new Error('the endpoint is always said');
  const { protocol, hostname, port, path } = custom;
  const { url } = config.endpointProvider({
    Bucket: bucket,
    Region: await config.region(),
    ForcePathStyle: config.forcePathStyle,
    Endpoint: `${protocol}//${hostname}${port === undefined ? '' : `:${port}`}${path}`,
  });
  return url.href;
}
