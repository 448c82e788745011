import { createHash, createSign } from 'node:crypto';
import type { PresignedUrl, PresignOptions } from '../../../driver.ts';
import type { ServiceAccountKey } from '../../../clouds/gcp/credentials.ts';

const ALGORITHM = 'GOOG4-RSA-SHA256';

/**
 * An address that the key of a service account signs, for the XML API, which is the one that answers them. Nobody is asked.
 *
 * https://cloud.google.com/storage/docs/access-control/signing-urls-manually and
 * https://cloud.google.com/storage/docs/authentication/canonical-requests (read 2026-11-27)
 */
export function signedUrl(
  {
    endpoint,
    bucket,
    userProject,
    key,
  }: {
    readonly endpoint: string;
    readonly bucket: string;
    readonly userProject?: string | undefined;
    readonly key: ServiceAccountKey;
  },
  path: string,
  { method, expiresInSeconds, contentType, maxBytes }: PresignOptions,
  nowMs: number,
): PresignedUrl {
  const { origin, host } = new URL(endpoint);
  const signedAtMs = Math.floor(nowMs / 1000) * 1000;
  const time = new Date(signedAtMs).toISOString().replaceAll(/[-:]|\.\d{3}/g, '');
  const scope = `${time.slice(0, 8)}/auto/storage/goog4_request`;
  // Whoever uses the address has to send these as they are; the backend refuses a body that is over the range.
  const headers = {
    ...(contentType !== undefined && { 'content-type': contentType }),
    ...(maxBytes !== undefined && { 'x-goog-content-length-range': `0,${maxBytes}` }),
  };
  const signed = Object.entries({ host, ...headers }).sort(([a], [b]) => (a < b ? -1 : 1));
  const names = signed.map(([name]) => name).join(';');
  const query = Object.entries({
    'X-Goog-Algorithm': ALGORITHM,
    'X-Goog-Credential': `${key.client_email}/${scope}`,
    'X-Goog-Date': time,
    'X-Goog-Expires': String(expiresInSeconds),
    'X-Goog-SignedHeaders': names,
    ...(userProject !== undefined && { userProject }),
  })
    .map(([name, value]) => `${encoded(name)}=${encoded(value)}`)
    .sort()
    .join('&');
  const resource = `/${encoded(bucket)}/${path.split('/').map(encoded).join('/')}`;
  const canonical = [
    method,
    resource,
    query,
    ...signed.map(([name, value]) => `${name}:${value.trim().replaceAll(/ +/g, ' ')}`),
    '',
    names,
    'UNSIGNED-PAYLOAD',
  ].join('\n');
  const digest = createHash('sha256').update(canonical).digest('hex');
  const signature = createSign('RSA-SHA256')
    .update([ALGORITHM, time, scope, digest].join('\n'))
    .sign(key.private_key, 'hex');
  return {
    url: `${origin}${resource}?${query}&X-Goog-Signature=${signature}`,
    method,
    headers,
    expiresAt: new Date(signedAtMs + expiresInSeconds * 1000),
  };
}

/** Everything but letters, digits, `-`, `.`, `_` and `~` as its UTF-8. */
function encoded(text: string): string {
  return encodeURIComponent(text).replaceAll(
    /[!'()*]/g,
    (character) => `%${character.charCodeAt(0).toString(16).toUpperCase()}`,
  );
}
