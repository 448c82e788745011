import { validate } from 'dockerfile-utils';
import { execFile } from 'node:child_process';
import { cpSync, existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, describe, expect, it } from 'vitest';
import { openServer } from '../server/harness.ts';
import { entry, healthCheck, last, lines, peers, text } from './dockerfile.ts';
import { packagesOf, productionPackages } from './lock-file.ts';
import { unknownSettings } from './settings.ts';

const root = new URL('../../', import.meta.url);
const run = promisify(execFile);

/** What no engine is needed for: no image was built where this was written. */
describe('the image', () => {
  const folder = mkdtempSync(join(tmpdir(), 'image-'));
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  it('is described in what a Dockerfile may say', () => {
    expect(validate(text)).toEqual([]);
  });

  it('copies what there is, runs as an ordinary user, and gets signals itself', () => {
    const sources = lines
      .filter((line) => line.startsWith('COPY ') && !line.includes('--from'))
      .flatMap((line) => line.split(' ').slice(1, -1));
    expect(sources.length).toBeGreaterThan(2);
    for (const source of sources) expect(existsSync(new URL(source, root)), source).toBe(true);
    expect(last).toContain('USER node');
    expect(last).toContain('STOPSIGNAL SIGTERM');
    expect(entry()).toEqual(['node', 'dist/cli/main.js', 'serve']);
  });

  it('sets settings that there are', () => {
    const names = text.match(/CONNECTORS_[A-Z_]+/g) ?? [];
    expect(names.length).toBeGreaterThan(2);
    expect(unknownSettings(names)).toEqual([]);
  });

  it('is run on this machine alone where its head shows how, since it speaks plain HTTP', () => {
    const published = [...text.matchAll(/^# +docker run .*-p (\S+)/gm)].map(([, ports]) => ports);
    expect(published).toEqual(['127.0.0.1:7420:7420']);
  });

  it('finds out with its own command whether the server is well', async () => {
    const { app } = await openServer();
    const url = await app.listen({ host: '127.0.0.1', port: 0 });
    const check = (port: string) =>
      run(process.execPath, healthCheck(), { env: { CONNECTORS_PORT: port } }).then(
        () => 0,
        (error: { readonly code: number }) => error.code,
      );
    expect(await check(new URL(url).port)).toBe(0);
    expect(await check('1')).toBe(1);
  });

  it('takes optional packages in the versions of the lock file, and none that it does not know', async () => {
    for (const file of ['package.json', 'package-lock.json']) cpSync(new URL(file, root), join(folder, file));
    const script = new URL('scripts/production-packages.mjs', root).pathname;
    await expect(run(process.execPath, [script, 'left-pad'], { cwd: folder })).rejects.toMatchObject({
      code: 2,
    });
    await run(process.execPath, [script, ...peers], { cwd: folder });
    const changed = join(folder, 'package-lock.json');
    const before = packagesOf(new URL('package-lock.json', root).pathname);
    const after = packagesOf(changed);
    for (const name of [...peers, 'pg-pool', 'pg-protocol'])
      expect(after[`node_modules/${name}`]).toMatchObject({
        version: before[`node_modules/${name}`]?.version,
      });
    const inProduction = productionPackages(changed).map(([place]) => place);
    expect(inProduction).toContain('node_modules/pg-pool');
    expect(inProduction).not.toContain('node_modules/vitest');
  });
});
