import { createHash, createVerify, type KeyObject } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import { HttpAnswer, read } from '../../../clouds/gcp/http-answer.fixture.ts';
import { contentAnswer } from './gcs-answer.fixture.ts';
import type { Bucket } from './gcs-bucket.fixture.ts';

const MAX_SECONDS = 604_800;

/** A request with a signed address, to the XML API: https://cloud.google.com/storage/docs/access-control/signed-urls */
export async function signedRequest(
  request: IncomingMessage,
  url: URL,
  {
    bucket,
    email,
    publicKey,
  }: { readonly bucket: Bucket; readonly email: string; readonly publicKey: KeyObject },
): Promise<HttpAnswer> {
  const refusal = refusalOf(request, url, email, publicKey);
  const body = await read(request);
  if (refusal !== undefined) return refusal;
  const [, asked, ...rest] = url.pathname.split('/');
  const name = rest.map(decodeURIComponent).join('/');
  if (asked !== bucket.name) return HttpAnswer.xml(404, 'NoSuchBucket');
  if (request.method === 'GET') {
    const file = bucket.get(name);
    if (!file) return HttpAnswer.xml(404, 'NoSuchKey');
    return contentAnswer(file.content, request.headers.range, { 'content-type': file.contentType });
  }
  const range = /^(\d+),(\d+)$/.exec(String(request.headers['x-goog-content-length-range'] ?? ''));
  if (range && body.byteLength > Number(range[2])) return HttpAnswer.xml(400, 'EntityTooLarge');
  bucket.put({
    name,
    content: body,
    contentType: request.headers['content-type'] ?? 'application/octet-stream',
  });
  return new HttpAnswer(200);
}

/** https://cloud.google.com/storage/docs/authentication/canonical-requests */
function refusalOf(
  request: IncomingMessage,
  url: URL,
  email: string,
  key: KeyObject,
): HttpAnswer | undefined {
  const query = url.searchParams;
  const time = query.get('X-Goog-Date') ?? '';
  const scope = `${time.slice(0, 8)}/auto/storage/goog4_request`;
  if (
    query.get('X-Goog-Algorithm') !== 'GOOG4-RSA-SHA256' ||
    query.get('X-Goog-Credential') !== `${email}/${scope}`
  )
    return HttpAnswer.xml(400, 'AuthenticationQueryParametersError');
  const seconds = Number(query.get('X-Goog-Expires'));
  const signedAt = Date.parse(
    time.replace(/^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z$/, '$1-$2-$3T$4:$5:$6Z'),
  );
  if (!(seconds >= 1 && seconds <= MAX_SECONDS))
    return HttpAnswer.xml(400, 'AuthenticationQueryParametersError');
  if (!(Date.now() < signedAt + seconds * 1000)) return HttpAnswer.xml(400, 'ExpiredToken');
  const names = (query.get('X-Goog-SignedHeaders') ?? '').split(';');
  // Every header of the service's own that is sent has to be signed, too.
  const sent = Object.keys(request.headers).filter((name) => name.startsWith('x-goog-'));
  if (!names.includes('host') || sent.some((name) => !names.includes(name)))
    return HttpAnswer.xml(403, 'MalformedSecurityHeader');
  const canonicalQuery = [...query]
    .filter(([name]) => name !== 'X-Goog-Signature')
    .map((pair) => pair.map(encoded).join('='))
    .sort()
    .join('&');
  const canonical = [
    request.method,
    url.pathname
      .split('/')
      .map((part) => encoded(decodeURIComponent(part)))
      .join('/'),
    canonicalQuery,
    ...names.map((name) => `${name}:${String(request.headers[name] ?? '').trim()}`),
    '',
    names.join(';'),
    'UNSIGNED-PAYLOAD',
  ].join('\n');
  const digest = createHash('sha256').update(canonical).digest('hex');
  const isSigned = createVerify('RSA-SHA256')
    .update(['GOOG4-RSA-SHA256', time, scope, digest].join('\n'))
    .verify(key, query.get('X-Goog-Signature') ?? '', 'hex');
  return isSigned ? undefined : HttpAnswer.xml(403, 'SignatureDoesNotMatch');
}

/** Every reserved character as its UTF-8, as the canonical request has it. */
function encoded(text: string): string {
  return encodeURIComponent(text).replaceAll(
    /[!'()*]/g,
    (character) => `%${character.charCodeAt(0).toString(16).toUpperCase()}`,
  );
}
