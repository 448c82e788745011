import { z } from 'zod';
import { secret, tokenUrl } from '../../../driver.ts';

/** The one function of an endpoint that has no table. */
export const ONLY_FUNCTION = 'default';

const NAME = /^[A-Za-z0-9_-][A-Za-z0-9_.:-]{0,139}$/;
// Of Kubernetes: https://github.com/kubernetes/kubernetes/pull/39675 (read 2026-11-28), and 63 characters at most, RFC 1035 section 2.3.4.
const LABEL = /^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/;
// Knative's is {route}.{namespace}.{domain}: https://github.com/knative/docs/blob/main/docs/versioned/serving/using-a-custom-domain.md (read 2026-11-28).
const HOST = /^(?:[a-z0-9-]*\{name\}[a-z0-9-]*)(?:\.[a-z0-9-]{1,63})+(?::\d{1,5})?$/;
const HEADER = /^[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}$/; // RFC 9110 section 5.6.2
const VISIBLE = /^[\x20-\x7e]+$/;

/** Headers that belong to the connection, to the message, or to this driver. */
const OWN_HEADERS: ReadonlySet<string> = new Set([
  ...['connection', 'keep-alive', 'proxy-connection', 'te', 'trailer', 'transfer-encoding', 'upgrade'], // RFC 9110 section 7.6.1
  ...['host', 'content-length', 'content-type', 'content-encoding', 'expect', 'accept-encoding'],
  ...['x-request-id', 'idempotency-key', 'x-signature', 'x-timestamp'],
]);
/** What a header is called that carries a credential, which would be stored and shown in clear here. */
const SECRET_HEADER = /authorization|authenticate|cookie|token|secret|password|api-?key|functions-key/;

const isAbsolute = (address: string): boolean => /^https?:\/\//i.test(address);
const isAddress = (url: string): boolean =>
  URL.canParse(url) && /^https?:$/.test(new URL(url).protocol) && !/#|\/\/[^/?]*@/.test(url);

