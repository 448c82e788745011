import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { realpath } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { ConnectorError } from '../errors/error.ts';
import type { TenantView } from '../registry/tenant.ts';
import { DEMO_NAMES, namesOf } from './names.ts';
import { DOCS_QUESTIONS } from './questions.ts';
import { namesAreFree, type Tour } from './walk.ts';

/** What names the project's own documentation among the folders that were walked. */
export const DOCS_SOURCE = 'docs';

/** The folder of the project's own documentation; absent in an installed package, which does not carry it. */
export function docsFolder(): string | undefined {
  const folder = fileURLToPath(new URL('../../docs', import.meta.url));
  return existsSync(folder) ? folder : undefined;
}

/**
 * The walk over a folder, or over the project's own documentation where none is named.
 *
 * @throws ConnectorError `invalid_argument` where there is no such folder, or no documentation.
 */
export async function tourOf(tenant: TenantView, folder: string | undefined): Promise<Tour> {
  const docs = docsFolder();
  if (folder === undefined && docs === undefined)
    throw new ConnectorError(
      'invalid_argument',
      'name a folder of text: the documentation is not part of this installation',
    );
  const path = await realpath(folder ?? docs ?? '').catch((cause: unknown) => {
    throw new ConnectorError('invalid_argument', `${folder} is not a folder that can be read`, { cause });
  });
  if (docs !== undefined && path === (await realpath(docs)))
    return { tenant, folder: path, names: DEMO_NAMES, source: DOCS_SOURCE, questions: DOCS_QUESTIONS };
  // A hash, since tenants see their connectors' metadata and have no business with paths of the host.
  const source = createHash('sha256').update(path).digest('hex').slice(0, 12);
  const names = namesOf(path);
  // Two folders may bear the same name: the second one's connectors also bear its hash.
  const isFree = await namesAreFree(tenant, names, source);
  return { tenant, folder: path, names: isFree ? names : namesOf(`${path}-${source.slice(0, 6)}`), source };
}
