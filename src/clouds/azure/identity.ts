import { z } from 'zod';
import { ConnectorError, secret, type OpenContext } from '../../driver.ts';

/** A URL without anything that authorises, or that a path cannot be put after. */
export function isBaseUrl(url: string): boolean {
  return !/[?#]|\/\/[^/]*@/.test(url);
}

/** The options of a service principal, or of an identity of the host, for every service that takes tokens. */
export const identityFields = {
  tenant_id: z
    .string()
    .regex(/^[\w.-]{1,253}$/, 'is an id or a domain')
    .optional()
    .describe('Directory (tenant) of the service principal: an id or a domain.'),
  client_id: z
    .string()
    .regex(/^[\w-]{1,100}$/, 'is an application id')
    .optional()
    .describe('Application (client) id of the service principal.'),
  client_secret: secret().optional().describe('Secret of the service principal.'),
  authority_host: z
    .url({ protocol: /^https$/ })
    .max(2048)
    .refine(isBaseUrl, 'has no user, password, query or fragment')
    .default('https://login.microsoftonline.com')
    .describe('Where tokens are fetched: another one for the sovereign clouds.'),
  identity_client_id: z
    .string()
    .regex(/^[\w-]{1,100}$/, 'is a client id')
    .optional()
    .describe(
      'Client id of the user-assigned managed identity of the host, with auth_type iam and no credentials. The host’s own identity unless told.',
    ),
};

/** Who asks for tokens, where, and trusting which certificates. */
export type AzureIdentity = {
  readonly tenant_id?: string | undefined;
  readonly client_id?: string | undefined;
  readonly client_secret?: string | undefined;
  readonly authority_host: string;
  readonly identity_client_id?: string | undefined;
  readonly ca?: string | undefined;
};

const PRINCIPAL = ['tenant_id', 'client_id', 'client_secret'] as const;

/** Whether the options have a service principal, and what of it is missing. */
export function principalOf(options: Partial<AzureIdentity>): {
  readonly isGiven: boolean;
  readonly missing: readonly string[];
} {
  const missing = PRINCIPAL.filter((name) => options[name] === undefined);
  const isGiven = missing.length < PRINCIPAL.length;
  return { isGiven, missing: isGiven ? missing : [] };
}

/** @throws ConnectorError `permission_denied` unless an administrator made the connector. */
export function assertHostIdentityAllowed({ trusted }: Pick<OpenContext, 'trusted'>): void {
  if (!trusted)
    throw new ConnectorError(
      'permission_denied',
      'only a connector that an administrator made may use the host’s own identity; give credentials of your own',
    );
}
