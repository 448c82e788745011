import { createHmac, createSecretKey } from 'node:crypto';

/** What a signature vouches for. */
export type Signed = {
  readonly requestId: string;
  readonly method: string;
  /** Path and query, as they are sent. */
  readonly path: string;
  readonly body: string;
};

/**
 * The headers that sign a request: `X-Timestamp`, in seconds, and `X-Signature`, `v1=<hex>` for each secret, separated by
 * commas; the HMAC-SHA256 of
 *
 *     {timestamp}\n{request id}\n{method}\n{path}\n{body}
 *
 * As in Standard Webhooks
 * (https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md, read 2026-11-28) the id and
 * the time are signed with the body, and there are several signatures while a secret is changed. Method and path are
 * signed as well, because one secret serves several functions; and lines part them, because a dot may stand in a path,
 * so that one path and body would be signed like another path and body.
 */
export function signer(
  secrets: readonly string[],
): ((signed: Signed, nowMs: number) => Readonly<Record<string, string>>) | undefined {
  if (secrets.length === 0) return undefined;
  const keys = secrets.map((secret) => createSecretKey(Buffer.from(secret)));
  return ({ requestId, method, path, body }, nowMs) => {
    const timestamp = String(Math.floor(nowMs / 1000));
    const head = `${timestamp}\n${requestId}\n${method}\n${path}\n`;
    const signatures = keys.map((key) => createHmac('sha256', key).update(head).update(body).digest('hex'));
    return { 'x-timestamp': timestamp, 'x-signature': signatures.map((hex) => `v1=${hex}`).join(',') };
  };
}