const fields = z.strictObject({
  endpoint: z
    .url({ protocol: /^https?$/ })
    .max(2048)
    .refine(isAddress, 'has no user, password or fragment')
    .optional()
    .describe(
      'URL of the one function, which is called default; with functions, the base URL that their paths are put behind.',
    ),
  functions: z
    .record(
      z.string().regex(NAME, 'is a name of 1 to 140 letters, digits, dots, colons, hyphens and underscores'),
      z
        .string()
        .max(2048)
        .refine(
          (at) => (isAbsolute(at) ? isAddress(at) : /^\/[^#\s]*$/.test(at)),
          'is a path that begins with /, or a URL without a user and a fragment',
        ),
    )
    .refine((table) => Object.keys(table).length <= 1000, 'has at most 1000 functions')
    .refine((table) => Object.keys(table).length > 0, 'has a function')
    .optional()
    .describe(
      'The functions: a name, and a path behind the endpoint or a URL. Every one is sent the same credentials.',
    ),
  host_template: z
    .string()
    .max(253)
    .regex(HOST, 'is a host whose first label has {name}, such as {name}.default.example.com')
    .optional()
    .describe(
      'Host that a request is for, with {name} in place of the function’s name, where an ingress at the endpoint routes by it, as that of Knative does: {name}.default.example.com.',
    ),
  method: z.enum(['POST', 'PUT', 'PATCH']).default('POST').describe('Method of each call.'),
  headers: z
    .record(
      z.string().regex(HEADER, 'is the name of a header'),
      z.string().max(4096).regex(VISIBLE, 'is ASCII'),
    )
    .default({})
    .describe('Headers of each call. They are stored and shown in clear: not for secrets.'),
  health_path: z
    .string()
    .max(2048)
    // Two slashes begin a host.
    .regex(/^\/(?![/\\])[^#\s]*$/, 'begins with one /')
    .optional()
    .describe(
      'Path on the endpoint’s host that answers GET with success when all is well. Without it a test only connects, as not every function may be called for nothing.',
    ),
  ca: z.string().optional().describe('Certificates in PEM that are trusted instead of the well-known ones.'),
  api_key: secret()
    .regex(VISIBLE, 'is ASCII')
    .optional()
    .describe('Key that is sent as Authorization: Bearer KEY; in clear where the address is http.'),
  api_key_header: z
    .string()
    .regex(HEADER, 'is the name of a header')
    .refine((name) => !OWN_HEADERS.has(name.toLowerCase()), 'is a header that may be set')
    .optional()
    .describe('Header that carries the key as it is, such as X-API-Key.'),
  username: z
    .string()
    .regex(/^[^:\p{Cc}]+$/u, 'has no colon and no control characters')
    .optional()
    .describe('Name for basic authentication; needs a password.'),
  password: secret()
    .regex(/^\P{Cc}+$/u, 'has no control characters')
    .optional()
    .describe('Password for basic authentication; sent in clear where the address is http.'),
  token_url: tokenUrl()
    .optional()
    .describe('Token endpoint of the OAuth 2.0 server that gives access tokens by client credentials.'),
  client_id: z.string().min(1).max(1024).optional().describe('Id of the client at the OAuth 2.0 server.'),
  client_secret: secret().optional().describe('Secret of the client at the OAuth 2.0 server.'),
  scope: z
    .string()
    .regex(/^[\x21\x23-\x5b\x5d-\x7e]+(?: [\x21\x23-\x5b\x5d-\x7e]+)*$/, 'is words with single spaces') // RFC 6749 section 3.3
    .optional()
    .describe('Scopes of the token, separated by spaces; the server’s default unless told.'),
  audience: z
    .string()
    .min(1)
    .max(2048)
    .optional()
    .describe('API that the token is for, where the server asks.'),
  client_auth: z
    .enum(['basic', 'post'])
    .default('basic')
    .describe('Whether the client’s id and secret go in the header or in the form.'),
  signing_secret: secret()
    .min(24, 'has at least 24 characters')
    .optional()
    .describe('Signs each call with HMAC-SHA256, so that the function knows that it comes from here.'),
  signing_secret_previous: secret()
    .min(24, 'has at least 24 characters')
    .optional()
    .describe('Signs each call as well, while functions change from this secret to the other.'),
});

/** Which fields make a way to authenticate. */
const WAYS = {
  api_key: ['api_key'],
  basic: ['username', 'password'],
  oauth: ['token_url', 'client_id', 'client_secret'],
} as const;
const ONLY_WITH = {
  api_key_header: 'api_key',
  scope: 'token_url',
  audience: 'token_url',
  signing_secret_previous: 'signing_secret',
} as const;

export const httpOptions = fields.superRefine((options, { addIssue }) => {
  const refuse = (path: string, message: string): void =>
    addIssue({ code: 'custom', path: path.split('/'), message });
  addressIssues(options, refuse);
  const ways = waysOf(options);
  for (const way of ways)
    for (const name of WAYS[way])
      if (options[name] === undefined) refuse(name, `is needed: ${WAYS[way].join(', ')} belong together`);
  if (ways.length > 1)
    refuse(WAYS[ways[1] ?? 'oauth'][0], `and ${WAYS[ways[0] ?? 'oauth'][0]} exclude each other`);
  for (const [name, other] of Object.entries(ONLY_WITH) as [keyof typeof ONLY_WITH, keyof HttpOptions][])
    if (options[name] !== undefined && options[other] === undefined) refuse(name, `needs ${other}`);
  const seen = new Set<string>();
  for (const name of Object.keys(options.headers)) {
    const lower = name.toLowerCase();
    if (OWN_HEADERS.has(lower)) refuse('headers', `has no ${lower}, which is set for each call`);
    else if (SECRET_HEADER.test(lower) || lower === options.api_key_header?.toLowerCase())
      refuse('headers', `has no ${lower}: a credential is an api_key with its api_key_header`);
    else if (seen.has(lower)) refuse('headers', `has ${lower} once`);
    seen.add(lower);
  }
});
export type HttpOptions = z.output<typeof fields>;

/** The ways to authenticate of which something was set. */
export function waysOf(options: HttpOptions): readonly (keyof typeof WAYS)[] {
  const all = Object.keys(WAYS) as (keyof typeof WAYS)[]; // as it is written above
  return all.filter((way) => WAYS[way].some((name) => options[name] !== undefined));
}

function addressIssues(options: HttpOptions, refuse: (path: string, message: string) => void): void {
  const { endpoint, functions, host_template: template, health_path: health } = options;
  const table = Object.entries(functions ?? {});
  const needsEndpoint = functions === undefined || table.some(([, at]) => !isAbsolute(at));
  if (endpoint === undefined && (needsEndpoint || health !== undefined))
    refuse('endpoint', 'is needed, unless all functions have URLs of their own and there is no health_path');
  if (endpoint?.includes('?') && functions !== undefined)
    refuse('endpoint', 'has no query where there are functions');
  if (template === undefined) return;
  if (functions === undefined) refuse('functions', 'is needed with host_template');
  for (const [name, at] of table) {
    if (isAbsolute(at)) refuse(`functions/${name}`, 'is a path where there is a host_template');
    if (!LABEL.test(name))
      refuse(
        `functions/${name}`,
        'is called by lower-case letters, digits and hyphens where there is a host_template',
      );
  }
}
