import { z } from 'zod';
import {
  nameOf,
  byteOrder,
  type ClientListOptions,
  cursorAfter,
  type FileInfo,
  type FilePage,
  pathInCursor,
} from '../../../driver.ts';
import type { Api } from './api.ts';
import { fileInfo, objectResource, OBJECT_FIELDS } from './object.ts';

/** "The service will use this parameter or 1,000 items, whichever is smaller": the discovery document, 2026-11. */
const MAX_RESULTS = 1000;

const listing = z.object({
  kind: z.literal('storage#objects'),
  items: z.array(objectResource).optional(),
  prefixes: z.array(z.string()).optional(),
  nextPageToken: z.string().optional(),
});

/**
 * One page, in the backend's own order, which is that of the bytes of the names. It begins at a name and not where a
 * token of the backend's says, so that a cursor is as good after years, and says nothing that its reader may not see.
 */
export async function listPage(
  api: Api,
  path: string,
  { recursive, limit, cursor }: ClientListOptions,
  signal: AbortSignal,
): Promise<FilePage> {
  const prefix = path === '' ? '' : `${path}/`;
  const after = cursor === undefined ? '' : pathInCursor(cursor);
  let pageToken: string | undefined;
  const entries: (readonly [key: string, info: FileInfo])[] = [];
  do {
    const page = await api.json(
      {
        method: 'GET',
        path: `/storage/v1/b/${encodeURIComponent(api.bucket)}/o`,
        query: {
          fields: `kind,items(${OBJECT_FIELDS}),prefixes,nextPageToken`,
          // The name that the cursor holds is answered once more where it is still there.
          maxResults: String(Math.min(MAX_RESULTS, limit + (after === '' ? 0 : 1))),
          ...(prefix !== '' && { prefix }),
          ...(!recursive && { delimiter: '/' }),
          ...(after !== '' && { startOffset: prefix + after }),
          pageToken,
        },
        subject: { bucket: api.bucket, names: 'bucket' },
      },
      listing,
      signal,
    );
    pageToken = page.nextPageToken;
    entries.push(...entriesOf(page, prefix, after));
    // Pages may be short, or hold nothing, and still go on.
  } while (pageToken !== undefined && entries.length < Math.min(limit, MAX_RESULTS - 1));

  const shown = entries.slice(0, limit);
  const last = shown.at(-1);
  const isMore = last !== undefined && (pageToken !== undefined || entries.length > limit);
  return { files: shown.map(([, info]) => info), ...(isMore && { nextCursor: cursorAfter(last[0]) }) };
}

/** What of a page lies after the cursor, in one order: the backend answers files and folders apart. */
function entriesOf({ items = [], prefixes = [] }: z.output<typeof listing>, prefix: string, after: string) {
  return [
    ...items
      // What consoles make of a folder: nothing that could be read by a path.
      .filter(({ name }) => !name.endsWith('/') && name.startsWith(prefix))
      .map((object) => [object.name.slice(prefix.length), fileInfo(object)] as const),
    ...prefixes.map((folder) => [folder.slice(prefix.length), folderInfo(folder)] as const),
  ]
    .filter(([key]) => byteOrder(key, after) > 0)
    .sort(([a], [b]) => byteOrder(a, b));
}

function folderInfo(prefix: string): FileInfo {
  const path = prefix.slice(0, -1);
  return {
    name: nameOf(path),
    ...{ path, size: 0, isDirectory: true },
    // A folder is nothing of its own, and has no time.
    lastModified: new Date(0),
  };
}
