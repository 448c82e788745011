import { createHash, createHmac } from 'node:crypto';
import { errorAnswer, type WireAnswer, type WireRequest } from './model.fixture.ts';

export type SigningKey = { readonly id: string; readonly secret: string; readonly region: string };

/**
 * What AWS says to a request that one of these keys did not sign; `undefined` where the signature is right. Worked out anew
 * from the request, as https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html has it
 * (read 2026-11-28).
 */
export function unsigned(request: WireRequest, keys: readonly SigningKey[]): WireAnswer | undefined {
  const form =
    /^AWS4-HMAC-SHA256 Credential=([^/]+)\/(\d{8})\/([^/]+)\/lambda\/aws4_request, SignedHeaders=([^,]+), Signature=([0-9a-f]{64})$/;
  const [, id, day = '', region = '', names = '', signature] =
    form.exec(String(request.headers['authorization'])) ?? [];
  if (id === undefined)
    return errorAnswer(403, 'MissingAuthenticationTokenException', {
      message: 'Missing Authentication Token',
    });
  const key = keys.find((key) => key.id === id);
  if (key === undefined)
    return errorAnswer(403, 'UnrecognizedClientException', {
      message: 'The security token included in the request is invalid.',
    });
  const scope = `${day}/${region}/lambda/aws4_request`;
  const when = String(request.headers['x-amz-date']);
  const text = ['AWS4-HMAC-SHA256', when, scope, sha256(canonical(request, names))].join('\n');
  const signing = [day, region, 'lambda', 'aws4_request'].reduce<string | Buffer>(
    (secret, part) => hmac(secret, part),
    `AWS4${key.secret}`,
  );
  if (region === key.region && hmac(signing, text).toString('hex') === signature) return undefined;
  return errorAnswer(403, 'InvalidSignatureException', {
    message: 'The request signature we calculated does not match the signature you provided.',
  });
}

function canonical({ method, url, headers, body }: WireRequest, names: string): string {
  const { pathname, searchParams } = new URL(url, 'http://lambda');
  const encoded = (text: string) =>
    encodeURIComponent(text).replaceAll(/[!'()*]/g, (c) => `%${c.charCodeAt(0).toString(16).toUpperCase()}`);
  // All services but S3 encode what is encoded already.
  const path = pathname.split('/').map(encoded).join('/');
  const query = [...searchParams]
    .map(([name, value]) => `${encoded(name)}=${encoded(value)}`)
    .toSorted()
    .join('&');
  const lines = names.split(';').map((name) => `${name}:${String(headers[name]).trim()}\n`);
  return [method, path, query, lines.join(''), names, sha256(body)].join('\n');
}

function sha256(of: string | Buffer): string {
  return createHash('sha256').update(of).digest('hex');
}

function hmac(key: string | Buffer, text: string): Buffer {
  return createHmac('sha256', key).update(text).digest();
}
