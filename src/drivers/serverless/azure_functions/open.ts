import { assertHostIdentityAllowed, principalOf } from '../../../clouds/azure/identity.ts';
import { hostTokens, principalTokens, type Tokens } from '../../../clouds/azure/tokens.ts';
import { invalidField, reach, targetOf, type OpenContext, type ServerlessClient } from '../../../driver.ts';
import { appAddress, catalogue } from './catalogue.ts';
import { AzureFunctions } from './client.ts';
import { orchestrations } from './durable.ts';
import { functionApp } from './function-app.ts';
import type { AzureFunctionsOptions } from './options.ts';

/**
 * Whom the connector is for Azure.
 *
 * @throws ConnectorError `invalid_argument` where the options do not say what `auth_type` says; `permission_denied`
 *   where the host's own identity is asked for by somebody who may not use it.
 */
function checkIdentity(options: AzureFunctionsOptions, context: OpenContext): void {
  const { authType } = context;
  const { isGiven: hasPrincipal } = principalOf(options);
  const needsTokens = options.audience !== undefined || appAddress(options) !== undefined;
  if (authType === 'api_key' && options.function_key === undefined)
    throw invalidField('function_key', 'is missing, which auth_type api_key says there is');
  if (authType === 'oauth' && !hasPrincipal)
    throw invalidField('client_id', 'is missing: auth_type oauth is a service principal');
  if (!hasPrincipal && authType === 'iam') assertHostIdentityAllowed(context);
  if (!needsTokens && (authType === 'oauth' || authType === 'iam' || hasPrincipal))
    throw invalidField(
      'audience',
      'or subscription_id says what the identity is for; one of them is missing',
    );
  if (needsTokens && !hasPrincipal && authType !== 'iam')
    throw invalidField(
      'client_id',
      'is missing: tokens need tenant_id, client_id and client_secret, or auth_type iam for the host’s own identity',
    );
}

/** @throws ConnectorError `auth_failed`; `permission_denied` for the host's identity where it may not be used. */
export async function openAzureFunctions(
  options: AzureFunctionsOptions,
  context: OpenContext,
): Promise<ServerlessClient> {
  checkIdentity(options, context);
  const { clock, signal } = context;
  await reach(context, targetOf(options.endpoint, options.ca));
  const opened: Pick<Tokens, 'close'>[] = [];
  const release = async (): Promise<void> => {
    await Promise.all(opened.map((one) => one.close()));
  };
  const tokensFor = async (scope: string): Promise<Tokens> => {
    const wanted = { identity: options, scope };
    const tokens =
      options.client_secret === undefined ? hostTokens(wanted, context) : principalTokens(wanted, context);
    opened.push(await tokens);
    return tokens;
  };
  try {
    const { audience } = options;
    const appTokens = audience === undefined ? undefined : await tokensFor(`${audience}/.default`);
    const address = appAddress(options);
    // https://learn.microsoft.com/rest/api/azure/ (read 2026-11-28): the resource is the endpoint, in every cloud.
    const scope = `${options.management_endpoint.replace(/\/+$/, '')}/.default`;
    const known = address && (await catalogue(address, options, await tokensFor(scope), context));
    if (known !== undefined) opened.push(known);
    const app = functionApp(options, appTokens, context);
    opened.push(app);
    const durable = orchestrations(app, clock);
    const client = new AzureFunctions({ options, app, durable, catalogue: known, clock, release });
    await context.stage('credentials', () => client.check(signal));
    return client;
  } catch (error) {
    await release();
    throw error;
  }
}
