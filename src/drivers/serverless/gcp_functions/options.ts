import { z } from 'zod';
import {
  externalAccount,
  externalAccountText,
  parsedJson,
  serviceAccountKeyText,
} from '../../../clouds/gcp/credentials.ts';

export const CLOUD_RUN = 'https://run.googleapis.com';

const baseUrl = z
  .url({ protocol: /^https?$/ })
  .max(2048)
  .refine((url) => /^https?:\/\/[^?#@]+$/.test(url), 'has no user, query or fragment');

const functionOptions = z.strictObject({
  url: baseUrl
    .optional()
    .describe('Where the function is called. Below endpoint, or as Cloud Run says, unless told.'),
  signature: z
    .enum(['http', 'cloudevent'])
    .default('http')
    .describe('http posts the payload as JSON; cloudevent posts it as the data of a CloudEvent.'),
  event_type: z
    .string()
    // A string that is not empty: https://github.com/cloudevents/spec/blob/main/cloudevents/spec.md#type (read 2026-11-28)
    .regex(/^[\u0020-\u007e]{1,256}$/, 'is 1 to 256 printable characters of ASCII')
    .default('connector-registry.invocation')
    .describe('The type of the CloudEvents.'),
  audience: z
    .string()
    .min(1)
    .max(2048)
    .optional()
    .describe(
      'Audience of the ID token: one of the custom audiences of the service. The URL of the function unless told.',
    ),
});

export const gcpFunctionsOptions = z
  .strictObject({
    project_id: z
      .string()
      // https://cloud.google.com/resource-manager/docs/creating-managing-projects (read 2026-11-28): 6 to 30 lower-case
      // letters, digits and dashes, from a letter on. Old ones follow a domain; Cloud Run takes the number as well.
      .regex(
        /^(?:(?:[a-z0-9.-]{1,100}:)?[a-z][a-z0-9-]{4,28}[a-z0-9]|\d{1,20})$/,
        'is the id or the number of a project',
      )
      .optional()
      .describe(
        'Project whose Cloud Run services are the functions; their URLs and names are asked of the Cloud Run Admin API. Wants region.',
      ),
    region: z
      .string()
      .regex(/^[a-z0-9-]{1,63}$/, 'is a region such as europe-west1')
      .optional()
      .describe('Region of the services of project_id. One; a connector for each other.'),
    functions: z
      .record(
        z.string().regex(/^[A-Za-z0-9_-][A-Za-z0-9_.:-]{0,139}$/, 'is 1 to 140 letters, digits, _ - . or :'),
        z.union([baseUrl, functionOptions]),
      )
      .default({})
      .describe(
        'Functions by name: the URL of each, or an object of url, signature (http, cloudevent), event_type and audience.',
      ),
    endpoint: baseUrl
      .optional()
      .describe(
        'Base URL below which each function is called by its name, for self-hosted Functions Frameworks and emulators. Excludes project_id.',
      ),
    api_endpoint: z
      .url({ protocol: /^https?$/ })
      .max(2048)
      .refine((url) => /^https?:\/\/[^/?#@]+\/?$/.test(url), 'is a scheme, a host and perhaps a port')
      .default(CLOUD_RUN)
      .describe('Base URL of the Cloud Run Admin API, for example by Private Service Connect.'),
    service_account_key: serviceAccountKeyText().describe(
      'JSON of a service account key. Without it: auth_type none, or an identity that only an administrator may name.',
    ),
    external_account: externalAccountText().describe(
      'JSON of a workload identity configuration (external_account) that acts as a service account. It names files and URLs of this host, so that only an administrator may set it.',
    ),
    token_endpoint: z
      .url({ protocol: /^https?$/ })
      .max(2048)
      .optional()
      .describe(
        'Where tokens are fetched for a service account key, for example by Private Service Connect. https://oauth2.googleapis.com/token unless told.',
      ),
    ca: z
      .string()
      .optional()
      .describe(
        'Certificates in PEM that are trusted instead of the well-known ones: where functions are called, and at api_endpoint and token_endpoint where these are given.',
      ),
  })
  .refine(
    ({ service_account_key, external_account }) =>
      service_account_key === undefined || external_account === undefined,
    { path: ['external_account'], message: 'and service_account_key exclude each other' },
  )
  .refine(({ external_account }) => external_account === undefined || impersonates(external_account), {
    path: ['external_account'],
    message: 'has a service_account_impersonation_url, because functions take ID tokens of service accounts',
  })
  .refine(({ project_id, region }) => (project_id === undefined) === (region === undefined), {
    path: ['region'],
    message: 'and project_id are given together',
  })
  .refine(({ project_id, endpoint }) => project_id === undefined || endpoint === undefined, {
    path: ['endpoint'],
    message: 'and project_id exclude each other',
  })
  .refine(
    ({ project_id, endpoint, functions }) =>
      (project_id ?? endpoint) !== undefined ||
      (Object.keys(functions).length > 0 && Object.values(functions).every(hasUrl)),
    { path: ['functions'], message: 'have a url each, unless project_id or endpoint says where they are' },
  );
export type GcpFunctionsOptions = z.output<typeof gcpFunctionsOptions>;

function hasUrl(given: string | z.output<typeof functionOptions>): boolean {
  return typeof given === 'string' || given.url !== undefined;
}

/** Text that is no workload identity at all is refused by the option itself. */
function impersonates(text: string): boolean {
  try {
    return parsedJson(externalAccount, text).service_account_impersonation_url !== undefined;
  } catch {
    return true;
  }
}
