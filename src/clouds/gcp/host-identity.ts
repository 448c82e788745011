import { readFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import path from 'node:path';
import { z } from 'zod';
import { ConnectorError } from '../../driver.ts';
import { externalToken } from './external-account.ts';
import { externalAccount, serviceAccountKey } from './credentials.ts';
import { answeredToken } from './token-endpoint.ts';
import { keyToken, libraryToken, type TokenParts, transporterOptions } from './token-library.ts';
import type { FetchedToken } from './tokens.ts';

const authorizedUser = z.object({
  type: z.literal('authorized_user'),
  client_id: z.string().min(1),
  client_secret: z.string().min(1),
  refresh_token: z.string().min(1),
});
const credentialsFile = z.discriminatedUnion('type', [serviceAccountKey, externalAccount, authorizedUser]);

/**
 * A token for whatever this host is to Google, looked for where Google's own clients look, in their order: the file that
 * `GOOGLE_APPLICATION_CREDENTIALS` names, the one that `gcloud` keeps, the metadata service of the machine. The library's own
 * search for them dials by itself.
 */
export async function hostToken(parts: TokenParts): Promise<FetchedToken> {
  const { GOOGLE_APPLICATION_CREDENTIALS: named, CLOUDSDK_CONFIG: gcloud } = process.env;
  const kept = path.join(
    gcloud || path.join(homedir(), '.config', 'gcloud'),
    'application_default_credentials.json',
  );
  const text = named ? await read(named) : await read(kept).catch(() => undefined);
  if (text === undefined) return machineToken(parts);
  const found = credentialsFile.safeParse(json(text));
  if (!found.success)
    throw unusable("this host's credentials are no service account, workload identity or user of Google");
  const credentials = found.data;
  switch (credentials.type) {
    case 'service_account':
      return keyToken(credentials, parts);
    case 'external_account':
      return externalToken(credentials, parts);
    case 'authorized_user': {
      const { client_id: clientId, client_secret: clientSecret, refresh_token: refreshToken } = credentials;
      const user = new parts.auth.UserRefreshClient({
        ...{ clientId, clientSecret, refreshToken },
        transporterOptions: transporterOptions(parts.fetch),
      });
      await user.getAccessToken();
      return libraryToken(user.credentials);
    }
  }
}

/** By the request that gcp-metadata 9.2 makes. */
async function machineToken({ fetch, scope }: TokenParts): Promise<FetchedToken> {
  const host = process.env['GCE_METADATA_HOST'] || '169.254.169.254';
  const url = `http://${host}/computeMetadata/v1/instance/service-accounts/default/token?scopes=${scope}`;
  return answeredToken(await fetch(url, { headers: { 'metadata-flavor': 'Google' } }));
}

async function read(file: string): Promise<string> {
  try {
    return await readFile(file, 'utf8');
  } catch (cause) {
    throw new ConnectorError('auth_failed', "the file of this host's credentials cannot be read", { cause });
  }
}

function json(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function unusable(message: string): ConnectorError {
  return new ConnectorError('auth_failed', message);
}
