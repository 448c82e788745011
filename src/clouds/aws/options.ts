import { z } from 'zod';
import { secret } from '../../driver.ts';

/** Whose rights a connector to AWS has; the same options for every service. */
export const awsIdentityOptions = {
  access_key_id: secret().optional().describe('Id of the key pair.'),
  secret_access_key: secret().optional().describe('Secret of the key pair; it signs and is never sent.'),
  session_token: secret().optional().describe('Token of a temporary key pair, which stops working with it.'),
  role_arn: z
    .string()
    .regex(/^arn:[\w-]+:iam::[\w-]*:role\/.{1,512}$/, 'is the ARN of a role')
    .optional()
    .describe(
      'Role that is assumed with the credentials, anew before an hour is over; its rights alone count.',
    ),
  external_id: secret()
    .optional()
    .describe(
      "What the role's owner agreed with whoever assumes it, against being assumed for somebody else.",
    ),
  sts_endpoint: z
    .url({ protocol: /^https?$/ })
    .max(2048)
    .optional()
    .describe('Where the role is assumed. Absent, it is AWS in the region.'),
};

export type AwsIdentityOptions = {
  readonly access_key_id?: string | undefined;
  readonly secret_access_key?: string | undefined;
  readonly session_token?: string | undefined;
  readonly role_arn?: string | undefined;
  readonly external_id?: string | undefined;
  readonly sts_endpoint?: string | undefined;
};

/** An option with the region that signatures are made for. */
export function regionOption(): z.ZodString {
  return z.string().regex(/^[a-z0-9-]{1,64}$/, 'is lower-case letters, digits and hyphens');
}

/** An option with the base address of a service. */
export function endpointOption(): z.ZodURL {
  return z
    .url({ protocol: /^https?$/ })
    .max(2048)
    .refine((url) => !/[?#]|\/\/[^/]*@/.test(url), 'has no user, password, query or fragment');
}

/** The schema, which refuses an identity in halves. */
export function withWholeIdentity<S extends z.ZodObject>(schema: S): S {
  // Every schema that is given here has the options above.
  const of = (options: unknown) => options as AwsIdentityOptions;
  return schema
    .refine((o) => (of(o).access_key_id === undefined) === (of(o).secret_access_key === undefined), {
      path: ['secret_access_key'],
      message: 'and access_key_id are given together or not at all',
    })
    .refine((o) => of(o).session_token === undefined || of(o).access_key_id !== undefined, {
      path: ['session_token'],
      message: 'belongs to a key pair, which is missing',
    })
    .refine(
      (o) =>
        (of(o).external_id === undefined && of(o).sts_endpoint === undefined) || of(o).role_arn !== undefined,
      {
        path: ['role_arn'],
        message: 'is missing, and external_id and sts_endpoint are of no use without it',
      },
    );
}

/** What of the options may be in no message. */
export function secretsOf(options: AwsIdentityOptions): readonly string[] {
  const { access_key_id, secret_access_key, session_token, external_id } = options;
  return [secret_access_key, session_token, external_id, access_key_id].filter(
    (secret) => secret !== undefined,
  );
}
