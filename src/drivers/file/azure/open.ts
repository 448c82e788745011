import { isConnectorError, reach, targetOf, type FileClient, type OpenContext } from '../../../driver.ts';
import { AzureFiles } from './client.ts';
import type { AzureOptions } from './options.ts';
import { probe, refuseHierarchy } from './probe.ts';
import { azureService, checkIdentity, endpointOf } from './service.ts';

/** @throws ConnectorError `auth_failed`; `not_found` without the container; `permission_denied` for the host's identity where it may not be used. */
export async function openAzure(options: AzureOptions, context: OpenContext): Promise<FileClient> {
  const { signal } = context;
  checkIdentity(options, context);
  await reach(context, targetOf(endpointOf(options), options.ca));
  const service = await azureService(options, context);
  try {
    const missing = await context.stage('credentials', async () => {
      if (service.credentials.kind === 'token') await service.credentials.tokens.get(signal);
      try {
        await probe(service, signal);
      } catch (error) {
        // Who is told that there is no such container has been let in.
        if (isConnectorError(error) && error.code === 'not_found') return error;
        throw error;
      }
      return undefined;
    });
    await context.stage('bucket', async () => {
      if (missing !== undefined) throw missing;
      await refuseHierarchy(service, signal);
    });
    return new AzureFiles(service);
  } catch (error) {
    await service.close();
    throw error;
  }
}
