import { basename } from 'node:path';

/** The tenant that the first walk is made for. */
export const DEMO_TENANT = 'demo';

/** The connectors that a walk fills, by name. */
export type TourNames = { readonly files: string; readonly passages: string; readonly functions: string };

/** The connectors of the walk over the project's own documentation. */
export const DEMO_NAMES: TourNames = connectorNames('demo');

/** The connectors of the walk over a folder, named after it. */
export function namesOf(folder: string): TourNames {
  const slug = basename(folder)
    .normalize('NFKD')
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, '-')
    .replace(/^-+|-+$/g, '')
    .slice(-64);
  return connectorNames(slug === '' ? 'folder' : slug);
}

function connectorNames(prefix: string): TourNames {
  return { files: `${prefix}-files`, passages: `${prefix}-passages`, functions: `${prefix}-functions` };
}
