import { ConnectorError } from '../../errors/error.ts';
import type { Bytes } from '../transport.ts';

/** What a file may have at most to be shown as JSON, which is made in one piece. */
const MAX_JSON_BYTES = 16 * 2 ** 20;

/**
 * A file's content for JSON: its text, or base64 where the bytes are no UTF-8.
 *
 * @throws ConnectorError `payload_too_large` for more than 16 MiB.
 */
export async function textOrBase64(
  body: Bytes,
): Promise<{ readonly encoding: 'utf8' | 'base64'; readonly content: string }> {
  const parts: Uint8Array[] = [];
  let bytes = 0;
  for await (const chunk of body) {
    bytes += chunk.byteLength;
    if (bytes > MAX_JSON_BYTES)
      throw new ConnectorError(
        'payload_too_large',
        `JSON holds files of at most ${MAX_JSON_BYTES} bytes; leave --json out`,
      );
    parts.push(chunk);
  }
  const whole = Buffer.concat(parts);
  try {
    const text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
    return { encoding: 'utf8', content: text.decode(whole) };
  } catch {
    return { encoding: 'base64', content: whole.toString('base64') };
  }
}
