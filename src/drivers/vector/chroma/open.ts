import {
  networkFailure,
  reach,
  targetOf,
  type VectorClient,
  type VectorOpenContext,
} from '../../../driver.ts';
import { chromaApi, misshapen } from './api.ts';
import { ChromaVectors } from './client.ts';
import { readyCollection } from './collection.ts';
import type { ChromaOptions } from './options.ts';

/** @throws ConnectorError `auth_failed`; `not_found` without the tenant or database; `invalid_state` for a collection of another shape. */
export async function openChroma(options: ChromaOptions, context: VectorOpenContext): Promise<VectorClient> {
  const { dimension, metric, signal, connectorId } = context;
  const api = await chromaApi(options, context);
  try {
    await reach(context, targetOf(options.endpoint, options.ca));
    await context.stage('credentials', () =>
      api.call(signal, async () => {
        const identity: { readonly tenant?: unknown } = await api.chroma.getUserIdentity();
        if (typeof identity.tenant !== 'string') throw misshapen('identity');
      }),
    );
    const name = options.collection ?? `connector_${connectorId.replaceAll('-', '')}`;
    const collection = await context.stage('collection', () =>
      api.call(signal, () => readyCollection(api, { name, dimension, metric })),
    );
    return new ChromaVectors({ api, collection, metric });
  } catch (error) {
    await api.close();
    throw networkFailure(error, signal);
  }
}
