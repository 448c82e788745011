import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmod, chown, cp, mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { existsSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { freePort } from '../../src/testing/child-server.fixture.ts';
import { entry, healthCheck, isSent, peers, variables } from './dockerfile.ts';
import { productionPackages } from './lock-file.ts';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
const BUILD_MS = 120_000;
const run = promisify(execFile);
/** The user of the image; where the tests have no right to become another, they are an ordinary user already. */
const user = process.getuid?.() === 0 ? { uid: 1000, gid: 1000 } : {};

/** The steps of the Dockerfile on plain folders, with packages from this checkout in the place of a registry. */
describe('what the image holds', () => {
  let folder: string;
  let app: string;

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'image-steps-'));
    app = join(folder, 'app');
    await chmod(folder, 0o755);
    await buildStage(join(folder, 'build'));
    await packagesStage(join(folder, 'packages'));
    await mkdir(app);
    await cp(join(folder, 'packages', 'package.json'), join(app, 'package.json'));
    await cp(join(folder, 'packages', 'node_modules'), join(app, 'node_modules'), { recursive: true });
    await cp(join(folder, 'build', 'dist'), join(app, 'dist'), { recursive: true });
    await run('chmod', ['-R', 'a+rX,a-w', app]);
  }, BUILD_MS);
  afterAll(async () => {
    await run('chmod', ['-R', 'u+w', app]);
    await rm(folder, { recursive: true });
  });

  it('serves as an ordinary user who can change nothing but the data, and stops at SIGTERM', async () => {
    const data = join(folder, 'data');
    await mkdir(data, { mode: 0o700 });
    if (user.uid !== undefined) await chown(data, user.uid, user.gid);
    const port = String(await freePort());
    const env = { ...variables(), CONNECTORS_DATA_DIR: data, CONNECTORS_PORT: port };
    const [node, ...args] = entry();
    expect(node).toBe('node');
    const server = spawn(process.execPath, args, {
      cwd: app,
      env,
      stdio: ['ignore', 'ignore', 'pipe'],
      ...user,
    });
    onTestFinished(() => void server.kill('SIGKILL'));
    let shown = '';
    server.stderr.setEncoding('utf8').on('data', (chunk: string) => (shown += chunk));
    while (!shown.includes('listening on')) {
      if (server.exitCode !== null) throw new Error(shown);
      await Promise.race([once(server.stderr, 'data'), once(server, 'exit')]);
    }
    const isWell = await run(process.execPath, healthCheck(), { cwd: app, env, ...user });
    expect(isWell).toEqual({ stdout: '', stderr: '' });

    const [, key = ''] = /(crk_\S+)/.exec(shown) ?? [];
    const command = async (...words: readonly string[]) => {
      const at = {
        CONNECTORS_URL: `http://127.0.0.1:${port}`,
        CONNECTORS_API_KEY: key,
        CONNECTORS_TENANT: 'acme',
      };
      const [main = ''] = args;
      return (await run(process.execPath, [main, ...words], { cwd: app, env: at, ...user })).stdout;
    };
    // What embedded engines run on is in the image, and works where nothing can be written beside it.
    await command('create', 'jobs', '--type', 'serverless');
    const source = join(folder, 'double.ts');
    await writeFile(source, 'export const handler = ({ n }) => n * 2;');
    await command('functions', 'deploy', 'jobs', source);
    expect(await command('functions', 'invoke', 'jobs', 'double', '--payload', '{"n": 21}')).toContain('42');

    const stoppedMs = performance.now();
    server.kill('SIGTERM');
    expect(await once(server, 'exit')).toEqual([0, null]);
    expect(performance.now() - stoppedMs).toBeLessThan(10_000);
  }, 60_000);

  it('finds the packages that it names, and none that only tests need', async () => {
    const found = `for (const name of process.argv.slice(1)) console.log(name, import.meta.resolve(name).startsWith(${JSON.stringify(`file://${app}/`)}))`;
    const names = peers.filter((name) => name !== 'deno');
    const { stdout } = await run(process.execPath, ['--input-type=module', '-e', found, ...names], {
      cwd: app,
    });
    expect(stdout.trim().split('\n')).toEqual(names.map((name) => `${name} true`));
    expect(existsSync(join(app, 'node_modules', 'vitest'))).toBe(false);
    expect(existsSync(join(app, 'node_modules', 'typescript'))).toBe(false);
  });
});

/** What was sent to it, built by the compiler of this checkout. */
async function buildStage(folder: string): Promise<void> {
  await cp(ROOT, folder, {
    recursive: true,
    filter: (path) => path === ROOT || isSent(relative(ROOT, path)),
  });
  await symlink(join(ROOT, 'node_modules'), join(folder, 'node_modules'));
  await run(process.execPath, ['scripts/build.ts'], { cwd: folder });
}

/** What `npm ci --omit=dev` would install: the packages that the changed lock file counts for production. */
async function packagesStage(folder: string): Promise<void> {
  await mkdir(folder);
  for (const file of ['package.json', 'package-lock.json']) await cp(join(ROOT, file), join(folder, file));
  await run(process.execPath, [join(ROOT, 'scripts/production-packages.mjs'), ...peers], { cwd: folder });
  for (const [place, { optional }] of productionPackages(join(folder, 'package-lock.json'))) {
    // A package for another system is not here.
    if (optional && !existsSync(join(ROOT, place))) continue;
    await mkdir(dirname(join(folder, place)), { recursive: true });
    const inner = join(ROOT, place, 'node_modules');
    await cp(join(ROOT, place), join(folder, place), { recursive: true, filter: (path) => path !== inner });
  }
}
