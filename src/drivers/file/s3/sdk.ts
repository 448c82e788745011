import type * as S3 from '@aws-sdk/client-s3';
import { amazonEndpoint, baseConfig, CREDENTIALS_PEER } from '../../../clouds/aws/sdk.ts';
import { loadPeer, type Agents } from '../../../driver.ts';
import { isAmazon, type S3Options } from './options.ts';

export const S3_PEERS = {
  '@aws-sdk/client-s3': '^3.1100.0',
  ...CREDENTIALS_PEER,
  '@aws-sdk/s3-request-presigner': '^3.1100.0',
} as const;

/** The module of the client. */
export type Sdk = typeof S3;
/** What a client is made with. */
export type ClientConfig = NonNullable<ConstructorParameters<Sdk['S3Client']>[0]>;

/** Longer than the five minutes that a body may lie unread, during which its socket is silent. */
const SILENCE_MS = 330_000;

export function loadSdk(): Promise<Sdk> {
  return loadPeer('@aws-sdk/client-s3', S3_PEERS['@aws-sdk/client-s3'], () => import('@aws-sdk/client-s3'));
}

/** What a client of S3 is made with, but for its credentials. */
export function s3Config(options: S3Options, agents: Agents): ClientConfig {
  // Compatible stores refuse what the newer checksums need (Ceph answers 411 to chunks with a trailer).
  const checksums = isAmazon(options) ? 'WHEN_SUPPORTED' : 'WHEN_REQUIRED';
  return {
    ...baseConfig(options, agents, SILENCE_MS),
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
