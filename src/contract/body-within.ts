import { ConnectorError } from '../errors/error.ts';

/**
 * The body of an answer, unpacked and whole, of which no more than `maxBytes` is ever held.
 *
 * @throws ConnectorError `payload_too_large` as soon as it is longer, and the connection is given up; what `fetch`
 *   throws where it is cut.
 */
export async function bodyWithin(response: Response, maxBytes: number): Promise<Uint8Array> {
  const { headers, body } = response;
  // What is packed says how long it is before it is unpacked. Otherwise no more is read than the header promises.
  const length = headers.has('content-encoding') ? null : headers.get('content-length');
  if (length !== null && Number(length) <= maxBytes) return new Uint8Array(await response.arrayBuffer());
  if (length !== null) {
    await body?.cancel();
    throw tooLong(maxBytes);
  }
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of body ?? []) {
    size += chunk.byteLength;
    if (size > maxBytes) throw tooLong(maxBytes);
    chunks.push(chunk);
  }
  return chunks.length === 1 && chunks[0] ? chunks[0] : Buffer.concat(chunks, size);
}

/** The body as far as `maxBytes`: of what tells of a failure, no more is needed. */
export async function beginningOf({ body }: Response, maxBytes: number): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of body ?? []) {
    chunks.push(chunk);
    size += chunk.byteLength;
    if (size >= maxBytes) break;
  }
  return Buffer.concat(chunks, size).subarray(0, maxBytes);
}

function tooLong(maxBytes: number): ConnectorError {
  return new ConnectorError('payload_too_large', `the answer is longer than ${maxBytes} bytes`, {
    details: { maxBytes },
  });
}
