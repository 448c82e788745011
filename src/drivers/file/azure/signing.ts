import type { UserDelegationKey } from '@azure/storage-blob';
import { ConnectorError, type PresignedUrl, type PresignOptions } from '../../../driver.ts';
import { notAzure } from './errors.ts';
import type { Service } from './service.ts';

/** A key of this account's directory signs for at most seven days: https://learn.microsoft.com/id-id/javascript/api/@azure/storage-blob/blobgetuserdelegationkeyparameters (read 2026-11-27). */
const MAX_KEY_MS = 7 * 86_400_000;
/** Our clock may be ahead of Azure's, for which the key would not have begun. */
const SKEW_MS = 300_000;

export type Grant = {
  readonly path: string;
  /** `r` reads, `c` creates, `w` writes. */
  readonly permissions: 'r' | 'cw';
  readonly expiresAt: Date;
};

/** Makes shared access signatures for one blob each. */
export interface Signing {
  /** The query of an address. @throws ConnectorError `unsupported` where the connector has only a signature itself. */
  query(grant: Grant, signal: AbortSignal): Promise<string>;
}

export function signing(service: Service): Signing {
  const { sdk, credentials, account, container, endpoint } = service;
  const values = ({ path, permissions, expiresAt }: Grant) => ({
    containerName: container,
    blobName: path,
    permissions: sdk.BlobSASPermissions.parse(permissions),
    expiresOn: expiresAt,
    ...(endpoint.startsWith('https:') && { protocol: sdk.SASProtocol.Https }),
  });
  let held: { readonly key: UserDelegationKey; readonly until: number } | undefined;
  const delegated = async (until: number, signal: AbortSignal): Promise<UserDelegationKey> => {
    if (held !== undefined && held.until >= until) return held.key;
    const begin = Math.max(service.clock.now() - SKEW_MS, until - MAX_KEY_MS);
    const key = await service.call(signal, {}, () =>
      new sdk.BlobServiceClient(endpoint, service.pipeline).getUserDelegationKey(
        new Date(begin),
        new Date(until),
        {
          abortSignal: signal,
        },
      ),
    );
    if (typeof key.value !== 'string') throw notAzure();
    held = { key, until };
    return key;
  };
  return {
    async query(grant, signal) {
      if (credentials.kind === 'key')
        return sdk.generateBlobSASQueryParameters(values(grant), credentials.credential).toString();
      if (credentials.kind === 'token') {
        const key = await delegated(grant.expiresAt.getTime(), signal);
        return sdk.generateBlobSASQueryParameters(values(grant), key, account).toString();
      }
      throw new ConnectorError(
        'unsupported',
        'a connector with a SAS token cannot sign addresses; give it an account key or an identity',
        { details: { capability: 'presign' } },
      );
    },
  };
}

/** An address for whoever holds it; a signature binds the method only by what it permits. */
export async function presigned(
  service: Service,
  signer: Signing,
  path: string,
  { method, expiresInSeconds }: PresignOptions,
  signal: AbortSignal,
): Promise<PresignedUrl> {
  // Azure's signatures know whole seconds.
  const expiresAt = new Date(Math.floor(service.clock.now() / 1000) * 1000 + expiresInSeconds * 1000);
  const query = await signer.query({ path, permissions: method === 'GET' ? 'r' : 'cw', expiresAt }, signal);
  return {
    url: `${service.urlOf(path)}?${query}`,
    method,
    // Without it Azure does not know what to make of the content.
    headers: method === 'PUT' ? { 'x-ms-blob-type': 'BlockBlob' } : {},
    expiresAt,
  };
}
