import { readFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import path from 'node:path';
import { z } from 'zod';
import { ConnectorError } from '../../driver.ts';
import { externalToken } from './external-account.ts';
import { externalAccount, serviceAccountKey } from './credentials.ts';
import { answeredToken, GOOGLE_TOKEN_ENDPOINT, idToken, noToken } from './token-endpoint.ts';
import { keyToken, libraryToken, type TokenParts, transporterOptions } from './token-library.ts';
import type { FetchedToken } from './tokens.ts';

const authorizedUser = z.object({
  type: z.literal('authorized_user'),
  client_id: z.string().min(1),
  client_secret: z.string().min(1),
  refresh_token: z.string().min(1),
});
type AuthorizedUser = z.output<typeof authorizedUser>;
const idAnswer = z.object({ id_token: z.string().min(1) });
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
    case 'authorized_user':
      return userToken(credentials, parts);
  }
}

async function userToken(
  { client_id: clientId, client_secret: clientSecret, refresh_token: refreshToken }: AuthorizedUser,
  { auth, fetch, wanted }: TokenParts,
): Promise<FetchedToken> {
  if ('audience' in wanted) {
    // By the request that google-auth-library 11.3.4 makes, which would repeat it.
    const form = { client_id: clientId, client_secret: clientSecret, refresh_token: refreshToken };
    const response = await fetch(GOOGLE_TOKEN_ENDPOINT, {
      method: 'POST',
      headers: { 'content-type': 'application/x-www-form-urlencoded' },
      body: new URLSearchParams({
        ...form,
        grant_type: 'refresh_token',
        target_audience: wanted.audience,
      }),
    });
    const answer = idAnswer.safeParse(await response.json().catch(() => undefined));
    if (!answer.success) throw noToken();
    return idToken(answer.data.id_token);
  }
  const user = new auth.UserRefreshClient({
    ...{ clientId, clientSecret, refreshToken },
    transporterOptions: transporterOptions(fetch),
  });
  await user.getAccessToken();
  return libraryToken(user.credentials);
}

/** By the requests that gcp-metadata 9.2 makes. */
async function machineToken({ fetch, wanted }: TokenParts): Promise<FetchedToken> {
  const host = process.env['GCE_METADATA_HOST'] || '169.254.169.254';
  const account = `http://${host}/computeMetadata/v1/instance/service-accounts/default`;
  const headers = { 'metadata-flavor': 'Google' };
  if ('scope' in wanted)
    return answeredToken(await fetch(`${account}/token?scopes=${wanted.scope}`, { headers }));
  const audience = encodeURIComponent(wanted.audience);
  const response = await fetch(`${account}/identity?audience=${audience}&format=full`, { headers });
  return idToken((await response.text()).trim());
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
