import { z } from 'zod';
import { externalAccountText, serviceAccountKeyText } from '../../../clouds/gcp/credentials.ts';

export const gcsOptions = z
  .strictObject({
    endpoint: z
      .url({ protocol: /^https?$/ })
      .refine((url) => /^https?:\/\/[^/?#@]+\/?$/.test(url), 'is a scheme, a host and perhaps a port')
      .default('https://storage.googleapis.com')
      .describe('Base URL of the JSON API, without a path. Google itself unless told.'),
    bucket: z
      .string()
      // 63 characters, 222 where there is a dot: https://cloud.google.com/storage/quotas (read 2026-11-27)
      .regex(
        /^[a-z0-9](?:[a-z0-9._-]{1,220}[a-z0-9])$/,
        'is 3 to 222 lower-case letters, digits, dashes, dots and underscores',
      )
      .describe('Name of the bucket, which must exist.'),
    service_account_key: serviceAccountKeyText().describe(
      'JSON of a service account key, which also signs addresses. Without it: auth_type none, or an identity that only an administrator may name.',
    ),
    external_account: externalAccountText().describe(
      'JSON of a workload identity configuration (external_account). It names files and URLs of this host, so that only an administrator may set it.',
    ),
    token_endpoint: z
      .url({ protocol: /^https?$/ })
      .optional()
      .describe(
        'Where access tokens are fetched for a service account key, for example by Private Service Connect. https://oauth2.googleapis.com/token unless told.',
      ),
    user_project: z
      .string()
      .min(1)
      .max(128)
      .optional()
      .describe(
        'Project that is billed for the requests, which buckets with Requester Pays want. The bucket’s own unless told.',
      ),
    ca: z
      .string()
      .optional()
      .describe(
        'Certificates in PEM that are trusted at endpoint and token_endpoint instead of the well-known ones.',
      ),
  })
  .refine(
    ({ service_account_key, external_account }) =>
      service_account_key === undefined || external_account === undefined,
    { path: ['external_account'], message: 'and service_account_key exclude each other' },
  );
export type GcsOptions = z.output<typeof gcsOptions>;
