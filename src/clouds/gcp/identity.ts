import { ConnectorError, invalidField, type OpenContext } from '../../driver.ts';
import {
  externalAccount,
  type ExternalAccount,
  parsedJson,
  serviceAccountKey,
  type ServiceAccountKey,
} from './credentials.ts';

/** The options that say who a connector is. */
export type IdentityOptions = {
  readonly service_account_key?: string | undefined;
  readonly external_account?: string | undefined;
};

/** As whom the connector speaks to Google. */
export type Identity =
  | { readonly kind: 'none' }
  | { readonly kind: 'key'; readonly key: ServiceAccountKey }
  | { readonly kind: 'external'; readonly account: ExternalAccount }
  | { readonly kind: 'host' };

/**
 * The identity that the options name; never one that happens to lie about on this host.
 *
 * @throws ConnectorError `permission_denied` for an identity of the host's where no administrator made the connector;
 *   `invalid_argument` where none is named.
 */
export function identityOf(
  { service_account_key, external_account }: IdentityOptions,
  { authType, trusted }: Pick<OpenContext, 'authType' | 'trusted'>,
): Identity {
  if (authType === 'none') {
    if (service_account_key !== undefined || external_account !== undefined)
      throw invalidField('auth_type', 'is not none where there are credentials');
    return { kind: 'none' };
  }
  if (service_account_key !== undefined)
    return { kind: 'key', key: parsedJson(serviceAccountKey, service_account_key) };
  if (external_account !== undefined) {
    if (!trusted) throw forAdministrators('a workload identity, which names files and URLs of this host,');
    return { kind: 'external', account: parsedJson(externalAccount, external_account) };
  }
  if (authType !== 'iam')
    throw invalidField(
      'service_account_key',
      'is missing; auth_type none sends no credentials, and iam uses the identity of this host',
    );
  if (!trusted) throw forAdministrators('the identity of this host');
  return { kind: 'host' };
}

function forAdministrators(what: string): ConnectorError {
  return new ConnectorError(
    'permission_denied',
    `${what} may be used by connectors that an administrator made; give a service_account_key`,
  );
}

/** Who the connector is, for people. */
export function described(identity: Identity): string {
  switch (identity.kind) {
    case 'none':
      return 'without credentials';
    case 'key':
      return `as ${identity.key.client_email}`;
    case 'external':
      return 'by a workload identity';
    case 'host':
      return 'as this host';
  }
}
