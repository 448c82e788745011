import { readdir, readFile, stat } from 'node:fs/promises';
import { basename, extname, join, relative, resolve, sep } from 'node:path';
import { ConnectorError } from '../errors/error.ts';
import { localError } from './local-file.ts';

/** What is sent, at most: the server takes 8 MiB with what stands around it. */
const MAX_BYTES = 5 * 2 ** 20;
const MAX_FILES = 1_000;
const SOURCES: ReadonlySet<string> = new Set(
  '.ts .mts .cts .tsx .js .mjs .cjs .jsx .json .txt .md'.split(' '),
);

/** A function's source on this machine, as `function.deploy` takes it, and the name that it suggests. */
export type LocalSource = {
  readonly name: string;
  readonly source:
    | { readonly code: string; readonly filename: string }
    | { readonly files: Readonly<Record<string, string>> };
};

/**
 * Reads a file, or a folder with an `index` file and whatever it imports; links are not followed.
 *
 * @throws ConnectorError `not_found`; `invalid_argument` for what is too much, or no text.
 */
export async function localSource(path: string): Promise<LocalSource> {
  try {
    const found = await stat(path);
    if (found.isFile()) {
      const code = await textOf(path, MAX_BYTES);
      if (code === undefined)
        throw new ConnectorError(
          'invalid_argument',
          `${path} has more than ${MAX_BYTES / 2 ** 20} MB, which is the most that a function has`,
        );
      return { name: basename(path, extname(path)), source: { code, filename: basename(path) } };
    }
    if (!found.isDirectory())
      throw new ConnectorError('invalid_argument', `${path} is neither a file nor a folder`);
    return { name: basename(resolve(path)), source: { files: await filesOf(path) } };
  } catch (error) {
    throw localError(error, path);
  }
}

async function filesOf(root: string): Promise<Readonly<Record<string, string>>> {
  const files: Record<string, string> = {};
  let left = MAX_BYTES;
  const folders = [root];
  for (let folder = folders.pop(); folder !== undefined; folder = folders.pop()) {
    for (const entry of await readdir(folder, { withFileTypes: true })) {
      const path = join(folder, entry.name);
      // What tools and editors keep beside the sources, and what people keep to themselves.
      if (entry.name.startsWith('.')) continue;
      if (entry.isDirectory()) folders.push(path);
      if (!entry.isFile() || !SOURCES.has(extname(entry.name))) continue;
      const text = Object.keys(files).length < MAX_FILES ? await textOf(path, left) : undefined;
      if (text === undefined)
        throw new ConnectorError(
          'invalid_argument',
          `${root} has more than ${MAX_FILES} source files or ${MAX_BYTES / 2 ** 20} MB; bundle it into one file first, for example: npx esbuild ${join(root, 'index.ts')} --bundle --format=esm --platform=node`,
        );
      files[relative(root, path).split(sep).join('/')] = text;
      left -= Buffer.byteLength(text);
    }
  }
  if (Object.keys(files).length === 0)
    throw new ConnectorError('invalid_argument', `${root} holds no source file: ${[...SOURCES].join(' ')}`);
  return files;
}

/** A file as text; `undefined` where it is longer than `limit` bytes, which is found out before it is read. */
async function textOf(path: string, limit: number): Promise<string | undefined> {
  if ((await stat(path)).size > limit) return undefined;
  const bytes = await readFile(path);
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch {
    throw new ConnectorError('invalid_argument', `${path} is not text in UTF-8`);
  }
}
