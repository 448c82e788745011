import { awsCredentials } from '../../../clouds/aws/credentials.ts';
import { secretsOf } from '../../../clouds/aws/options.ts';
import {
  invalidField,
  isConnectorError,
  reach,
  targetOf,
  type Agents,
  type OpenContext,
  type ServerlessClient,
} from '../../../driver.ts';
import { LambdaApi } from './api.ts';
import { LambdaFunctions } from './client.ts';
import { askForAny } from './list.ts';
import type { LambdaOptions } from './options.ts';
import { endpointOf, lambdaConfig, loadSdk, resultOf } from './sdk.ts';

/** To the endpoint: each call holds one for as long as its function runs. */
const CONNECTIONS = 200;

/** Opens the functions of an account in a region, stage by stage. */
export async function openLambda(options: LambdaOptions, context: OpenContext): Promise<ServerlessClient> {
  const agents = context.network.agents({ ca: options.ca, connections: CONNECTIONS });
  try {
    const api = await apiOf(options, context, agents);
    await reach(context, targetOf(endpointOf(options), options.ca));
    await context.stage('credentials', () => provenBy(api, options, context.signal));
    return new LambdaFunctions({ agents, api, options, clock: context.clock });
  } catch (error) {
    agents.close();
    throw error;
  }
}

async function apiOf(options: LambdaOptions, context: OpenContext, agents: Agents): Promise<LambdaApi> {
  const failures = { secrets: secretsOf(options), now: () => context.clock.now() };
  const sdk = await loadSdk();
  const credentials = await awsCredentials(options, { open: context, agents, failures });
  if (credentials === undefined)
    throw invalidField('auth_type', 'is not none: Lambda knows nobody without keys');
  const config = lambdaConfig(options, agents);
  const control = new sdk.LambdaClient({ ...config, credentials });
  // The first client's provider remembers what it got: a role is assumed once for both.
  const shared = { credentials: control.config.credentials, streamCollector: resultOf };
  return new LambdaApi({ sdk, control, runs: new sdk.LambdaClient({ ...config, ...shared }), failures });
}

/** Proves the credentials. Whoever may not list functions has shown that he is known, and may well invoke them. */
async function provenBy(api: LambdaApi, options: LambdaOptions, signal: AbortSignal): Promise<void> {
  // Apart from the request: of whoever gives credentials nothing is forgiven.
  await api.identify(signal);
  try {
    await askForAny(api, signal);
  } catch (error) {
    if (!isConnectorError(error)) throw error;
    const isKnown = error.details['backend_code'] === 'AccessDeniedException';
    const isEmulator = options.endpoint !== undefined && error.code === 'unsupported';
    if (!isKnown && !isEmulator) throw error;
  }
}
