import { createHash } from 'node:crypto';
import { type Metadata, numbersOf, type StoredVector, termsOf, type VectorRecord } from '../../../driver.ts';
import { ALWAYS, numberField, TERMS } from './filter.ts';

/** What Pinecone keeps beside a vector. */
export type PineconeMetadata = Record<string, string | number | boolean | string[]>;
/** A record as Pinecone has it. */
export type PineconeVector = {
  readonly id: string;
  readonly values: number[];
  readonly metadata: PineconeMetadata;
};

// ^[\x01-\x7F]+$, at most 512: the schema Vector of db_data_2026-07.oas.yaml in github.com/pinecone-io/pinecone-api,
// read 2026-11-25
const MAX_ID_LENGTH = 512;
const DIGEST = '%sha256:';

/**
 * Our id as one of Pinecone's, which are ASCII: any other character, and `%`, is the bytes of its UTF-8 in hex. One that
 * becomes too long is its digest, and the record's metadata holds it.
 */
export function toPineconeId(id: string): string {
  const encoded = id.replaceAll(/[^\x21-\x24\x26-\x7e]/gu, (char) =>
    [...Buffer.from(char)].map((byte) => `%${byte.toString(16).padStart(2, '0')}`).join(''),
  );
  // Answers are objects by id, and readers of JSON do well to leave this one out.
  if (encoded === '__proto__') return '%5f_proto__';
  if (encoded.length <= MAX_ID_LENGTH) return encoded;
  return DIGEST + createHash('sha256').update(id).digest('base64url');
}

/** Whether the id cannot be read from Pinecone's, but from the metadata alone. */
export function isDigest(id: string): boolean {
  return id.startsWith(DIGEST);
}

/** The id that `toPineconeId` was given; one that others wrote is left as it is where it means nothing. */
export function fromPineconeId(id: string, metadata?: Readonly<Record<string, unknown>>): string {
  if (isDigest(id)) return typeof metadata?.['id'] === 'string' ? metadata['id'] : id;
  try {
    return decodeURIComponent(id);
  } catch {
    return id;
  }
}

/** The record in Pinecone's layout, which is described in the README. */
export function toPinecone({ id, values, metadata, text }: VectorRecord): PineconeVector {
  const pineconeId = toPineconeId(id);
  const fields: PineconeMetadata = { [TERMS]: [ALWAYS, ...termsOf(metadata)] };
  for (const { field, value } of numbersOf(metadata)) fields[numberField(field)] = value;
  if (metadata !== undefined) fields['metadata'] = JSON.stringify(metadata);
  if (text !== undefined) fields['text'] = text;
  if (isDigest(pineconeId)) fields['id'] = id;
  return { id: pineconeId, values: Array.from(values), metadata: fields };
}

/** What can be read from a record of Pinecone's, its metadata first of all. */
export function fromPinecone({
  id,
  values,
  metadata,
}: {
  readonly id: string;
  readonly values: readonly number[];
  readonly metadata?: Readonly<Record<string, unknown>> | undefined;
}): StoredVector {
  const json = metadata?.['metadata'];
  const text = metadata?.['text'];
  return {
    id: fromPineconeId(id, metadata),
    // What is stored is float32; what is written of it in decimal is only as long as it must be.
    values: values.map(Math.fround),
    ...(typeof json === 'string' && { metadata: parsed(json) }),
    ...(typeof text === 'string' && { text }),
  };
}

function parsed(json: string): Metadata {
  // Written by toPinecone, from metadata that the connector had checked.
  return JSON.parse(json) as Metadata;
}
