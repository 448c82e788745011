import { Writable } from 'node:stream';
import fc from 'fast-check';
import pino from 'pino';
import { expect, it } from 'vitest';
import { isSecretName, redactFields, redactText } from './redact.ts';

it('leaves no secret in a text, in any spelling that a log or a URL may give it', () => {
  fc.assert(
    fc.property(fc.string({ minLength: 6, unit: 'grapheme' }), fc.string(), (secret, around) => {
      fc.pre(!'***'.includes(secret) && !around.includes(secret));
      const bytes = Buffer.from(secret);
      const forms = [
        secret,
        JSON.stringify(secret).slice(1, -1),
        encodeURIComponent(secret),
        bytes.toString('base64'),
        bytes.toString('base64url'),
        bytes.toString('hex'),
      ];
      for (const form of forms) {
        expect(redactText(`<${form}>`, [secret])).not.toContain(form);
      }
    }),
  );
});

it('masks the longer of two secrets of which one holds the other', () => {
  expect(redactText('key abcdef-123 and abcdef', ['abcdef', 'abcdef-123'])).toBe('key *** and ***');
});

it.each([
  ['Authorization: Bearer eyJ.abc-_=', 'Authorization: Bearer ***'],
  ['authorization: basic dXNlcjpwYXNz', 'authorization: basic ***'],
  ['cannot reach postgres://me:pa55@db:5432/x', 'cannot reach postgres://me:***@db:5432/x'],
  ['cannot reach redis://:pa55@db', 'cannot reach redis://:***@db'],
  ['at http://host:80/a@b, 10:30', 'at http://host:80/a@b, 10:30'],
  ['nothing secret here', 'nothing secret here'],
])('masks what is known by its form: %s', (text, expected) => {
  expect(redactText(text)).toBe(expected);
});

it.each(['', '1', 'on', 'dev'])('ignores %j, which is too short to be a secret', (setting) => {
  expect(redactText('device 1 is on', [setting])).toBe('device 1 is on');
});

it.each([
  'password',
  'apiKey',
  'X-Api-Key',
  'aws_secret_access_key',
  'Set-Cookie',
  'connectionString',
  'credentials',
])('takes %s for the name of a secret', (name) => {
  expect(isSecretName(name)).toBe(true);
});

it.each(['name', 'endpoint', 'keyId', 'connector_id', 'author', 'path'])(
  'takes %s for an ordinary name',
  (name) => {
    expect(isSecretName(name)).toBe(false);
  },
);

it('masks fields however deep, and nothing else', () => {
  const at = new Date(0);
  expect(
    redactFields({
      a: [{ password: 'x', n: 1 }],
      credentials: { any: 'y' },
      token: null,
      at,
      list: ['token'],
    }),
  ).toEqual({ a: [{ password: '***', n: 1 }], credentials: '***', token: null, at, list: ['token'] });
});

it('keeps secrets out of a log line of pino', () => {
  let out = '';
  const sink = new Writable({
    write(chunk: Buffer, _encoding, done) {
      out += chunk.toString();
      done();
    },
  });
  // As the server's logger has it.
  const log = pino(
    { formatters: { log: (fields) => redactFields(fields) as Record<string, unknown> } },
    sink,
  );
  const headers = {
    authorization: 'canary',
    cookie: 'canary',
    'x-api-key': 'canary',
    'set-cookie': ['canary'],
  };
  log.info(
    { apiKey: 'canary', req: { headers }, headers, config: { credentials: { any: 'canary' } }, id: 7 },
    'hello',
  );
  expect(out).not.toContain('canary');
  expect(JSON.parse(out)).toMatchObject({ id: 7, msg: 'hello' });
});
