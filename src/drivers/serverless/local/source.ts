import { cp, lstat, mkdir, open, readFile, stat, writeFile } from 'node:fs/promises';
import { basename, dirname, extname, join } from 'node:path';
import { ConnectorError, invalidField, type FunctionSource } from '../../../driver.ts';

export const EXTENSIONS = ['.ts', '.mts', '.js', '.mjs'] as const;
const MAX_SOURCE_BYTES = 5 * 2 ** 20;
const MAX_FILES = 1_000;
/** Of a folder of the host, which may bring `node_modules` along. */
const MAX_COPIED_FILES = 20_000;
const MAX_PATH_BYTES = 1_024;
/** What every file system takes. */
const MAX_SEGMENT_BYTES = 255;
/** One name on a path. Hidden ones are none that a function needs, and `.` and `..` are among them. */
const SEGMENT = /^[^.\\:\p{Cc}][^\\:\p{Cc}]*$/u;

/** A source that is not here yet. */
export type NewSource = Exclude<FunctionSource, { readonly version: string }>;

/**
 * Writes a source into a folder, its entry as `index`.
 *
 * @throws ConnectorError `invalid_argument` with the path of what is wrong, `payload_too_large`.
 */
export async function writeSource(folder: string, source: NewSource): Promise<void> {
  if ('files' in source) return writeFiles(folder, source.files);
  if ('code' in source) return writeCode(folder, source.code, source.filename);
  return copySource(source.path, folder);
}

async function writeCode(folder: string, code: string, filename = 'index.ts'): Promise<void> {
  if (Buffer.byteLength(code) > MAX_SOURCE_BYTES) throw tooLarge();
  await writeNew(join(folder, `index${moduleExtension(filename, 'filename')}`), code, 'filename');
}

async function writeFiles(folder: string, files: Readonly<Record<string, string>>): Promise<void> {
  const paths = Object.keys(files);
  if (paths.length > MAX_FILES) {
    throw new ConnectorError('payload_too_large', `a function has at most ${MAX_FILES} files`);
  }
  let bytes = 0;
  for (const path of paths) {
    checkPath(path, files);
    bytes += Buffer.byteLength(files[path] ?? '');
  }
  if (bytes > MAX_SOURCE_BYTES) throw tooLarge();
  const [only] = paths;
  if (only !== undefined && paths.length === 1) {
    const extension = moduleExtension(only, named(only));
    return writeNew(join(folder, `index${extension}`), files[only] ?? '', named(only));
  }
  if (!EXTENSIONS.some((extension) => Object.hasOwn(files, `index${extension}`))) {
    throw invalidField('files', `has a file index with one of ${EXTENSIONS.join(' ')}, or is a single file`);
  }
  for (const path of paths) {
    await mkdir(dirname(join(folder, path)), { recursive: true, mode: 0o700 });
    await writeNew(join(folder, path), files[path] ?? '', named(path));
  }
}

/** A path that stays within the folder on every system, of a text that is no folder for another. */
function checkPath(path: string, files: Readonly<Record<string, string>>): void {
  const segments = path.split('/');
  const isShort = (text: string, bytes: number) => Buffer.byteLength(text) <= bytes;
  if (!path.isWellFormed() || !segments.every((segment) => SEGMENT.test(segment))) {
    throw invalidField(named(path), 'is a relative path: names joined by /, none of which begins with a dot');
  }
  if (!isShort(path, MAX_PATH_BYTES) || !segments.every((segment) => isShort(segment, MAX_SEGMENT_BYTES))) {
    throw invalidField(
      named(path),
      `is at most ${MAX_PATH_BYTES} bytes long, and ${MAX_SEGMENT_BYTES} in each name`,
    );
  }
  if (typeof files[path] !== 'string') throw invalidField(named(path), 'is text');
  for (let at = path.indexOf('/'); at >= 0; at = path.indexOf('/', at + 1)) {
    const above = path.slice(0, at);
    if (Object.hasOwn(files, above)) throw invalidField(named(above), 'is a file and a folder');
  }
}

/** How an error names a file. */
function named(path: string): string {
  return `files[${JSON.stringify(path.slice(0, 200))}]`;
}

function moduleExtension(filename: string, at: string): string {
  const extension = extname(filename);
  if (EXTENSIONS.some((known) => known === extension)) return extension;
  throw invalidField(at, `ends with one of ${EXTENSIONS.join(' ')}`);
}

/** Copies a file as the index, or a folder without the links in it: what they lead to is not the function's own. */
async function copySource(from: string, folder: string): Promise<void> {
  const info = await stat(from).catch(absent);
  if (!info) throw invalidField('path', 'is a file or folder that exists');
  if (info.isFile()) {
    if (info.size > MAX_SOURCE_BYTES) throw tooLarge();
    return writeCode(folder, await readFile(from, 'utf8'), basename(from));
  }
  let files = 0;
  await cp(from, folder, {
    recursive: true,
    filter: async (path) => {
      const { isFile, isDirectory } = await kindOf(path);
      if (isFile && ++files > MAX_COPIED_FILES) {
        throw new ConnectorError('payload_too_large', `a function has at most ${MAX_COPIED_FILES} files`);
      }
      return isFile || isDirectory;
    },
  });
}

async function kindOf(path: string): Promise<{ readonly isFile: boolean; readonly isDirectory: boolean }> {
  const info = await lstat(path);
  return { isFile: info.isFile(), isDirectory: info.isDirectory() };
}

/** Only where there is none: two names may be one to this file system. */
async function writeNew(path: string, text: string, at: string): Promise<void> {
  await writeFile(path, text, { flag: 'wx', mode: 0o600 }).catch((error: NodeJS.ErrnoException) => {
    throw error.code === 'EEXIST' ? invalidField(at, 'is there twice to this file system') : error;
  });
}

/** Writes a file whose content survives a power failure. */
export async function writeDurably(path: string, text: string): Promise<void> {
  await using file = await open(path, 'w', 0o600);
  await file.writeFile(text);
  await file.sync();
}

function tooLarge(): ConnectorError {
  return new ConnectorError('payload_too_large', `the source is at most ${MAX_SOURCE_BYTES} bytes`);
}

/** For `catch`: what is not there is undefined, anything else is thrown. */
export function absent(error: NodeJS.ErrnoException): undefined {
  if (error.code !== 'ENOENT' && error.code !== 'ENOTDIR') throw error;
  return undefined;
}
