import { invalidField } from '../../errors/error.ts';
import type { FileMetadata } from './driver.ts';

/** What the smallest of the object stores keeps (Amazon S3, https://docs.aws.amazon.com/AmazonS3/latest/userguide/UsingMetadata.html, read 2026-11-27). */
export const MAX_METADATA_BYTES = 2048;
// Azure takes identifiers of C# alone, and every store folds letters to lower case (https://learn.microsoft.com/en-us/rest/api/storageservices/naming-and-referencing-containers--blobs--and-metadata, read 2026-11-27).
export const METADATA_NAME = /^[a-z_][a-z0-9_]{0,63}$/;

/**
 * A frozen copy of metadata that every backend with the capability can keep.
 *
 * @throws ConnectorError `invalid_argument` with the path of the bad field.
 */
export function checkedMetadata(metadata: FileMetadata): FileMetadata {
  if (typeof metadata !== 'object' || metadata === null || Array.isArray(metadata))
    throw invalidField('metadata', 'is an object of texts');
  let bytes = 0;
  for (const [name, value] of Object.entries(metadata)) {
    if (!METADATA_NAME.test(name))
      throw invalidField(
        `metadata.${name}`,
        'is named with at most 64 lower-case letters, digits and _, no digit first',
      );
    if (typeof value !== 'string' || !value.isWellFormed())
      throw invalidField(`metadata.${name}`, 'is a text');
    bytes += name.length + headerValue(value).length;
  }
  if (bytes > MAX_METADATA_BYTES)
    throw invalidField(
      'metadata',
      `is at most ${MAX_METADATA_BYTES} bytes, percent-encoded where it has to be`,
    );
  return Object.freeze({ ...metadata });
}

/**
 * A value as a header can carry it: what is not visible ASCII, a blank at either end and `%` are percent-encoded.
 *
 * Backends send metadata as headers, and clients of theirs fold, trim and re-encode everything else in ways of their own.
 */
export function headerValue(value: string): string {
  return value.replaceAll(/[^ !-$&-~]|^ | $/gu, (character) =>
    // Not encodeURIComponent alone: it leaves some ASCII as it is.
    /^[\0-\u007f]$/u.test(character)
      ? `%${character.charCodeAt(0).toString(16).toUpperCase().padStart(2, '0')}`
      : encodeURIComponent(character),
  );
}

/** The value that {@link headerValue} made; one that somebody else wrote, and that is not so encoded, is left as it is. */
export function fromHeaderValue(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
