import type { FileMetadata } from '../connectors/file/driver.ts';
import { fromHeaderValue, headerValue } from '../connectors/file/metadata.ts';

/** Where HTTP carries the metadata of a file: a header for each name, `-` for each `_`, which proxies drop in names. */
export const METADATA_HEADERS = 'X-Meta-*';

const PREFIX = 'x-meta-';
/** What a header may be called; a backend's own tools may have named metadata otherwise. */
const TOKEN = /^[\w!#$%&'*+.^`|~-]+$/;

/** Metadata as headers, its texts percent-encoded where they are not plain ASCII. */
export function metadataHeaders(metadata: FileMetadata = {}): Record<string, string> {
  const named = Object.entries(metadata).filter(([name]) => TOKEN.test(name));
  return Object.fromEntries(
    named.map(([name, text]) => [PREFIX + name.replaceAll('_', '-'), headerValue(text)]),
  );
}

/** The metadata that headers carry; `undefined` where none of them does. */
export function metadataInHeaders(
  headers: Iterable<readonly [name: string, text: unknown]>,
): FileMetadata | undefined {
  const found: (readonly [string, string])[] = [];
  for (const [header, text] of headers) {
    const name = header.toLowerCase();
    if (name.startsWith(PREFIX) && typeof text === 'string')
      found.push([name.slice(PREFIX.length).replaceAll('-', '_'), fromHeaderValue(fromBytes(text))]);
  }
  return found.length === 0 ? undefined : Object.fromEntries(found);
}

/** A header's bytes as UTF-8 where they are some: HTTP's own reading is latin1, and a shell sends UTF-8. */
function fromBytes(text: string): string {
  const decoded = Buffer.from(text, 'latin1').toString('utf8');
  return decoded.includes('\uFFFD') ? text : decoded;
}
