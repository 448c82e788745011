import { createHash } from 'node:crypto';
import {
  ConnectorError,
  invalidField,
  reach,
  targetOf,
  type VectorClient,
  type VectorOpenContext,
} from '../../../driver.ts';
import { milvusVectors } from './client.ts';
import { ensureCollection, serverVersion, type Shape } from './collection.ts';
import { connection, loadSdk } from './connection.ts';
import { following } from './following.ts';
import type { MilvusOptions } from './options.ts';

/** Opens the connector's collection, which is made where there is none. */
export async function milvusClient(
  options: MilvusOptions,
  context: VectorOpenContext,
): Promise<VectorClient> {
  const { dimension, metric, signal } = context;
  // https://milvus.io/docs/metric.md (read 2026-11-25)
  if (dimension < 2) throw invalidField('vector_dimension', 'is from 2 to 32768 in Milvus');
  const sdk = await loadSdk();
  const target = targetOf(options.endpoint, options.ca);
  const addresses = await reach(context, target);
  const opened = following(
    (found) => connection(sdk, options, found),
    () => context.network.resolve(target.host),
    addresses,
  );
  const { collection = ownName(context.connectorId), index } = options;
  const shape: Shape = { name: collection, dimension, metric, index };
  try {
    const version = await context.stage('credentials', () => opened.during(signal, serverVersion));
    await context.stage('collection', async () => {
      checkVersion(version);
      await opened.during(signal, (client) => ensureCollection(client, shape, context));
    });
  } catch (error) {
    await opened.close();
    throw error;
  }
  return milvusVectors(opened, shape);
}

function ownName(connectorId: string): string {
  const hex = connectorId.replaceAll('-', '');
  if (/^[0-9a-f]{32}$/.test(hex)) return `connector_${hex}`;
  return `connector_${createHash('sha256').update(connectorId).digest('hex').slice(0, 32)}`;
}

/** Values bound by templates, and fields that may be null, are from 2.5 on. */
function checkVersion(version: string): void {
  const [, major, minor] = /^v?(\d+)\.(\d+)/.exec(version) ?? [];
  if (major === undefined || Number(major) > 2 || (Number(major) === 2 && Number(minor) >= 5)) return;
  throw new ConnectorError('unsupported', `Milvus 2.5 or newer is needed, and the server is ${version}`, {
    details: { capability: 'version' },
  });
}
