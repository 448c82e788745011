import { expect } from 'vitest';
import { z } from 'zod';
import { ERROR_CODES } from '../../src/errors/codes.ts';
import { operations } from '../../src/operations/index.ts';
import type { Operation } from '../../src/operations/operation.ts';
import type { Answer } from './harness.ts';

const problem = z.strictObject({
  type: z.string().regex(/^\/problems\/[a-z_]+$/),
  title: z.string().min(1),
  status: z.int(),
  detail: z.string().min(1),
  code: z.enum(Object.keys(ERROR_CODES)),
  issues: z
    .array(z.strictObject({ path: z.string().min(1), message: z.string().min(1) }))
    .min(1)
    .optional(),
  connector_id: z.string().optional(),
  connector_type: z.string().optional(),
  retry_after_ms: z.number().positive().optional(),
  details: z.record(z.string(), z.unknown()).optional(),
});

/** Ids of the operations that were asked and answered well; a suite can see which were never. */
export const answeredWell = new Set<string>();

/** Holds an answer against what the documentation promises: the operation's own schema, or a problem. */
export function checkAnswer(method: string, path: string, contentType: string, answer: Answer): void {
  expect(answer.headers).toMatchObject({
    'x-content-type-options': 'nosniff',
    'cache-control': 'no-store',
    'x-request-id': expect.stringMatching(/^[\w-]+$/),
  });
  if (answer.status >= 400) {
    expect(answer.headers['content-type']).toBe('application/problem+json; charset=utf-8');
    if (method !== 'HEAD') expect(problem.parse(answer.json).status).toBe(answer.status);
    return;
  }
  const operation = operations.find((candidate) => serves(candidate, method, path, contentType));
  if (!operation) return;
  answeredWell.add(operation.id);
  if (operation.output === 'bytes') return;
  expect(operation.statuses ?? [200]).toContain(answer.status);
  expect(answer.headers['content-type']).toBe('application/json; charset=utf-8');
  // Parsing takes away what the schema does not name: an answer with an undocumented field differs.
  expect(operation.output.parse(answer.json)).toEqual(answer.json);
}

function serves(
  { method, path, request }: Operation,
  asked: string,
  url: string,
  contentType: string,
): boolean {
  const pattern = path.replace(/\{\w+\+\}/, '.+').replaceAll(/\{\w+\}/g, '[^/]+');
  const isNdjson = contentType.includes('ndjson');
  return (
    method === asked &&
    new RegExp(`^${pattern}$`).test(url.replace(/\?.*/, '')) &&
    isNdjson === (request === 'ndjson')
  );
}
