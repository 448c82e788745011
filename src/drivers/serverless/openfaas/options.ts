import { z } from 'zod';
import { secret, tokenUrl } from '../../../driver.ts';

const fields = z.strictObject({
  endpoint: z
    .url({ protocol: /^https?$/ })
    .max(2048)
    .refine((url) => !/[?#]|\/\/[^/]*@/.test(url), 'has no user, password, query or fragment')
    .describe(
      'Base URL of the gateway, with the port where it is not the usual one: 8080 inside the cluster.',
    ),
  ca: z
    .string()
    .optional()
    .describe(
      'Certificates in PEM that are trusted instead of the well-known ones, by the gateway and the token endpoint.',
    ),
  // https://docs.openfaas.com/reference/namespaces/ (read 2026-11-28); one is a namespace of Kubernetes, which is a label of
  // RFC 1123: https://kubernetes.io/docs/concepts/overview/working-with-objects/names/#dns-label-names (read 2026-11-28)
  namespace: z
    .string()
    .regex(/^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/, 'is 1 to 63 lower-case letters, digits and hyphens')
    .optional()
    .describe(
      'Namespace of the functions: no other is reached then. Without it, the default one of the gateway, and NAME.NAMESPACE names a function of another.',
    ),
  username: z
    .string()
    .regex(/^[^:\p{Cc}]{1,256}$/u, 'is 1 to 256 characters without a colon')
    .default('admin')
    .describe('User of the basic authentication, with password.'),
  password: secret()
    .optional()
    .describe(
      'Password of the basic authentication of the gateway’s API, which lists functions and reads their logs. It is never sent to a function unless invoke_auth says so.',
    ),
  api_key: secret()
    .regex(/^[\x21-\x7e]+$/, 'is a token without spaces')
    .optional()
    .describe(
      'Bearer token for the gateway’s API: one of OpenFaaS IAM, or of what stands before the gateway.',
    ),
  client_id: z
    .string()
    .min(1)
    .max(256)
    .optional()
    .describe('Client at the identity provider that OpenFaaS IAM trusts, with auth_type oauth.'),
  client_secret: secret().optional().describe('Secret of the client.'),
  token_url: tokenUrl()
    .optional()
    .describe(
      'Token endpoint of the identity provider, where the client gets its token (client credentials).',
    ),
  client_auth: z
    .enum(['basic', 'post'])
    .default('basic')
    .describe('Whether the client says who it is in the header or in the form of that request.'),
  scope: z
    .string()
    .max(1024)
    .optional()
    .describe('Scopes of the token, separated by spaces; the provider’s default unless told.'),
  audience: z
    .string()
    .max(1024)
    .optional()
    .describe('Audience of the token, for providers that ask for one.'),
  token_exchange: z
    .boolean()
    .default(true)
    .describe(
      'Whether the provider’s token is exchanged for one of OpenFaaS at the gateway’s /oauth/token, as OpenFaaS IAM asks. False sends the provider’s own.',
    ),
  invoke_auth: z
    .enum(['none', 'function_token', 'same'])
    .default('none')
    .describe(
      'What a function is called with: nothing, as OpenFaaS leaves it to the function whom it serves; a token for that one function, exchanged at the gateway (IAM); or the same credentials as the API. The function sees what it is called with, and the queue keeps it.',
    ),
  async: z
    .enum(['gateway', 'worker'])
    .default('gateway')
    .describe(
      'Who carries on an asynchronous invocation: the gateway’s queue, which reports its end once to this server’s address and forgets it, or this server, which holds a synchronous call.',
    ),
});

const CLIENT = ['client_id', 'client_secret', 'token_url'] as const;

export const openfaasOptions = fields.superRefine((options, { addIssue }) => {
  const refuse = (path: string, message: string): void => addIssue({ code: 'custom', path: [path], message });
  const missing = CLIENT.filter((name) => options[name] === undefined);
  const hasClient = missing.length < CLIENT.length;
  if (hasClient)
    for (const name of missing)
      refuse(name, 'is missing: a client has client_id, client_secret and token_url');
  const ways = [
    ...(options.password === undefined ? [] : ['password']),
    ...(options.api_key === undefined ? [] : ['api_key']),
    ...(hasClient ? ['client_id'] : []),
  ];
  for (const way of ways.slice(1))
    refuse(way, `and ${ways[0]} exclude each other: give one kind of credentials`);
  if (options.invoke_auth === 'function_token' && (ways[0] ?? 'password') === 'password')
    refuse('invoke_auth', 'is function_token only with api_key or a client: there is no token to exchange');
  if (options.invoke_auth === 'same' && ways.length === 0)
    refuse('invoke_auth', 'is same only with credentials');
});
export type OpenfaasOptions = z.output<typeof openfaasOptions>;
