import { mkdirSync, readdirSync, rmSync, symlinkSync, utimesSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { beforeEach, describe, expect, it, onTestFinished } from 'vitest';
import type { FunctionSource, ServerlessClient } from '../../../driver.ts';
import { NEVER, openLocal, scratchFolder } from './local.fixture.ts';

const scratch = scratchFolder();
let connectors = 0;
let connectorId: string;
let client: ServerlessClient;
let warnings: string[];

async function reopen(options: Readonly<Record<string, unknown>> = {}): Promise<ServerlessClient> {
  const warned = (message: string) => void warnings.push(message);
  const opened = await openLocal(scratch(), { connectorId, options, warned });
  onTestFinished(() => opened.close());
  return opened;
}

beforeEach(async () => {
  connectorId = `c${++connectors}`;
  warnings = [];
  client = await reopen();
});

/** Puts files below the connector's folder of functions, as a person would. */
function put(files: Readonly<Record<string, string>>): string {
  const root = join(scratch(), 'acme', connectorId, 'functions');
  for (const [path, text] of Object.entries(files)) {
    mkdirSync(dirname(join(root, path)), { recursive: true });
    writeFileSync(join(root, path), text);
  }
  return root;
}

async function call(name: string, on = client): Promise<unknown> {
  const outcome = await on.invoke(name, null, { requestId: 'r', timeoutMs: 20_000 }, NEVER);
  return outcome.result ?? outcome.error;
}

async function deploy(name: string, source: FunctionSource): Promise<void> {
  await client.deploy?.(name, source, NEVER);
}

describe('a function put in by hand', () => {
  it.each([
    ['a TypeScript file', { 'f.ts': 'export const handler = (): number => 1;' }],
    ['a JavaScript file', { 'f.mjs': 'export const handler = () => 1;' }],
    [
      'a folder',
      { 'f/index.ts': "export { handler } from './part.ts';", 'f/part.ts': 'export const handler = () => 1' },
    ],
    [
      'a folder with JSON',
      { 'f/index.js': "import n from './n.json'; export const handler = () => n;", 'f/n.json': '1' },
    ],
    [
      'a fetch-style default',
      { 'f.ts': 'export default { fetch: async (r: Request) => Response.json(await r.json() ?? 1) };' },
    ],
    ['a default function', { 'f.ts': "export default () => new Response('1');" }],
  ])('runs from %s', async (_what, files) => {
    put(files);
    expect(String(await call('f'))).toBe('1');
    expect(await client.listFunctions(NEVER)).toMatchObject([{ name: 'f', memoryMb: 128 }]);
  });

  it('runs with packages from its own node_modules, also CommonJS that requires modules of Node', async () => {
    put({
      'f/index.ts': "import size from 'sized'; export const handler = () => size('abc');",
      'f/node_modules/sized/package.json': '{"name":"sized","main":"main.js"}',
      'f/node_modules/sized/main.js':
        "const { Buffer } = require('buffer'); module.exports = (text) => Buffer.byteLength(text);",
    });
    expect(await call('f')).toBe(3);
  });

  it('is taken up as changed at the next call', async () => {
    put({
      'f/index.ts': "export { handler } from './part.ts';",
      'f/part.ts': 'export const handler = () => 1',
    });
    expect(await call('f')).toBe(1);
    put({ 'f/part.ts': 'export const handler = () => 22' });
    expect(await call('f')).toBe(22);
  });

  it('goes on serving when it was changed and does not build, and is tried again after the next change', async () => {
    const root = put({ 'f.ts': 'export const handler = () => 1' });
    expect(await call('f')).toBe(1);
    put({ 'f.ts': 'export const handler = (' });
    expect(await call('f')).toBe(1);
    expect(await call('f')).toBe(1);
    expect(warnings).toHaveLength(1);
    put({ 'f.ts': 'export const handler = () => 2' });
    utimesSync(join(root, 'f.ts'), 1, 1);
    expect(await call('f')).toBe(2);
  });

  it('is gone when its file is gone', async () => {
    const root = put({ 'f.ts': 'export const handler = () => 1' });
    expect(await call('f')).toBe(1);
    rmSync(join(root, 'f.ts'));
    await expect(call('f')).rejects.toMatchObject({ code: 'not_found' });
  });

  it('is refused with the message of the compiler when it never built', async () => {
    put({ 'f.ts': 'export const handler = (' });
    await expect(call('f')).rejects.toMatchObject({
      code: 'invalid_argument',
      message: expect.stringContaining('f.ts:1:24'),
    });
  });
});

describe('a name that is no file name here', () => {
  it.each([
    'a.b',
    'f.json',
    'f:latest',
    'project:region:f',
    'x'.repeat(65),
    '..',
    '.versions',
    '',
    'a/b',
    'a\0',
  ])('%j names no function, and none can have it', async (name) => {
    // What each of them would name as part of a path is there.
    const root = put({ 'f.ts': '', 'a.b.ts': '', 'f:latest.ts': '', 'a/b.ts': '', '../index.ts': '' });
    const before = readdirSync(join(root, '..'), { recursive: true }).map(String).sort();
    await expect(call(name)).rejects.toMatchObject({ code: 'not_found' });
    const refused = { code: 'invalid_argument', issues: [{ path: 'name' }] };
    await expect(deploy(name, { code: 'export const handler = () => 1' })).rejects.toMatchObject(refused);
    await expect(client.remove?.(name, NEVER)).rejects.toMatchObject(refused);
    expect(readdirSync(join(root, '..'), { recursive: true }).map(String).sort()).toEqual(before);
  });
});

describe('an import', () => {
  const outside = (root: string) => join(root, '..', '..', 'rival', 'secret.ts');
  const CANARY = 'canary-91c2';

  it.each([
    ['a path outside', () => "import { s } from '../../../rival/secret.ts'; export const handler = () => s;"],
    ['another function', () => "import { s } from '../other.ts'; export const handler = () => s;"],
    [
      'an absolute path',
      (root: string) => `import { s } from '${outside(root)}'; export const handler = () => s;`,
    ],
    [
      'a URL of a file',
      (root: string) => `import { s } from 'file://${outside(root)}'; export const handler = () => s;`,
    ],
    ['a URL', () => "import { s } from 'https://example.com/x.ts'; export const handler = () => s;"],
    ['an export from outside', () => "export * from '../../../rival/secret.ts';"],
    ['a require', () => "const { s } = require('../../../rival/secret.ts'); exports.handler = () => s;"],
    ['a link to a file', () => "import { s } from './linked.ts'; export const handler = () => s;"],
    ['a link to a folder', () => "import { s } from './folder/secret.ts'; export const handler = () => s;"],
    ['a package that is a link', () => "import { s } from 'linked'; export const handler = () => s;"],
    ['a package of the host', () => "import { z } from 'zod'; export const handler = () => typeof z;"],
    ['text of the host', () => "import s from '../../../rival/notes.txt'; export const handler = () => s;"],
  ])('of %s is refused', async (_what, code) => {
    const root = put({ 'other.ts': `export const s = '${CANARY}';`, 'f/index.ts': '' });
    mkdirSync(join(root, '..', '..', 'rival'), { recursive: true });
    writeFileSync(outside(root), `export const s = '${CANARY}';`);
    writeFileSync(join(dirname(outside(root)), 'notes.txt'), CANARY);
    mkdirSync(join(root, 'f', 'node_modules'), { recursive: true });
    symlinkSync(outside(root), join(root, 'f', 'linked.ts'));
    symlinkSync(dirname(outside(root)), join(root, 'f', 'folder'));
    symlinkSync(outside(root), join(root, 'f', 'node_modules', 'linked.ts'));
    writeFileSync(join(root, 'f', 'index.ts'), code(root));
    const failure = await call('f').catch((error: unknown) => error);
    expect(failure).toMatchObject({
      code: 'invalid_argument',
      message: expect.stringContaining('is not within'),
    });
    expect(String(failure)).not.toContain(CANARY);
  });

  it('of what is missing reads like one of what lies outside', async () => {
    const root = put({ 'f/index.ts': "import '../../../rival/secret.ts';" });
    rmSync(outside(root), { force: true });
    const missing = await call('f').catch((error: Error) => error.message);
    mkdirSync(dirname(outside(root)), { recursive: true });
    writeFileSync(outside(root), 'export {}');
    put({ 'f/index.ts': "import '../../../rival/secret.ts' ;" });
    expect(await call('f').catch((error: Error) => error.message)).toBe(missing);
  });

  it('by pattern finds the files of the function and no others', async () => {
    const importing = (below: string) => `export const handler = async () => {
      const name = 'part';
      return (await import(\`${below}\${name}.ts\`)).n;
    };`;
    put({
      'f/index.ts': importing('./parts/'),
      'f/parts/part.ts': 'export const n = 3;',
      'rival/part.ts': '',
    });
    expect(await call('f')).toBe(3);
    put({ 'g/index.ts': importing('../rival/') });
    await expect(call('g')).rejects.toMatchObject({
      code: 'invalid_argument',
      message: expect.stringContaining('cannot be bundled'),
    });
  });

  it('is not redirected by a tsconfig.json above, nor are maps read', async () => {
    const root = put({ 'f/index.ts': "import { s } from 'alias'; export const handler = () => s;" });
    writeFileSync(join(root, 'tsconfig.json'), '{"compilerOptions":{"paths":{"alias":["./other.ts"]}}}');
    writeFileSync(
      join(root, 'f', 'tsconfig.json'),
      '{"compilerOptions":{"paths":{"alias":["../other.ts"]}}}',
    );
    writeFileSync(join(root, 'other.ts'), `export const s = '${CANARY}';`);
    await expect(call('f')).rejects.toMatchObject({ code: 'invalid_argument' });
  });
});

describe('a deployed function', () => {
  it('goes before one put in by hand, and removing takes both', async () => {
    put({ 'f.ts': 'export const handler = () => 1' });
    await deploy('f', { code: 'export const handler = () => 2' });
    expect(await call('f')).toBe(2);
    expect(await client.remove?.('f', NEVER)).toBe(true);
    await expect(call('f')).rejects.toMatchObject({ code: 'not_found' });
    expect(await client.listFunctions(NEVER)).toEqual([]);
  });

  it('is copied from a folder without its links, and does not depend on it afterwards', async () => {
    const source = join(scratch(), `source-${connectorId}`);
    mkdirSync(source);
    writeFileSync(join(source, 'index.ts'), "export { handler } from './part.ts';");
    writeFileSync(join(source, 'part.ts'), 'export const handler = () => 5;');
    symlinkSync('/etc/hostname', join(source, 'link.txt'));
    await deploy('f', { path: source });
    rmSync(source, { recursive: true });
    expect(await call('f')).toBe(5);
    const files = readdirSync(join(scratch(), 'acme', connectorId, 'functions'), { recursive: true });
    expect(files.map(String).filter((file) => file.endsWith('link.txt'))).toEqual([]);
  });

  it('is served after a restart, also when its stored bundle was tampered with', async () => {
    await deploy('f', { code: 'export const handler = () => 6' });
    await client.close();
    expect(await call('f', await reopen())).toBe(6);
    const bundles = join(scratch(), 'acme', connectorId, 'bundles');
    const file = readdirSync(bundles).find((name) => name.endsWith('.mjs')) ?? '';
    writeFileSync(join(bundles, file), 'export const handler = () => "tampered"');
    expect(await call('f', await reopen())).toBe(6);
  });

  it('is one of two when both are deployed at once', async () => {
    const all = [1, 2, 3, 4].map((n) => deploy('f', { code: `export const handler = () => ${n}` }));
    await Promise.all(all);
    expect(await call('f')).toBe(4);
  });

  it('is refused when its file is of another kind', async () => {
    const refused = deploy('f', { code: '', filename: 'index.py' });
    await expect(refused).rejects.toMatchObject({
      code: 'invalid_argument',
      issues: [{ path: 'filename' }],
    });
  });

  it('comes from the root that an administrator named', async () => {
    const root = join(scratch(), `root-${connectorId}`);
    mkdirSync(root);
    writeFileSync(join(root, 'f.ts'), 'export const handler = () => 7');
    expect(await call('f', await reopen({ root }))).toBe(7);
  });
});
