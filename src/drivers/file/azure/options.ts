import { z } from 'zod';
import { identityFields, isBaseUrl, principalOf } from '../../../clouds/azure/identity.ts';
import { secret } from '../../../driver.ts';

// https://rdrr.io/github/Microsoft/AzureSMR/man/azureListStorageBlobs.html (read 2026-11-27)
const ACCOUNT = /^[a-z0-9]{3,24}$/;
// https://docs.microsoft.com/en-us/rest/api/storageservices/Naming-and-Referencing-Containers--Blobs--and-Metadata (read 2026-11-27)
const CONTAINER = /^(?!.*--)[a-z0-9][a-z0-9-]{1,61}[a-z0-9]$/;
const BASE64 = /^(?:[A-Za-z0-9+/]{4})+(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/;

const fields = z.strictObject({
  account: z
    .string()
    .regex(ACCOUNT, 'is 3 to 24 lower-case letters and digits')
    .describe('Name of the storage account.'),
  container: z
    .string()
    .regex(CONTAINER, 'is 3 to 63 lower-case letters, digits and single hyphens')
    .describe('Name of the container, which has to exist.'),
  endpoint: z
    .url({ protocol: /^https?$/ })
    .refine(isBaseUrl, 'has no user, password, query or fragment')
    .optional()
    .describe(
      'URL of the account’s blob service, for other clouds and emulators (which have the account in its path). https://ACCOUNT.blob.core.windows.net unless told.',
    ),
  account_key: secret()
    .regex(BASE64, 'is base64')
    .optional()
    .describe('One of the two keys of the account, which may do everything in it.'),
  sas_token: secret()
    .regex(/(?:^|[?&])sig=/, 'is the query of a shared access signature, with its sig')
    .optional()
    .describe(
      'Shared access signature for the container or the account, with or without the leading question mark. It has to allow listing, reading, creating, writing and deleting blobs.',
    ),
  ...identityFields,
  ca: z
    .string()
    .optional()
    .describe(
      'Certificates in PEM that are trusted instead of the well-known ones, by the endpoint and the authority.',
    ),
});

export const azureOptions = fields.superRefine((options, { addIssue }) => {
  const refuse = (path: string, message: string): void => addIssue({ code: 'custom', path: [path], message });
  const { isGiven: hasPrincipal, missing } = principalOf(options);
  for (const name of missing)
    refuse(name, 'is missing: a service principal has tenant_id, client_id and client_secret');
  const ways = [
    ...(options.account_key === undefined ? [] : ['account_key']),
    ...(options.sas_token === undefined ? [] : ['sas_token']),
    ...(hasPrincipal ? ['client_id'] : []),
    ...(options.identity_client_id === undefined ? [] : ['identity_client_id']),
  ];
  for (const way of ways.slice(1))
    refuse(way, `and ${ways[0]} exclude each other: give one kind of credentials`);
  if (hasPrincipal && /^http:/i.test(options.endpoint ?? ''))
    refuse('endpoint', 'is https where tokens are sent: whoever saw one could use it');
});
export type AzureOptions = z.output<typeof azureOptions>;
