import { invalidField, reach, targetOf, type OpenContext, type ServerlessClient } from '../../../driver.ts';
import { addressesOf } from './addresses.ts';
import { cloudflareApi } from './api.ts';
import { WorkersClient } from './client.ts';
import { secretsOf, type CloudflareWorkersOptions } from './options.ts';
import { workflowNames } from './workflow-names.ts';

const CONNECTIONS = 64;

/** @throws ConnectorError `auth_failed` where the API token is refused; `invalid_argument` for another `auth_type`. */
export async function openWorkers(
  options: CloudflareWorkersOptions,
  context: OpenContext,
): Promise<ServerlessClient> {
  checkAuth(options, context.authType);
  const addresses = addressesOf(options);
  const probe = addresses.probe ?? (options.api_token === undefined ? undefined : options.api_endpoint);
  if (probe !== undefined) await reach(context, targetOf(probe, options.ca));
  const fetcher = context.network.fetcher({ ca: options.ca, connections: CONNECTIONS });
  try {
    const api = await cloudflareApi(options, fetcher, context.clock);
    const workflows = workflowNames({ api, fixed: options.workflows, context });
    // Whether the token is any good is asked even where the names are told.
    await context.stage('credentials', async () => {
      if (options.workflows === undefined) await workflows.load(context.signal);
      else await api?.probe(context.signal);
    });
    return new WorkersClient({ options, addresses, api, workflows, fetcher, context, probe });
  } catch (error) {
    await fetcher.close();
    throw error;
  }
}

/** What the connector says of how it is known must be what it gives: nothing is sent, or left out, by mistake. */
function checkAuth(options: CloudflareWorkersOptions, authType: OpenContext['authType']): void {
  if (authType === undefined) return;
  if (authType !== 'none' && authType !== 'api_key')
    throw invalidField('auth_type', 'is none or api_key for Cloudflare Workers');
  const isGiven = secretsOf(options).length > 0;
  if (authType === 'none' && isGiven)
    throw invalidField('auth_type', 'is api_key where api_key, access_client_secret or api_token is given');
  if (authType === 'api_key' && !isGiven)
    throw invalidField('credentials', 'are api_key, access_client_secret or api_token');
}
