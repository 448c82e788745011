import { createPrivateKey } from 'node:crypto';
import { z } from 'zod';
import { adminOnly, secret } from '../../../driver.ts';

/** Google's own keys have 2,048. Signing holds up everybody else: 0.1 s with 8,192 bits, 7 s with 32,768 (seen). */
const MAX_KEY_BITS = 8192;

/** What is used of a service account's key. */
export const serviceAccountKey = z.object({
  type: z.literal('service_account'),
  client_email: z.string().min(3),
  private_key: z.string().refine(isPrivateKey),
});
export type ServiceAccountKey = z.output<typeof serviceAccountKey>;

/**
 * What is used of a workload identity's configuration, as google-auth-library 11.3 reads it. Programs to run
 * (`executable`) and certificates are no source here.
 */
export const externalAccount = z.object({
  type: z.literal('external_account'),
  audience: z.string().min(1),
  subject_token_type: z.string().min(1),
  token_url: z.url({ protocol: /^https?$/ }),
  service_account_impersonation_url: z.url({ protocol: /^https?$/ }).optional(),
  service_account_impersonation: z
    .object({ token_lifetime_seconds: z.int().min(600).max(43_200).optional() })
    .optional(),
  client_id: z.string().optional(),
  client_secret: z.string().optional(),
  workforce_pool_user_project: z.string().optional(),
  credential_source: z.looseObject({
    executable: z.undefined().optional(),
    certificate: z.undefined().optional(),
  }),
});
export type ExternalAccount = z.output<typeof externalAccount>;

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
    service_account_key: secret()
      .refine((text) => isA(serviceAccountKey, text), 'is the JSON of a service account key')
      .optional()
      .describe(
        'JSON of a service account key, which also signs addresses. Without it: auth_type none, or an identity that only an administrator may name.',
      ),
    external_account: adminOnly(
      secret()
        .refine(
          (text) => isA(externalAccount, text),
          'is the JSON of a workload identity whose token is read from a file, from a URL, or from AWS',
        )
        .optional(),
    ).describe(
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

/** The value of an option that is JSON; the schema above has checked it. */
export function parsedJson<T>(schema: z.ZodType<T>, text: string): T {
  return schema.parse(JSON.parse(text));
}

function isA(schema: z.ZodType, text: string): boolean {
  try {
    return schema.safeParse(JSON.parse(text)).success;
  } catch {
    return false;
  }
}

function isPrivateKey(pem: string): boolean {
  try {
    const { asymmetricKeyType: type, asymmetricKeyDetails: { modulusLength = Infinity } = {} } =
      createPrivateKey(pem);
    return type === 'rsa' && modulusLength <= MAX_KEY_BITS;
  } catch {
    return false;
  }
}
