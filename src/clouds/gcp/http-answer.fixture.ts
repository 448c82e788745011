import type { IncomingMessage, OutgoingHttpHeaders, ServerResponse } from 'node:http';

/** What a file holds: its bytes, or how many zeros, of which nothing is kept. */
export type Content = Buffer | { readonly zeros: number };
export const sizeOf = (content: Content): number => ('zeros' in content ? content.zeros : content.byteLength);

/** An answer of the double; thrown where a refusal is one. */
export class HttpAnswer extends Error {
  readonly status: number;
  readonly body: Content | string;
  readonly headers: OutgoingHttpHeaders;

  constructor(status: number, body: Content | string = '', headers: OutgoingHttpHeaders = {}) {
    super(`answer ${status}`);
    this.status = status;
    this.body = body;
    this.headers = headers;
  }

  static json(value: unknown, status = 200): HttpAnswer {
    return new HttpAnswer(status, JSON.stringify(value), {
      'content-type': 'application/json; charset=UTF-8',
    });
  }

  /** https://cloud.google.com/storage/docs/json_api/v1/status-codes */
  static failure(code: number, reason: string, message: string): HttpAnswer {
    const errors = [{ message, domain: 'global', reason }];
    return HttpAnswer.json({ error: { code, message, errors } }, code);
  }

  /** https://cloud.google.com/storage/docs/xml-api/reference-status */
  static xml(status: number, code: string): HttpAnswer {
    const text = `<?xml version='1.0' encoding='UTF-8'?><Error><Code>${code}</Code></Error>`;
    return new HttpAnswer(status, text, { 'content-type': 'application/xml; charset=UTF-8' });
  }

  send(response: ServerResponse): void {
    const size = typeof this.body === 'string' ? Buffer.byteLength(this.body) : sizeOf(this.body);
    const noBody = this.status === 204;
    response.writeHead(this.status, { ...this.headers, ...(!noBody && { 'content-length': size }) });
    if (noBody || typeof this.body === 'string' || this.body instanceof Buffer) response.end(this.body);
    else sendZeros(response, size);
  }
}

const ZEROS = Buffer.alloc(65_536);

function sendZeros(response: ServerResponse, size: number): void {
  let left = size;
  const more = (): void => {
    while (left > 0) {
      const part = ZEROS.subarray(0, Math.min(left, ZEROS.byteLength));
      left -= part.byteLength;
      if (!response.write(part)) return void response.once('drain', more);
    }
    response.end();
  };
  more();
}

/** The whole of a request's body. */
export async function read(request: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks);
}
