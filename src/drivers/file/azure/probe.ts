import { ConnectorError, isConnectorError, type Note } from '../../../driver.ts';
import type { Service } from './service.ts';

/**
 * Asks for one name of the container, which shared access signatures for a container may do as well; its properties they
 * may not read.
 *
 * @returns what a person should know. Not being allowed to list is no failure: the connector may be there to write.
 * @throws ConnectorError `auth_failed`, `not_found` without the container.
 */
export async function probe(service: Service, signal: AbortSignal): Promise<readonly Note[]> {
  const { account, container, endpoint, credentials } = service;
  const notes: Note[] = [{ level: 'info', message: `container ${container} of the account ${account}` }];
  if (endpoint.startsWith('http:'))
    notes.push({ level: 'warn', message: 'files travel in clear; use an endpoint with https' });
  if (credentials.kind === 'sas') notes.push(...signatureNotes(credentials.query, service.clock.now()));
  try {
    await service.call(signal, {}, () =>
      service.containerClient.listBlobsFlat({ abortSignal: signal }).byPage({ maxPageSize: 1 }).next(),
    );
  } catch (error) {
    if (!isConnectorError(error) || !isWithoutListing(error)) throw error;
    notes.push({ level: 'warn', message: `files cannot be listed: ${error.message}` });
  }
  return notes;
}

/** The one refusal that proves the credentials; others may come from a firewall. */
function isWithoutListing({ details }: ConnectorError): boolean {
  return details?.['backend_code'] === 'AuthorizationPermissionMismatch';
}

function signatureNotes(query: string, nowMs: number): readonly Note[] {
  const expiresAtMs = Date.parse(new URLSearchParams(query).get('se') ?? '');
  if (Number.isNaN(expiresAtMs)) return [];
  const day = new Date(expiresAtMs).toISOString();
  return [
    expiresAtMs - nowMs < 7 * 86_400_000
      ? { level: 'warn', message: `the SAS token ends at ${day}` }
      : { level: 'info', message: `the SAS token ends at ${day}` },
  ];
}

/**
 * @throws ConnectorError `unsupported` for an account with a hierarchical namespace, whose listings are in the order of
 *   a walk: pages of ours, which go on by name, would leave files out. An account that does not say is taken as it is.
 */
export async function refuseHierarchy(service: Service, signal: AbortSignal): Promise<void> {
  const facts = await service
    .call(signal, {}, () => service.containerClient.getAccountInfo({ abortSignal: signal }))
    .catch((error: unknown) => {
      // Only some credentials may ask.
      if (signal.aborted) throw error;
    });
  if (facts?.isHierarchicalNamespaceEnabled)
    throw new ConnectorError(
      'unsupported',
      'the account has a hierarchical namespace, which lists files in another order; use one without',
      { details: { account: service.account } },
    );
}
