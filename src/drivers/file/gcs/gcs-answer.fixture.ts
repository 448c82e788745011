import type { OutgoingHttpHeaders } from 'node:http';
import { type Content, HttpAnswer, sizeOf } from '../../../clouds/gcp/http-answer.fixture.ts';

/** The part of a content that a `Range` header names, as 206 or 416; the whole as 200. */
export function contentAnswer(
  content: Content,
  range: string | undefined,
  headers: OutgoingHttpHeaders,
): HttpAnswer {
  const size = sizeOf(content);
  const [, first, last] = /^bytes=(\d+)-(\d*)$/.exec(range ?? '') ?? [];
  if (first === undefined) return new HttpAnswer(200, content, headers);
  const start = Number(first);
  const end = Math.min(size - 1, last ? Number(last) : size - 1);
  if (start >= size)
    return new HttpAnswer(416, 'Request range not satisfiable', { 'content-range': `bytes */${size}` });
  const part = content instanceof Buffer ? content.subarray(start, end + 1) : { zeros: end + 1 - start };
  return new HttpAnswer(206, part, { ...headers, 'content-range': `bytes ${start}-${end}/${size}` });
}

/** The parts of an answer that its `fields` name: `a,b(c,d)`. */
export function partial(value: unknown, fields: string | null): unknown {
  if (fields === null || typeof value !== 'object' || value === null) return value;
  const chosen = new Map<string, string | null>();
  for (const [, name = '', inner] of fields.matchAll(/(\w+)(?:\(([^)]*)\))?/g))
    chosen.set(name, inner ?? null);
  const pick = (from: unknown, inner: string | null): unknown =>
    Array.isArray(from) ? from.map((one) => partial(one, inner)) : partial(from, inner);
  return Object.fromEntries(
    Object.entries(value)
      .filter(([name]) => chosen.has(name))
      .map(([name, part]) => [name, pick(part, chosen.get(name) ?? null)]),
  );
}
