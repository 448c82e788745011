import { expect, it } from 'vitest';
import { z } from 'zod';
import { adminOnly, adminPaths, secret, secretPaths } from './options.ts';

it('finds each secret, whatever wraps it', () => {
  const options = z.strictObject({
    key: secret().optional(),
    auth: z.strictObject({ password: secret().max(9).default('x') }).optional(),
    either: z.union([z.strictObject({ token: secret() }), z.strictObject({ token: secret(), b: z.int() })]),
    plain: z.string(),
  });
  expect(secretPaths(options)).toEqual(['auth.password', 'either.token', 'key']);
});

it('has one path for a record of secrets', () => {
  const options = z.strictObject({
    env: z.record(z.string().regex(/^[A-Z]+$/), secret().max(9)).default({}),
    nested: z.strictObject({ headers: z.record(z.string(), secret()).optional() }).optional(),
    labels: z.record(z.string(), z.string()).optional(),
  });
  expect(secretPaths(options)).toEqual(['env.*', 'nested.headers.*']);
});

it.each([
  ['in an array', z.array(secret())],
  ['in objects of a record', z.record(z.string(), z.strictObject({ key: secret() }))],
  ['in records of a record', z.record(z.string(), z.record(z.string(), secret()))],
  ['among named fields', z.object({ user: z.string() }).catchall(secret())],
])('refuses a schema with secrets %s, which no path could name', (_where, schema) => {
  expect(() => secretPaths(z.strictObject({ at: schema }))).toThrow('without a path');
});

it('refuses options for administrators in a record, which nothing would check', () => {
  const options = z.strictObject({ roots: z.record(z.string(), adminOnly(z.string())) });
  expect(() => adminPaths(options)).toThrow('without a path');
});
