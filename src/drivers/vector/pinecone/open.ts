import {
  loadPeer,
  type Note,
  reach,
  targetOf,
  type VectorClient,
  type VectorOpenContext,
} from '../../../driver.ts';
import { PineconeClient } from './client.ts';
import { checkIndex, describeIndex, type IndexAccess, missingIndex, readyIndex } from './collection.ts';
import { Namespace } from './namespace.ts';
import type { PineconeOptions } from './options.ts';
import { transport as transportOf } from './transport.ts';

export const PEER_RANGE = '^9.0.0';

/** @throws ConnectorError `auth_failed`, `not_found` without the index, `invalid_state` for an index of another shape. */
export async function openPinecone(
  options: PineconeOptions,
  context: VectorOpenContext,
): Promise<VectorClient> {
  const { clock, dimension, metric, signal } = context;
  const { Pinecone } = await loadPeer(
    '@pinecone-database/pinecone',
    PEER_RANGE,
    () => import('@pinecone-database/pinecone'),
  );
  await reach(context, targetOf(options.endpoint));
  const fetcher = context.network.fetcher();
  try {
    const transport = transportOf(fetcher, clock);
    const pinecone = new Pinecone({
      apiKey: options.api_key,
      controllerHostUrl: options.endpoint.replace(/\/+$/, ''),
      fetchApi: transport.fetch,
      maxRetries: 0,
      sourceTag: 'connector_registry',
    });
    const access: IndexAccess = { pinecone, transport, clock, options, dimension, metric };
    const found = await context.stage('credentials', () => describeIndex(access, signal));
    const name = options.namespace ?? `connector_${context.connectorId.replaceAll('-', '')}`;
    return await context.stage('collection', async () => {
      const { host } = await readyIndex(access, found, signal);
      const namespace = new Namespace({
        index: pinecone.index({ name: options.index, namespace: name, host: hostUrl(options, host) }),
        name,
        transport,
        clock,
        dimension,
        gone: async (call) => ((await isThere(access, call)) ? undefined : missingIndex(access)),
      });
      // Proves that the index itself answers, which is another host.
      await namespace.statistics(signal);
      return new PineconeClient({
        namespace,
        name,
        clock,
        dimension,
        metric,
        check: (call) => checked(access, { namespace: name, endpoint: options.endpoint }, call),
        close: () => fetcher.close(),
      });
    });
  } catch (error) {
    await fetcher.close();
    throw error;
  }
}

/** The index's base URL, with the scheme of the control plane: a plain one is that of a double or of Pinecone Local. */
function hostUrl({ endpoint, host: own }: PineconeOptions, described: string): string {
  return `${new URL(endpoint).protocol}//${(own ?? described).replace(/^https?:\/\//, '')}`;
}

/** False only when the control plane says so. */
async function isThere(access: IndexAccess, signal: AbortSignal): Promise<boolean> {
  try {
    return (await describeIndex(access, signal)) !== undefined;
  } catch {
    // What is wrong with the control plane is not what the caller asked about.
    return true;
  }
}

async function checked(
  access: IndexAccess,
  { namespace, endpoint }: { readonly namespace: string; readonly endpoint: string },
  signal: AbortSignal,
): Promise<readonly Note[]> {
  const index = await describeIndex(access, signal);
  if (!index) throw missingIndex(access);
  checkIndex(access, index);
  const notes: Note[] = [
    { level: 'info', message: `index ${access.options.index} (${index.deployment}), namespace ${namespace}` },
  ];
  if (endpoint.startsWith('http:'))
    notes.push({ level: 'warn', message: 'the API key is sent in clear; use an endpoint with https' });
  if (index.state !== 'Ready') notes.push({ level: 'warn', message: `the index is ${index.state}` });
  if (index.deployment === 'pod')
    notes.push({
      level: 'warn',
      message: 'an index on pods does not number its writes: searches may not see the latest ones',
    });
  return notes;
}
