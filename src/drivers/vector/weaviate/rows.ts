import { createHash } from 'node:crypto';
import {
  ConnectorError,
  type DistanceMetric,
  type ListedVector,
  type Metadata,
  type StoredVector,
  type VectorRecord,
} from '../../../driver.ts';
import { allTerms, numberProperties, TERMS } from './filter.ts';
import type { Found, NewObject } from './messages.ts';
import { packed, unpacked } from './protobuf.ts';

/** Ours, made once: it never changes, or every stored id would. */
const NAMESPACE = '0b9f9df3b1fa4d6c9a4a6f1d2f4c7e58';

/** Weaviate's ids are UUIDs: that of an id of ours is version 5 by https://www.rfc-editor.org/rfc/rfc9562#section-5.5. */
export function uuidOf(id: string, namespace = NAMESPACE): string {
  const digest = createHash('sha1').update(namespace, 'hex').update(id, 'utf8').digest();
  digest[6] = ((digest[6] ?? 0) & 0x0f) | 0x50;
  digest[8] = ((digest[8] ?? 0) & 0x3f) | 0x80;
  return digest.toString('hex', 0, 16).replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5');
}

/**
 * A record as Weaviate keeps it. The values are there twice: under cosine Weaviate keeps the vector at length 1
 * (https://docs.weaviate.io/weaviate/config-refs/distances, read 2026-11-25).
 */
export function toObject({ id, values, metadata, text }: VectorRecord): NewObject {
  return {
    uuid: uuidOf(id),
    vector: values,
    properties: {
      record_id: id,
      values: packed(values).toString('base64'),
      ...(metadata !== undefined && { metadata: JSON.stringify(metadata) }),
      ...(text !== undefined && { text }),
      ...numberProperties(metadata),
    },
    lists: { [TERMS]: allTerms(metadata) },
  };
}

/** Which properties hold what is asked for. */
export function propertiesFor({
  includeValues,
  includeMetadata,
}: {
  readonly includeValues: boolean;
  readonly includeMetadata: boolean;
}): readonly string[] {
  return [
    'record_id',
    'text',
    ...(includeValues ? ['values'] : []),
    ...(includeMetadata ? ['metadata'] : []),
  ];
}

const FOREIGN = 'the collection holds an object that no connector wrote';

/** The record of an object, as far as its properties were asked for. */
export function toRecord({ texts }: Found): ListedVector {
  const id = texts.get('record_id');
  if (id === undefined) throw new ConnectorError('backend_error', FOREIGN);
  const [metadata, text, values] = ['metadata', 'text', 'values'].map((name) => texts.get(name));
  return {
    id,
    ...(values !== undefined && { values: unpacked(Buffer.from(values, 'base64')) }),
    ...(metadata !== undefined && { metadata: parsed(metadata) }),
    ...(text !== undefined && { text }),
  };
}

/** The same of a record whose values were asked for. */
export function withValues({ values, ...rest }: ListedVector): StoredVector {
  if (!values) throw new ConnectorError('backend_error', FOREIGN);
  return { ...rest, values };
}

/** What the metric calls the score of one of Weaviate's distances: 1 - cos, the square of the distance, or -dot. */
export function rawScoreOf(metric: DistanceMetric, distance: number): number {
  if (metric === 'euclidean') return Math.sqrt(Math.max(0, distance));
  // Float32 arithmetic puts equal directions a little below 0.
  if (metric === 'cosine') return Math.min(1, Math.max(-1, 1 - distance));
  return -distance;
}

function parsed(json: string): Metadata {
  try {
    return JSON.parse(json) as Metadata; // written by `toObject` alone
  } catch (cause) {
    throw new ConnectorError('backend_error', 'the metadata of an object is not what a connector wrote', {
      cause,
    });
  }
}
