import type { ListedFile } from './pages.ts';

/** What one folder holds; the empty path is for the files that lie in no folder of their own. */
export type FolderUsage = { readonly path: string; readonly files: number; readonly bytes: number };

/** What lies below a path, in all and folder by folder, the largest first. */
export type Usage = FolderUsage & { readonly folders: readonly FolderUsage[] };

/** Adds up a recursive listing of `root`, for folders at most `depth` levels below it; it holds one sum for each. */
export async function usageOf(
  pages: AsyncIterable<readonly ListedFile[]>,
  root: string,
  depth: number,
): Promise<Usage> {
  const base = root.replace(/^\/|\/$/g, '');
  const sums = new Map<string, { files: number; bytes: number }>();
  const total = { files: 0, bytes: 0 };
  for await (const page of pages) {
    for (const { path, size } of page) {
      const folders = path
        .slice(base === '' ? 0 : base.length + 1)
        .split('/')
        .slice(0, -1);
      const folder = folders.slice(0, depth).join('/');
      let sum = sums.get(folder);
      if (!sum) sums.set(folder, (sum = { files: 0, bytes: 0 }));
      for (const kept of [sum, total]) {
        kept.files += 1;
        kept.bytes += size;
      }
    }
  }
  const folders = [...sums].map(([path, sum]) => ({ path, ...sum }));
  return {
    path: base,
    ...total,
    folders: folders.sort((a, b) => b.bytes - a.bytes || (a.path < b.path ? -1 : 1)),
  };
}
