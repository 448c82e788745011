import type { z } from 'zod';
import { ConnectorError, type FieldIssue } from '../errors/error.ts';

/**
 * The value as the schema reads it.
 *
 * @throws ConnectorError `invalid_argument` with the path of every bad field, below `at` where one is given.
 */
export function parseWith<S extends z.ZodType>(schema: S, value: unknown, at = ''): z.output<S> {
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  const issues = parsed.error.issues.flatMap((issue) => fieldIssues(issue, at)).slice(0, 100);
  const [first] = issues;
  const more = issues.length > 1 ? ` (and ${issues.length - 1} more)` : '';
  throw new ConnectorError(
    'invalid_argument',
    `${first?.path ?? at}: ${first?.message ?? 'not valid'}${more}`,
    { issues },
  );
}

/** A path as people write one: `['records', 3, 'values']` is `records[3].values`. */
export function fieldPath(path: readonly PropertyKey[], at = ''): string {
  return path.reduce<string>((text, key) => {
    if (typeof key === 'number') return `${text}[${key}]`;
    return text === '' ? String(key) : `${text}.${String(key)}`;
  }, at);
}

function fieldIssues(issue: z.core.$ZodIssue, at: string): FieldIssue[] {
  if (issue.code === 'unrecognized_keys') {
    return issue.keys.map((key) => ({
      path: fieldPath([...issue.path, key], at),
      message: 'is not a known field',
    }));
  }
  const path = fieldPath(issue.path, at);
  return [{ path: path === '' ? 'input' : path, message: issue.message }];
}
