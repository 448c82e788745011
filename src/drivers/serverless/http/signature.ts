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
 * As Stripe's (https://docs.stripe.com/webhooks#verify-manually, read 2026-11-28) it has a timestamp, a version and one
 * signature for each secret, and as Standard Webhooks
 * (https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md, read 2026-11-28) the
 * message's id. Method and path are there because one secret serves several functions; lines, because a dot may stand
 * in a path, which could then be cut elsewhere.
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
