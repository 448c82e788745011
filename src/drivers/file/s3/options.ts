import { z } from 'zod';
import {
  awsIdentityOptions,
  endpointOption,
  regionOption,
  withWholeIdentity,
} from '../../../clouds/aws/options.ts';

/** What a part holds and what is kept in memory of it, in MiB. 5 is the least that S3 takes. */
const PART_MEBIBYTES = { least: 5, usual: 8, most: 512 };

export const s3Options = withWholeIdentity(
  z.strictObject({
    endpoint: endpointOption()
      .optional()
      .describe(
        'Base URL of a compatible store, with its port. Absent, it is that of Amazon S3 in the region.',
      ),
    region: regionOption()
      .default('us-east-1')
      .describe('Region of the bucket, which is part of every signature. Compatible stores mostly take any.'),
    bucket: z
      .string()
      .regex(
        /^[a-z0-9][a-z0-9._-]{1,61}[a-z0-9]$/i,
        'is 3 to 63 letters, digits, dots, underscores and hyphens',
      )
      .refine((name) => !name.endsWith('--x-s3'), 'is no directory bucket, which lists in no order')
      .describe('Name of the bucket, which has to exist.'),
    force_path_style: z
      .boolean()
      .optional()
      .describe(
        'Name the bucket in the path instead of the host. True where an endpoint is given, otherwise false, unless told.',
      ),
    ...awsIdentityOptions,
    role_arn: awsIdentityOptions.role_arn.describe(
      'Role that is assumed with the credentials, anew before an hour is over; it alone reads and writes.',
    ),
    sts_endpoint: awsIdentityOptions.sts_endpoint.describe(
      "Where the role is assumed. Absent, it is the endpoint's own where one is given, otherwise that of AWS in the region.",
    ),
    ca: z
      .string()
      .optional()
      .describe('Certificates in PEM that are trusted instead of the well-known ones.'),
    part_mebibytes: z
      .int()
      .min(PART_MEBIBYTES.least)
      .max(PART_MEBIBYTES.most)
      .default(PART_MEBIBYTES.usual)
      .describe(
        'MiB of each part of a large file. Five parts are in memory for each upload, and a stream is at most 10,000 of them: 78 GiB with 8.',
      ),
    conditional_parts: z
      .boolean()
      .optional()
      .describe(
        'Whether the store holds ifNoneMatch and ifMatch when parts are put together. True for Amazon S3 alone unless told; where false, a stream with a condition is refused beyond four parts.',
      ),
    storage_class: z
      .string()
      .regex(/^[A-Z_]{1,32}$/, 'is capital letters and underscores')
      .optional()
      .describe("Storage class of what is written, such as STANDARD_IA. The bucket's own unless told."),
    server_side_encryption: z
      .enum(['AES256', 'aws:kms', 'aws:kms:dsse'])
      .optional()
      .describe("Encryption at rest of what is written. The bucket's own unless told."),
    kms_key_id: z
      .string()
      .min(1)
      .max(2048)
      .optional()
      .describe('Key of KMS that encrypts. The one that AWS manages unless told.'),
  }),
).refine((o) => o.kms_key_id === undefined || o.server_side_encryption?.startsWith('aws:kms') === true, {
  path: ['kms_key_id'],
  message: 'belongs to the encryption aws:kms',
});
export type S3Options = z.output<typeof s3Options>;

/** Whether the endpoint is one of Amazon's own, which differ from every other in what they can do. */
export function isAmazon({ endpoint }: Pick<S3Options, 'endpoint'>): boolean {
  if (endpoint === undefined) return true;
  return /(?:^|\.)amazonaws\.com(?:\.cn)?$/.test(new URL(endpoint).hostname);
}
