import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { opendir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { ConnectorError } from '../errors/error.ts';

const EXTENSIONS = /\.(?:md|markdown|mdx|txt|text|rst|adoc|org)$/i;
const IGNORED_FOLDERS = new Set(['node_modules', 'dist', 'build', 'target', 'vendor']);
const MAX_FILES = 10_000;
/** Larger files are logs and dumps more often than text that somebody wrote. */
const MAX_BYTES = 8 * 1024 * 1024;

/** A file on this machine that the walk takes up. */
export type SourceFile = {
  /** Below the folder, separated by `/`. */
  readonly path: string;
  readonly absolute: string;
  readonly size: number;
};

/**
 * The text files below a folder, sorted by path; hidden ones, links and folders of dependencies are left out.
 *
 * @throws ConnectorError `invalid_argument` where there is no such folder, no text in it, or more than 10,000 files.
 */
export async function sourceFiles(folder: string): Promise<readonly SourceFile[]> {
  const found: SourceFile[] = [];
  for await (const file of walk(folder, '')) {
    found.push(file);
    if (found.length > MAX_FILES)
      throw new ConnectorError(
        'invalid_argument',
        `the folder ${folder} holds more than ${MAX_FILES} text files; name a smaller one`,
      );
  }
  if (found.length === 0)
    throw new ConnectorError(
      'invalid_argument',
      `the folder ${folder} holds no text; the walk reads .md, .markdown, .txt, .rst, .adoc and .org`,
    );
  return found.sort((a, b) => (a.path < b.path ? -1 : 1));
}

async function* walk(folder: string, prefix: string): AsyncGenerator<SourceFile> {
  for await (const entry of await opened(folder)) {
    const path = prefix + entry.name;
    const absolute = join(folder, entry.name);
    if (entry.name.startsWith('.')) continue;
    if (entry.isDirectory() && !IGNORED_FOLDERS.has(entry.name)) yield* walk(absolute, `${path}/`);
    if (!entry.isFile() || !EXTENSIONS.test(entry.name)) continue;
    const { size } = await stat(absolute);
    if (size <= MAX_BYTES) yield { path, absolute, size };
  }
}

async function opened(folder: string) {
  try {
    return await opendir(folder);
  } catch (cause) {
    throw new ConnectorError('invalid_argument', `${folder} is not a folder that can be read`, { cause });
  }
}

/** The SHA-256 of a file's bytes, in hex. */
export async function contentHash({ absolute }: SourceFile): Promise<string> {
  const hash = createHash('sha256');
  for await (const chunk of createReadStream(absolute)) hash.update(chunk);
  return hash.digest('hex');
}
