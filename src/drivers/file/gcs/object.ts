import { z } from 'zod';
import {
  nameOf,
  type FileInfo,
  type FileMetadata,
  fromHeaderValue,
  headerValue,
  invalidField,
  type WriteResult,
} from '../../../driver.ts';

/** What is asked for of every file. */
export const OBJECT_FIELDS = 'name,size,generation,updated,contentType,contentEncoding,metadata';

const whole = z.string().regex(/^\d{1,19}$/);

/** A file as the JSON API describes it, `Object` in the discovery document. */
export const objectResource = z.object({
  name: z.string(),
  size: whole.transform(Number),
  generation: whole,
  updated: z.iso.datetime({ offset: true }).transform((time) => new Date(time)),
  contentType: z.string().optional(),
  contentEncoding: z.string().optional(),
  metadata: z.record(z.string(), z.string()).optional(),
});
export type ObjectResource = z.output<typeof objectResource>;

/**
 * The file's facts. Its etag is the generation, a number that no two contents of a name share, and that the backend
 * compares in the moment of a write; the etag of the API also changes with the metadata.
 */
export function fileInfo(object: ObjectResource, path = object.name): FileInfo {
  const { size, updated, generation, contentType, metadata } = object;
  return {
    name: nameOf(path),
    ...{ path, size, lastModified: updated, etag: generation },
    ...(contentType !== undefined && { contentType }),
    ...(metadata !== undefined && { metadata: decoded(metadata) }),
    isDirectory: false,
  };
}

export function writeResult(path: string, { size, generation }: ObjectResource): WriteResult {
  return { path, size, etag: generation };
}

/** The metadata as they are stored: others get them as headers, by signed addresses for example. */
export function encoded(metadata: FileMetadata): Record<string, string> {
  return Object.fromEntries(Object.entries(metadata).map(([name, value]) => [name, headerValue(value)]));
}

function decoded(metadata: Readonly<Record<string, string>>): FileMetadata {
  return Object.fromEntries(Object.entries(metadata).map(([name, value]) => [name, fromHeaderValue(value)]));
}

/** The etag as the condition of a write; undefined for one that no file has, 0 meaning "no file" to the backend. */
export function generationOf(etag: string): string | undefined {
  return /^[1-9]\d{0,18}$/.test(etag) ? etag : undefined;
}

/** https://cloud.google.com/storage/docs/naming-objects (read 2026-11-27) @throws ConnectorError `invalid_argument`. */
export function assertName(path: string): void {
  if (/[\r\n]/.test(path)) throw invalidField('path', 'holds no line ends on Google Cloud Storage');
  if (path.startsWith('.well-known/acme-challenge/'))
    throw invalidField('path', 'does not begin with .well-known/acme-challenge/ on Google Cloud Storage');
}
