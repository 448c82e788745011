import { awsCredentials } from '../../../clouds/aws/credentials.ts';
import type { Agents, OpenContext } from '../../../driver.ts';
import type { FailureContext } from './errors.ts';
import { isAmazon, type S3Options } from './options.ts';
import type { ClientConfig } from './sdk.ts';

/** How a client signs: with credentials, or not at all. */
export type Signing = Pick<ClientConfig, 'credentials' | 'signer'>;

/** The parts of opening that credentials are made of. */
export type SigningContext = {
  readonly open: Pick<OpenContext, 'authType' | 'trusted'>;
  readonly agents: Agents;
  readonly failures: FailureContext;
};

/** As the tenant's credentials say, or not at all for a bucket that is open to everybody. */
export async function signingOf(options: S3Options, context: SigningContext): Promise<Signing> {
  // Compatible stores that have roles (Ceph, MinIO) assume them at the very address of their buckets.
  const stsEndpoint = isAmazon(options) ? undefined : options.endpoint;
  const credentials = await awsCredentials(options, { ...context, stsEndpoint });
  if (credentials !== undefined) return { credentials };
  return { credentials: { accessKeyId: '', secretAccessKey: '' }, signer: { sign: async (it) => it } };
}
