import { z } from 'zod';
import { secret } from '../../../driver.ts';
import { isTemplate } from './addresses.ts';

const FUNCTION = /^[A-Za-z0-9_-][A-Za-z0-9_.:-]{0,139}$/;
/** Headers that are the connection's or ours, in lower case. */
const TAKEN =
  /^(?:host|connection|content-.*|transfer-encoding|te|trailer|upgrade|expect|keep-alive|proxy-.*|accept|accept-encoding|cookie|x-request-id|idempotency-key|cf-access-.*)$/i;

const url = z
  .url({ protocol: /^https?$/ })
  .max(2048)
  .refine((text) => !/#|\/\/[^/]*@/.test(text), 'has no user, password or fragment');

export const cloudflareWorkersOptions = z
  .strictObject({
    subdomain: z
      .string()
      .regex(/^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/, 'is one label of a host name in lower case')
      .optional()
      .describe(
        "The account's own name below workers.dev: a Worker is called at https://NAME.SUBDOMAIN.workers.dev.",
      ),
    endpoint: z
      .string()
      .max(2048)
      .refine(
        isTemplate,
        'is a URL with {name} within the first label of its host, or as one part of its path',
      )
      .optional()
      .describe(
        'Where Workers are called, with {name} in the place of theirs, such as https://{name}.functions.example.com or https://example.com/functions/{name}.',
      ),
    functions: z
      .record(z.string().regex(FUNCTION, 'is 1 to 140 letters, digits, _ - . or :'), url)
      .refine((table) => Object.keys(table).length <= 1000, 'has at most 1000 entries')
      .default({})
      .describe(
        'Names of functions and the URL of each, for Workers on routes and domains of their own. They come before subdomain and endpoint.',
      ),
    api_key: secret()
      .max(4096)
      .optional()
      .describe(
        'Secret that the Workers themselves ask for, sent to each of their addresses as Authorization: Bearer, or in api_key_header as it is.',
      ),
    api_key_header: z
      .string()
      .regex(/^[A-Za-z0-9-]{1,64}$/, 'is the name of a header')
      .refine((name) => !TAKEN.test(name), 'is a header that HTTP, Cloudflare Access or this driver needs')
      .optional()
      .describe('Header that carries api_key as it is. Authorization: Bearer unless told.'),
    access_client_id: z
      .string()
      .min(1)
      .max(256)
      .optional()
      .describe('Client ID of a service token of Cloudflare Access, for Workers behind it.'),
    access_client_secret: secret().max(256).optional().describe('Client secret of that service token.'),
    account_id: z
      .string()
      .regex(/^[0-9a-f]{32}$/, 'is 32 hexadecimal digits')
      .optional()
      .describe('Account whose Workers are listed and whose Workflows are started, by api_token.'),
    api_token: secret()
      .max(4096)
      .optional()
      .describe(
        'API token with Workers Scripts Read; Write (Edit) to start Workflows. Sent to api_endpoint alone.',
      ),
    workflows: z
      .array(z.string().regex(/^[A-Za-z0-9_][A-Za-z0-9_-]{0,63}$/, 'is the name of a Workflow'))
      .max(1000)
      .optional()
      .describe(
        'Names that are Workflows. Unless told, the account is asked when the connector opens, and every five minutes while it is used.',
      ),
    api_endpoint: url
      .refine((text) => !text.includes('?'), 'has no query')
      .default('https://api.cloudflare.com/client/v4')
      .describe('Base URL of the REST API. That of Cloudflare unless told.'),
    ca: z
      .string()
      .optional()
      .describe('Certificates in PEM that are trusted instead of the well-known ones.'),
  })
  .refine(({ subdomain, endpoint }) => subdomain === undefined || endpoint === undefined, {
    path: ['endpoint'],
    message: 'and subdomain exclude each other',
  })
  .refine(
    ({ subdomain, endpoint, functions, api_token }) =>
      [subdomain, endpoint, api_token].some((given) => given !== undefined) ||
      Object.keys(functions).length > 0,
    { path: ['subdomain'], message: 'is missing; or give endpoint, functions, or api_token for Workflows' },
  )
  .refine(({ account_id, api_token }) => (account_id === undefined) === (api_token === undefined), {
    path: ['account_id'],
    message: 'and api_token need each other',
  })
  .refine(({ workflows, api_token }) => workflows === undefined || api_token !== undefined, {
    path: ['workflows'],
    message: 'need account_id and api_token',
  })
  .refine(
    ({ access_client_id, access_client_secret }) =>
      (access_client_id === undefined) === (access_client_secret === undefined),
    { path: ['access_client_id'], message: 'and access_client_secret need each other' },
  )
  .refine(({ api_key, api_key_header }) => api_key !== undefined || api_key_header === undefined, {
    path: ['api_key_header'],
    message: 'needs api_key',
  });
export type CloudflareWorkersOptions = z.output<typeof cloudflareWorkersOptions>;

/** What of the options may be in no message. */
export function secretsOf({
  api_key,
  access_client_secret,
  api_token,
}: Pick<CloudflareWorkersOptions, 'api_key' | 'access_client_secret' | 'api_token'>): readonly string[] {
  return [api_key, access_client_secret, api_token].filter((secret) => secret !== undefined);
}

/** A text without the secrets: what is asked may answer with what it was sent. */
export function masked(text: string, secrets: readonly string[]): string {
  return secrets.reduce((rest, secret) => rest.replaceAll(secret, '***'), text);
}
