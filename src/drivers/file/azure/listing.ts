import {
  nameOf,
  cursorAfter,
  joinedPath,
  pathInCursor,
  type ClientListOptions,
  type EntryKey,
  type FileInfo,
  type FilePage,
} from '../../../driver.ts';
import { bareEtag } from './blocks.ts';
import { entriesAfter, type Segment } from './byte-order-pages.ts';
import { notAzure } from './errors.ts';
import type { Service } from './service.ts';

/** A listing does not say when a folder changed, for it is no more than the beginning of names. */
const NO_DATE = new Date(0);

type Item = {
  readonly name: string;
  readonly properties: {
    readonly lastModified?: Date;
    readonly etag?: string;
    readonly contentLength?: number | undefined;
    readonly contentType?: string | undefined;
  };
};

/** One page of a folder, or of all files below it. */
export async function listPage(
  service: Service,
  path: string,
  { recursive, limit, cursor }: ClientListOptions,
  signal: AbortSignal,
): Promise<FilePage> {
  const prefix = path === '' ? '' : `${path}/`;
  const after = cursor === undefined ? '' : pathInCursor(cursor);
  const settings = { abortSignal: signal, prefix };
  // One more than the page, to know whether it is the last; and one for the key to start from, which it has had.
  const maxPageSize = limit + 2;
  const read = async (from: EntryKey, next: string | undefined): Promise<Segment<FileInfo>> => {
    const asked = { ...settings, ...(from !== '' && { startFrom: prefix + from }) };
    const paging = { maxPageSize, ...(next !== undefined && { continuationToken: next }) };
    const entryOf = (item: Item): readonly [EntryKey, FileInfo] => [
      item.name.slice(prefix.length),
      fileOf(item),
    ];
    return service.call(signal, {}, async () => {
      const { containerClient: container } = service;
      if (recursive) {
        // Some tools make blobs that end in a slash, for folders to be seen; a page of files has no place for them.
        const { value } = await container.listBlobsFlat(asked).byPage(paging).next();
        const files = itemsOf<Item>(value?.segment?.blobItems).filter(({ name }) => !name.endsWith('/'));
        return { entries: files.map(entryOf), next: wordOf(value) };
      }
      const { value } = await container.listBlobsByHierarchy('/', asked).byPage(paging).next();
      const folders = itemsOf(value?.segment?.blobPrefixes ?? [])
        .map(({ name }) => name.slice(prefix.length))
        // A folder without a name would be the one that is listed.
        .filter((key) => key !== '/')
        .map((key): [EntryKey, FileInfo] => [key, folderOf(joinedPath(path, key.slice(0, -1)))]);
      return {
        entries: [...folders, ...itemsOf<Item>(value?.segment?.blobItems).map(entryOf)],
        next: wordOf(value),
      };
    });
  };
  const found = await entriesAfter(read, after, limit);
  const last = found.length > limit ? found[limit - 1] : undefined;
  return {
    files: found.slice(0, limit).map(([, file]) => file),
    ...(last !== undefined && { nextCursor: cursorAfter(last[0]) }),
  };
}

function itemsOf<T extends { readonly name: string }>(items: readonly T[] | undefined): readonly T[] {
  if (items === undefined || items.some(({ name }) => typeof name !== 'string')) throw notAzure();
  return items;
}

function wordOf(value: { readonly continuationToken?: string } | undefined): string | undefined {
  return value?.continuationToken || undefined;
}

function fileOf({ name, properties }: Item): FileInfo {
  const { lastModified, etag, contentLength: size, contentType } = properties;
  if (lastModified === undefined || size === undefined) throw notAzure();
  return {
    name: nameOf(name),
    path: name,
    size,
    lastModified,
    ...(etag !== undefined && { etag: bareEtag(etag) }),
    ...(contentType !== undefined && { contentType }),
    isDirectory: false,
  };
}

function folderOf(path: string): FileInfo {
  const name = nameOf(path);
  return { name, path, size: 0, lastModified: NO_DATE, isDirectory: true };
}
