import { z } from 'zod';
import { identityFields, isBaseUrl, principalOf } from '../../../clouds/azure/identity.ts';
import { secret } from '../../../driver.ts';
import { FUNCTION_NAME } from './names.ts';

const names = z.array(z.string().regex(FUNCTION_NAME, 'is the name of a function')).max(500).default([]);

const fields = z.strictObject({
  endpoint: z
    .url({ protocol: /^https?$/ })
    .max(2048)
    .refine(isBaseUrl, 'has no user, password, query or fragment')
    .describe(
      'Base URL of the function app, such as https://APP.azurewebsites.net, without the route prefix.',
    ),
  route_prefix: z
    .string()
    .regex(/^(?:[\w-]+(?:\/[\w-]+)*)?$/, 'is a path of letters, digits, _ and -, without slashes at its ends')
    .max(200)
    .default('api')
    .describe(
      'Path before the names of functions: extensions.http.routePrefix of the app’s host.json. Empty where the app has none.',
    ),
  function_key: secret()
    .optional()
    .describe(
      'Host key, which is good for every function, or the key of the one function that is called. Sent in the header x-functions-key. Functions whose level is anonymous need none.',
    ),
  durable_key: secret()
    .optional()
    .describe(
      'System key of Durable Functions (durabletask_extension), with which orchestrations are started, followed and ended. The function key is not good for that.',
    ),
  orchestrators: names.describe(
    'Names of the app’s orchestrators, which are then started and followed by Durable Functions’ own API. Not needed where subscription_id has the functions listed.',
  ),
  starters: names.describe(
    'Names of functions that start an orchestration and answer with its management payload. Called asynchronously, Azure carries them on; the function should take X-Request-Id as the id of the instance, so that calling twice starts once.',
  ),
  audience: z
    .string()
    .regex(/^[\w.:/-]{1,256}$/, 'is an application id or its URI')
    .optional()
    .describe(
      'Application ID URI (api://…) or client id of the app’s registration, where App Service Authentication guards the app: a token for it is sent with each call. Needs a service principal, or auth_type iam.',
    ),
  subscription_id: z
    .uuid()
    .optional()
    .describe(
      'Subscription of the app. With resource_group and app_name, and a service principal or auth_type iam, functions are listed, and orchestrators recognised.',
    ),
  resource_group: z
    .string()
    // https://learn.microsoft.com/rest/api/appservice/webapps/listfunctions (read 2026-11-28): 1 to 90 characters.
    .regex(/^[\p{L}\p{N}_()-][\p{L}\p{N}_().-]{0,89}$/u, 'is the name of a resource group')
    .optional()
    .describe('Resource group of the app.'),
  app_name: z
    .string()
    .regex(/^[A-Za-z0-9][A-Za-z0-9-]{0,59}$/, 'is the name of a function app')
    .optional()
    .describe('Name of the app, as Azure Resource Manager has it.'),
  management_endpoint: z
    .url({ protocol: /^https$/ })
    .max(2048)
    .refine(isBaseUrl, 'has no user, password, query or fragment')
    .default('https://management.azure.com')
    .describe('Where Azure Resource Manager is: another one for the sovereign clouds.'),
  ...identityFields,
  ca: z
    .string()
    .optional()
    .describe(
      'Certificates in PEM that are trusted instead of the well-known ones, by the app, the authority and Azure Resource Manager.',
    ),
});

const APP = ['subscription_id', 'resource_group', 'app_name'] as const;

export const azureFunctionsOptions = fields.superRefine((options, { addIssue }) => {
  const refuse = (path: string, message: string): void => addIssue({ code: 'custom', path: [path], message });
  const { isGiven: hasPrincipal, missing } = principalOf(options);
  for (const name of missing)
    refuse(name, 'is missing: a service principal has tenant_id, client_id and client_secret');
  if (hasPrincipal && options.identity_client_id !== undefined)
    refuse('identity_client_id', 'and client_id exclude each other: give one identity');
  const unnamed = APP.filter((name) => options[name] === undefined);
  if (unnamed.length < APP.length)
    for (const name of unnamed)
      refuse(name, 'is missing: an app is named by subscription_id, resource_group and app_name');
  if (options.audience !== undefined && /^http:/i.test(options.endpoint))
    refuse('endpoint', 'is https where tokens are sent: whoever saw one could use it');
  for (const name of options.starters)
    if (options.orchestrators.includes(name)) refuse('starters', `has ${name}, which orchestrators has too`);
});
export type AzureFunctionsOptions = z.output<typeof azureFunctionsOptions>;
