import { AUTH_RANGE, googleTokens, type GoogleTokens } from '../../../clouds/gcp/google-tokens.ts';
import { described, type Identity, identityOf } from '../../../clouds/gcp/identity.ts';
import {
  invalidField,
  isConnectorError,
  type Note,
  type OpenContext,
  reach,
  type ServerlessClient,
  targetOf,
} from '../../../driver.ts';
import { GcpFunctionsClient } from './client.ts';
import { CLOUD_RUN, type GcpFunctionsOptions } from './options.ts';
import { audienceOf, places, type Places } from './places.ts';
import { RUN_RANGE, RUN_SCOPE, type RunApi, runApi } from './run-api.ts';

export const PEERS = { 'google-auth-library': AUTH_RANGE, '@google-cloud/run': RUN_RANGE };

/** Calls of a function hold a connection for as long as they take: as many as a process may have under way. */
const CONNECTIONS = 64;

/** Who is asked first, and for whom the first ID token is. */
type First = { readonly url: string; readonly audience: string };
/** Proves that the connector is let in, without calling any function. */
type Proof = (signal: AbortSignal) => Promise<readonly Note[]>;

/** @throws ConnectorError `auth_failed`; `permission_denied` for an identity that is not the tenant's; `unavailable`. */
export async function openGcpFunctions(
  options: GcpFunctionsOptions,
  context: OpenContext,
): Promise<ServerlessClient> {
  const { clock, network, signal } = context;
  const { project_id: project, api_endpoint, token_endpoint: tokenEndpoint, ca } = options;
  const identity = identityOf(options, context);
  if (identity.kind === 'none' && project !== undefined)
    throw invalidField(
      'auth_type',
      'is not none where project_id is given: the Cloud Run Admin API wants credentials',
    );
  const first = firstOf(options);
  const isApi = project !== undefined;
  const apiCa = api_endpoint === CLOUD_RUN ? undefined : ca;
  await reach(context, targetOf(first.url, isApi ? apiCa : ca));
  const fetcher = network.fetcher({ ca, connections: CONNECTIONS });
  const apiFetcher = network.fetcher({ ca: apiCa });
  const google = await googleTokens(identity, { tokenEndpoint, ca }, context);
  let api: RunApi | undefined;
  let known: Places | undefined;
  const close = async (): Promise<void> => {
    known?.close();
    await Promise.all([google.close(), fetcher.close(), apiFetcher.close(), api?.close()]);
  };
  try {
    if (isApi)
      api = await runApi(options, { fetcher: apiFetcher, tokens: google.of({ scope: RUN_SCOPE }), clock });
    known = places(options, api?.uriOf, clock);
    const proof = api ? byListing(api) : byToken(first, google, context, ca);
    await context.stage('credentials', () => proof(signal));
    return new GcpFunctionsClient({
      ...{ fetcher, google, places: known, api, context, close },
      check: async (call) => [...notesOf(identity, options), ...(await proof(call))],
    });
  } catch (error) {
    await close();
    throw error;
  }
}

function firstOf({ project_id, api_endpoint, endpoint, functions }: GcpFunctionsOptions): First {
  const [given] = Object.values(functions);
  const { url: own = undefined, audience = undefined } =
    typeof given === 'string' ? { url: given } : (given ?? {});
  const url = project_id === undefined ? (endpoint ?? own) : api_endpoint;
  // The schema has it; without a url there is an endpoint or a project.
  if (url === undefined) throw invalidField('functions', 'have a url each');
  return { url, audience: audience ?? audienceOf(url) };
}

function byListing(api: RunApi): Proof {
  return async (signal) => {
    try {
      await api.probe(signal);
      return [];
    } catch (error) {
      // Who may invoke need not be one who may list.
      if (!isConnectorError(error) || error.details['backend_status'] !== 403) throw error;
      return [{ level: 'warn', message: `${error.message}; functions without a url cannot be found` }];
    }
  };
}

/** Any request would be a call of a function: the token, and that somebody takes connections, must do. */
function byToken(
  { url, audience }: First,
  google: GoogleTokens,
  context: OpenContext,
  ca: string | undefined,
): Proof {
  return async (signal) => {
    await google.of({ audience }).current(signal);
    await reach({ ...context, signal, stage: (_name, step) => step() }, targetOf(url, ca));
    return [];
  };
}

function notesOf(identity: Identity, options: GcpFunctionsOptions): readonly Note[] {
  const { project_id, region, endpoint, functions } = options;
  const count = Object.keys(functions).length;
  const where =
    project_id === undefined
      ? endpoint === undefined
        ? `${count} functions by URL`
        : 'functions below an endpoint'
      : `Cloud Run services of ${project_id} in ${region}`;
  const notes: Note[] = [{ level: 'info', message: `${where}, ${described(identity)}` }];
  const urls = [
    endpoint,
    ...Object.values(functions).map((one) => (typeof one === 'string' ? one : one.url)),
  ];
  if (identity.kind !== 'none' && urls.some((url) => url?.startsWith('http:')))
    notes.push({ level: 'warn', message: 'ID tokens are sent in clear; use https' });
  return notes;
}
