import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';

const root = fileURLToPath(new URL('..', import.meta.url));

/** Files that must be refused: one for each way across a boundary. */
const REFUSED: Readonly<Record<string, string>> = {
  'src/errors/a.ts': `import { a } from '../contract/a.ts'; a();`,
  'src/errors/b.ts': `import { z } from 'zod'; z();`,
  'src/contract/a.ts': `import { a } from '../connectors/base.ts'; a();`,
  'src/contract/b.ts': `import { a } from '../policies/pipeline.ts'; a();`,
  'src/policies/a.ts': `import type { A } from '../connectors/base.ts'; export type B = A;`,
  'src/connectors/a.ts': `import { a } from '../registry/a.ts'; a();`,
  'src/connectors/vector/a.ts': `import { a } from '../../store/a.ts'; a();`,
  'src/connectors/b.ts': `import { a } from '../drivers/file/local/client.ts'; a();`,
  'src/secrets/a.ts': `import { a } from '../store/a.ts'; a();`,
  'src/secrets/b.ts': `import { a } from '../connectors/base.ts'; a();`,
  'src/store/a.ts': `import { a } from '../secrets/a.ts'; a();`,
  'src/store/migrations/a.ts': `import { a } from '../../registry/a.ts'; a();`,
  'src/egress/a.ts': `import { a } from '../policies/retry.ts'; a();`,
  'src/registry/a.ts': `import { a } from '../drivers/file/local/client.ts'; a();`,
  'src/registry/b.ts': `import { a } from '../operations/a.ts'; a();`,
  'src/operations/a.ts': `import { a } from '../server/http.ts'; a();`,
  'src/operations/b.ts': `import { a } from '../store/sqlite.ts'; a();`,
  'src/server/a.ts': `import { a } from '../cli/main.ts'; a();`,
  'src/server/b.ts': `import { a } from '../drivers/file/local/client.ts'; a();`,
  'src/cli/a.ts': `import { a } from '../testing/clock.ts'; a();`,
  'src/testing/a.ts': `import { a } from '../server/http.ts'; a();`,
  'src/connectors/c.ts': `import { it } from 'vitest'; it();`,
  'src/drivers/file/acme/a.ts': `import { a } from '../../../errors/error.ts'; a();`,
  'src/drivers/file/acme/b.ts': `import { a } from '../local/client.ts'; a();`,
  'src/drivers/file/acme/c.ts': `import { a } from '../../vector/embedded/client.ts'; a();`,
  'src/drivers/file/acme/d.ts': `import { a } from '@acme/sdk'; a();`,
  'src/drivers/file/acme/e.ts': `import { a } from 'esbuild'; a();`,
  'src/drivers/file/acme/f.ts': `import { a } from '../../../drivers.generated.ts'; a();`,
  'src/drivers/file/acme/g.ts': `import * as a from '@acme/sdk'; a();`,
  'src/drivers/file/acme/h.ts': `export const a = import('../local/client.ts');`,
  'src/drivers/file/acme/i.ts': `import { a } from '../../../client/a.ts'; a();`,
  'src/clouds/acme/a.ts': `import { a } from '../../drivers/file/local/client.ts'; a();`,
  'src/clouds/acme/b.ts': `import { a } from '../other/a.ts'; a();`,
  'src/clouds/acme/c.ts': `import { a } from '../../errors/error.ts'; a();`,
  'src/clouds/acme/d.ts': `import { a } from '@acme/sdk'; a();`,
  'src/registry/c.ts': `import { a } from '../clouds/acme/a.ts'; a();`,
  'src/drivers/file/acme/deep/a.ts': `import { a } from '../../local/client.ts'; a();`,
  'src/drivers/file/acme/deep/b.ts': `import { a } from '../../../../errors/error.ts'; a();`,
};

/** Files that must pass: what each folder lives on. */
const ALLOWED: Readonly<Record<string, string>> = {
  'src/contract/ok.ts': `import { a } from '../errors/error.ts'; a();`,
  'src/policies/ok.ts': `import { a } from '../contract/clock.ts'; a();`,
  'src/connectors/vector/ok.ts': `import { a } from '../session.ts'; import { b } from '../../contract/b.ts'; a(b);`,
  'src/store/ok.ts': `import type { A } from '../connectors/base.ts'; export type B = A;`,
  'src/registry/ok.ts': `import { a } from '../store/sqlite.ts'; import { b } from '../drivers.generated.ts'; a(b);`,
  'src/operations/ok.ts': `import { a } from '../registry/tenant.ts'; a();`,
  'src/server/ok.ts': `import { a } from '../drivers.generated.ts'; a();`,
  'src/cli/ok.ts': `import { a } from '../server/serve.ts'; a();`,
  'src/testing/ok.ts': `import { it } from 'vitest'; import { a } from '../registry/a.ts'; it(a);`,
  'src/drivers/file/acme/ok.ts': `import { a } from '../../../driver.ts'; import { b } from './b.ts'; import { z } from 'zod'; import fs from 'node:fs/promises'; a(b, z, fs, import('@acme/sdk'));`,
  'src/drivers/file/acme/cloud-ok.ts': `import { a } from '../../../clouds/acme/a.ts'; a();`,
  'src/drivers/file/acme/deep/cloud-ok.ts': `import { a } from '../../../../clouds/acme/a.ts'; a();`,
  'src/clouds/acme/ok.ts': `import { a } from '../../driver.ts'; import { b } from './b.ts'; a(b, import('@acme/sdk'));`,
  'src/drivers/file/acme/types-ok.ts': `import type { A } from '@acme/sdk'; export type B = A;`,
  'src/drivers/file/acme/deep/ok.ts': `import { a } from '../client.ts'; import { b } from '../../../../driver.ts'; a(b);`,
  'src/drivers/file/acme/acme.test.ts': `import { a } from '../../../testing/file.ts'; a();`,
};

it('refuses every import across a boundary and no other', () => {
  const folder = mkdtempSync(join(tmpdir(), 'boundaries-'));
  try {
    // Without the rules that need types: the planted files have none, and resolve to nothing.
    const config = readFileSync(join(root, '.oxlintrc.json'), 'utf8').replace(
      '"typeAware": true',
      '"typeAware": false',
    );
    writeFileSync(join(folder, '.oxlintrc.json'), config);
    for (const [path, source] of Object.entries({ ...REFUSED, ...ALLOWED })) {
      mkdirSync(dirname(join(folder, path)), { recursive: true });
      writeFileSync(join(folder, path), source);
    }
    const { stdout } = spawnSync(join(root, 'node_modules/.bin/oxlint'), ['--format=unix'], {
      cwd: folder,
      encoding: 'utf8',
    });
    const refused = stdout
      .split('\n')
      .filter((line) => line.includes('no-restricted-imports'))
      .map((line) => line.slice(0, line.indexOf(':')));
    expect(refused.toSorted()).toEqual(Object.keys(REFUSED).toSorted());
  } finally {
    rmSync(folder, { recursive: true });
  }
});
