import { nameOf, ConnectorError, type FileInfo } from '../../../driver.ts';
import { redirectOf, refused } from './errors.ts';
import { failureOf, type Answer, type Http } from './http.ts';
import { PROPERTIES, resources, type Resource } from './multistatus.ts';
import { type Root } from './root.ts';

/** A server and the folder on it that is the root. */
export type Server = { readonly http: Http; readonly root: Root };
/** What is known of one file or folder. */
export type Entry = Omit<Resource, 'href' | 'status'> & { readonly path: string };

const HEADERS = { 'content-type': 'application/xml; charset=utf-8' };

/** What there is at a path; undefined for nothing. `''` is the root. */
export async function look(
  { http, root }: Server,
  path: string,
  signal: AbortSignal,
): Promise<Entry | undefined> {
  const target = root.target(path);
  const answer = await http.send(
    { method: 'PROPFIND', target, headers: { ...HEADERS, depth: '0' }, body: PROPERTIES },
    signal,
  );
  if (answer.statusCode !== 207) {
    http.discard(answer);
    if (answer.statusCode === 404) return undefined;
    // Apache tells a folder that is named without its slash by sending elsewhere.
    if (path !== '' && isFolderRedirect(root, answer, path)) return folderEntry(path);
    throw refused('PROPFIND', answer, http.clock);
  }
  let found: Entry | undefined;
  let hasOther = false;
  for await (const resource of read(answer, signal)) {
    const entry = entryOf(root, resource);
    if (entry?.path !== path) hasOther = true;
    else if (resource.status === undefined || resource.status < 300) found = entry;
  }
  if (found === undefined && hasOther)
    throw new ConnectorError(
      'backend_error',
      'the backend names its files by another path than the endpoint has; give the endpoint as the server knows it',
    );
  return found;
}

/** What lies in a folder directly, as it comes; nothing where there is no folder. */
export async function* children(
  { http, root }: Server,
  folder: string,
  signal: AbortSignal,
): AsyncGenerator<Entry> {
  const target = root.folderTarget(folder);
  const answer = await http.send(
    { method: 'PROPFIND', target, headers: { ...HEADERS, depth: '1' }, body: PROPERTIES },
    signal,
  );
  if (answer.statusCode !== 207) {
    http.discard(answer);
    if (answer.statusCode === 404) return;
    throw refused('PROPFIND', answer, http.clock);
  }
  const prefix = folder === '' ? '' : `${folder}/`;
  for await (const resource of read(answer, signal)) {
    const entry = entryOf(root, resource);
    if (entry === undefined || entry.path === '' || !entry.path.startsWith(prefix)) continue;
    const name = entry.path.slice(prefix.length);
    if (name !== '' && !name.includes('/')) yield entry;
  }
}

/** The facts of a file. A server that tells no size is taken to mean 0, one that tells no time, 1970. */
export function infoOf({ path, isCollection, sizeBytes = 0, lastModified, etag }: Entry): FileInfo {
  const common = { name: nameOf(path), path, lastModified, isDirectory: isCollection };
  if (isCollection) return { ...common, size: 0 };
  return { ...common, size: sizeBytes, ...(etag !== undefined && { etag }) };
}

async function* read(answer: Answer, signal: AbortSignal): AsyncGenerator<Resource> {
  try {
    yield* resources(answer);
  } catch (error) {
    throw failureOf(error, signal);
  }
}

function entryOf(root: Root, resource: Resource): Entry | undefined {
  const { href, isCollection, sizeBytes, lastModified, etag } = resource;
  const path = root.pathOf(href);
  return path === undefined ? undefined : { path, isCollection, sizeBytes, lastModified, etag };
}

function folderEntry(path: string): Entry {
  return { path, isCollection: true, sizeBytes: undefined, lastModified: new Date(0), etag: undefined };
}

/** Whether an answer says that there is a folder, which is to be named with its slash. */
export function isFolderRedirect(root: Root, answer: Answer, path: string): boolean {
  const location = redirectOf(answer);
  return location !== undefined && location.endsWith('/') && root.pathOf(location) === path;
}
