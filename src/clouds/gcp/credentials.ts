import { createPrivateKey } from 'node:crypto';
import { z } from 'zod';
import { adminOnly, secret } from '../../driver.ts';

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

/** An option that is the JSON of a service account's key. */
export function serviceAccountKeyText(): z.ZodOptional<z.ZodString> {
  return secret()
    .refine((text) => isA(serviceAccountKey, text), 'is the JSON of a service account key')
    .optional();
}

/** An option that is the JSON of a workload identity. It names files and URLs of this host: administrators alone set it. */
export function externalAccountText(): z.ZodOptional<z.ZodString> {
  return adminOnly(
    secret()
      .refine(
        (text) => isA(externalAccount, text),
        'is the JSON of a workload identity whose token is read from a file, from a URL, or from AWS',
      )
      .optional(),
  );
}

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
