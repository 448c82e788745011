import { createHash } from 'node:crypto';
import type { Schemas } from '@qdrant/js-client-rest';
import { z } from 'zod';
import {
  ConnectorError,
  termsOf,
  type DistanceMetric,
  type Metadata,
  type VectorRecord,
} from '../../../driver.ts';
import { orderedNumbersOf } from './numbers.ts';

/** The namespace of our point ids: a constant, so that the same id is the same point in every process. */
const NAMESPACE = Buffer.from('6f1d1d3b6a0c5c0e9b0a4d8f2c7e51a4', 'hex');

/**
 * What a payload holds of a record.
 *
 * `metadata` is there for people and is never read: Qdrant reads decimals with an error of one unit in the last place
 * (see `numbers.ts`), and promises no order of keys.
 */
const payload = z.object({
  id: z.string(),
  text: z.string().optional(),
  /** The metadata as JSON text. */
  json: z.string().optional(),
  /** The values as float32, little endian, in base64: for cosine, where Qdrant keeps them normalised. */
  values: z.string().optional(),
});
/** The fields of a payload that a record is read from. */
export const RECORD_FIELDS = ['id', 'text', 'json', 'values'] as const;

/** A point of an answer. */
export const point = z.object({
  id: z.union([z.string(), z.number()]),
  payload: z.record(z.string(), z.unknown()).nullish(),
  vector: z.array(z.number()).nullish(),
});
export type Point = z.output<typeof point>;

/**
 * The point of a record id: UUID version 5 of RFC 9562, for Qdrant's ids are UUIDs or integers.
 *
 * https://qdrant.tech/documentation/manage-data/points/#point-ids (read 2026-11-25)
 */
export function pointId(id: string): string {
  const hash = createHash('sha1').update(NAMESPACE).update(id).digest().subarray(0, 16);
  hash.writeUInt8((hash.readUInt8(6) & 0x0f) | 0x50, 6);
  hash.writeUInt8((hash.readUInt8(8) & 0x3f) | 0x80, 8);
  return hash.toString('hex').replace(/^(.{8})(.{4})(.{4})(.{4})/, '$1-$2-$3-$4-');
}

/** A record as Qdrant keeps it. */
export function pointOf(
  { id, values, metadata, text }: VectorRecord,
  metric: DistanceMetric,
): Schemas['PointStruct'] {
  return {
    id: pointId(id),
    vector: vectorOf(values, metric),
    payload: {
      id,
      ...(text !== undefined && { text }),
      ...(metadata !== undefined && {
        metadata,
        json: JSON.stringify(metadata),
        terms: termsOf(metadata),
        numbers: orderedNumbersOf(metadata),
      }),
      ...(metric === 'cosine' && { values: Buffer.from(littleEndian(values)).toString('base64') }),
    },
  };
}

/**
 * A vector as it is sent. For cosine it is normalised here, in float64.
 *
 * Qdrant normalises, too, but in float32: squares that leave its range make zeros, and a vector whose square is below
 * 1.2e-7 is left as it is and would be scored as if its length were 1.
 * https://github.com/qdrant/qdrant/blob/master/lib/segment/src/spaces/simple.rs (`cosine_preprocess`) and `tools.rs`
 * (`is_length_zero_or_normalized`), read 2026-11-25.
 */
export function vectorOf(values: readonly number[] | Float32Array, metric: DistanceMetric): number[] {
  const numbers = Array.from(values, Math.fround);
  if (metric !== 'cosine') return numbers;
  const length = Math.sqrt(numbers.reduce((sum, x) => sum + x * x, 0));
  return numbers.map((x) => Math.fround(x / length));
}

/**
 * The record that a point was written from.
 *
 * @throws ConnectorError `backend_error` for a point that no connector of this driver wrote.
 */
export function recordOf(found: Point): {
  readonly id: string;
  readonly metadata?: Metadata;
  readonly text?: string;
} {
  const { id, text, json } = read(found);
  return {
    id,
    ...(json !== undefined && { metadata: parsedJson(found, json) }),
    ...(text !== undefined && { text }),
  };
}

/** The values of a point as they were written. */
export function valuesOf(found: Point, metric: DistanceMetric): readonly number[] {
  const { values } = read(found);
  if (metric === 'cosine' && values !== undefined) {
    const bytes = Buffer.from(values, 'base64');
    return Array.from({ length: bytes.length / 4 }, (_, i) => bytes.readFloatLE(i * 4));
  }
  if (metric === 'cosine' || !found.vector) throw foreign(found, 'has no values');
  // Float32 as short decimals: 0.1 stands for the float32 that is nearest to it.
  return found.vector.map(Math.fround);
}

function read(found: Point): z.output<typeof payload> {
  const parsed = payload.safeParse(found.payload);
  if (parsed.success) return parsed.data;
  throw foreign(found, 'is none of its records', parsed.error);
}

function parsedJson(found: Point, json: string): Metadata {
  try {
    // Written by `pointOf` from metadata that the connector had checked.
    return JSON.parse(json) as Metadata;
  } catch (error) {
    throw foreign(found, 'has metadata that is not JSON', error);
  }
}

function foreign({ id }: Point, what: string, cause?: unknown): ConnectorError {
  return new ConnectorError(
    'backend_error',
    `the point ${id} ${what}; something else writes into the collection of this connector`,
    { ...(cause !== undefined && { cause }) },
  );
}

function littleEndian(values: readonly number[] | Float32Array): Uint8Array {
  const view = new DataView(new ArrayBuffer(values.length * 4));
  for (const [i, value] of values.entries()) view.setFloat32(i * 4, value, true);
  return new Uint8Array(view.buffer);
}
