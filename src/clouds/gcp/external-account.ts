import { z } from 'zod';
import { ConnectorError } from '../../driver.ts';
import type { ExternalAccount } from './credentials.ts';
import { answeredToken, idToken, noToken, ownError } from './token-endpoint.ts';
import { type TokenParts, transporterOptions } from './token-library.ts';
import type { FetchedToken } from './tokens.ts';

const CLOUD_PLATFORM = 'https://www.googleapis.com/auth/cloud-platform';
const DEFAULT_LIFE_SECONDS = 3600;

/**
 * A token of Google's for one of another provider's, and then, where the configuration says so, one of the service
 * account that it may act as, by the requests that google-auth-library 11.3.4 makes for that.
 *
 * The library finds the other provider's token. It does not make the exchange: its client for that dials by itself,
 * whatever way it is given.
 */
export async function externalToken(account: ExternalAccount, parts: TokenParts): Promise<FetchedToken> {
  const { service_account_impersonation_url: impersonation, client_id, client_secret } = account;
  const { wanted } = parts;
  if (impersonation === undefined && 'audience' in wanted)
    throw new ConnectorError(
      'auth_failed',
      'a workload identity gets ID tokens as a service account alone; it names no service_account_impersonation_url',
    );
  const subject = await subjectToken(account, parts);
  const { workforce_pool_user_project: userProject } = account;
  const exchanged = await parts.fetch(account.token_url, {
    method: 'POST',
    headers: {
      'content-type': 'application/x-www-form-urlencoded',
      ...(client_id !== undefined && {
        authorization: `Basic ${Buffer.from(`${client_id}:${client_secret ?? ''}`).toString('base64')}`,
      }),
    },
    body: new URLSearchParams({
      grant_type: 'urn:ietf:params:oauth:grant-type:token-exchange',
      audience: account.audience,
      scope: impersonation === undefined && 'scope' in wanted ? wanted.scope : CLOUD_PLATFORM,
      requested_token_type: 'urn:ietf:params:oauth:token-type:access_token',
      subject_token: subject,
      subject_token_type: account.subject_token_type,
      ...(userProject !== undefined &&
        client_id === undefined && { options: JSON.stringify({ userProject }) }),
    }),
  });
  const federated = await answeredToken(exchanged);
  return impersonation === undefined ? federated : impersonated(impersonation, account, federated, parts);
}

async function subjectToken(account: ExternalAccount, { auth, fetch }: TokenParts): Promise<string> {
  const given = { ...account, transporterOptions: transporterOptions(fetch) };
  try {
    // The library's own types ask for one kind of source; its constructors refuse what is none.
    const client =
      'environment_id' in account.credential_source
        ? new auth.AwsClient(given as unknown as ConstructorParameters<typeof auth.AwsClient>[0])
        : new auth.IdentityPoolClient(
            given as unknown as ConstructorParameters<typeof auth.IdentityPoolClient>[0],
          );
    return await client.retrieveSubjectToken();
  } catch (error) {
    // No cause: what the library reports may hold the token, or what it was asked for.
    throw (
      ownError(error) ??
      new ConnectorError(
        'auth_failed',
        'the token of the workload identity could not be read from its source',
      )
    );
  }
}

/** What `generateAccessToken` of the IAM Service Account Credentials API answers. */
const accessAnswer = z.object({ accessToken: z.string().min(1), expireTime: z.iso.datetime() });
/** https://cloud.google.com/iam/docs/reference/credentials/rest/v1/projects.serviceAccounts/generateIdToken (read 2026-11-28) */
const idAnswer = z.object({ token: z.string().min(1) });

async function impersonated(
  url: string,
  { service_account_impersonation }: ExternalAccount,
  { token }: FetchedToken,
  { fetch, wanted }: TokenParts,
): Promise<FetchedToken> {
  const lifeSeconds = service_account_impersonation?.token_lifetime_seconds ?? DEFAULT_LIFE_SECONDS;
  const isId = 'audience' in wanted;
  const body = isId
    ? { audience: wanted.audience, includeEmail: true }
    : { scope: [wanted.scope], lifetime: `${lifeSeconds}s` };
  // The configuration names the method for access tokens; that for ID tokens is its neighbour.
  const response = await fetch(isId ? url.replace(/:generateAccessToken$/, ':generateIdToken') : url, {
    method: 'POST',
    headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
    body: JSON.stringify(body),
  });
  const answered: unknown = await response.json().catch(() => undefined);
  if (isId) {
    const answer = idAnswer.safeParse(answered);
    if (!answer.success) throw noToken();
    return idToken(answer.data.token);
  }
  const answer = accessAnswer.safeParse(answered);
  if (!answer.success) throw noToken();
  return {
    token: answer.data.accessToken,
    lifeMs: Math.max(0, Date.parse(answer.data.expireTime) - Date.now()),
  };
}
