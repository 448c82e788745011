import { z } from 'zod';
import {
  isConnectorError,
  reach,
  targetOf,
  type Note,
  type OpenContext,
  type ServerlessClient,
} from '../../../driver.ts';
import { accessOf, checkAccess } from './access.ts';
import { OpenfaasFunctions } from './client.ts';
import { Gateway } from './gateway.ts';
import type { OpenfaasOptions } from './options.ts';

/** Each call holds one for as long as the function runs. */
const CONNECTIONS = 128;

// `GatewayInfo` in https://github.com/openfaas/faas/blob/master/api-docs/spec.openapi.yml (read 2026-11-28)
const info = z.object({ provider: z.looseObject({}).nullable(), arch: z.string().optional() });

/**
 * Functions behind a gateway, which has answered who it is.
 *
 * @throws ConnectorError `invalid_argument` where `auth_type` and the credentials disagree, before any I/O; `auth_failed`.
 */
export async function openOpenfaas(
  options: OpenfaasOptions,
  context: OpenContext,
): Promise<ServerlessClient> {
  const { clock, signal } = context;
  checkAccess(options, context);
  await reach(context, targetOf(options.endpoint, options.ca));
  const fetcher = context.network.fetcher({ ca: options.ca, connections: CONNECTIONS });
  try {
    const access = accessOf(options, fetcher, context);
    const gateway = new Gateway(options, access, fetcher, clock);
    const check = (within: AbortSignal) => lifeOf(gateway, options, access.hasCredentials, within);
    await context.stage('credentials', () => check(signal));
    return new OpenfaasFunctions({ options, gateway, clock, check });
  } catch (error) {
    await fetcher.close();
    throw error;
  }
}

/** `GET /system/info`, which asks for credentials where the gateway does at all; calls of functions do not. */
async function lifeOf(
  gateway: Gateway,
  { endpoint }: OpenfaasOptions,
  hasCredentials: boolean,
  signal: AbortSignal,
): Promise<readonly Note[]> {
  const notes: Note[] = [];
  try {
    await gateway.read('/system/info', {}, info, signal);
  } catch (error) {
    const code = isConnectorError(error) ? error.code : undefined;
    if (code === 'permission_denied')
      notes.push({
        level: 'info',
        message: 'the role may not read System:Info; what else it may was not asked',
      });
    else if (code === 'auth_failed' && !hasCredentials) {
      // The route of the gateway's liveness, which is open: gateway/main.go (read 2026-11-28).
      await (await gateway.open('/healthz', {}, signal)).body?.cancel();
      const message = 'without credentials functions are called, but neither listed nor their logs read';
      notes.push({ level: 'warn', message });
    } else throw error;
  }
  if (hasCredentials && /^http:/i.test(endpoint))
    notes.push({ level: 'warn', message: 'the credentials are sent in clear; use an endpoint with https' });
  return notes;
}
