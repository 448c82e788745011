import { randomUUID } from 'node:crypto';
import { cp, lstat, mkdir, open, readdir, readFile, realpath, rename, rm, stat } from 'node:fs/promises';
import { basename, extname, join } from 'node:path';
import { ConnectorError, invalidField, type FunctionSource } from '../../../driver.ts';
import { isWithin, type FunctionFiles } from './bundle.ts';

const EXTENSIONS = ['.ts', '.mts', '.js', '.mjs'] as const;
const NAME = /^[A-Za-z0-9_-]{1,64}$/;
const MAX_CODE_BYTES = 5 * 2 ** 20;
const MAX_FILES = 20_000;

export type Listed = { readonly name: string; readonly lastModified: Date };

/**
 * The folder that holds a connector's functions.
 *
 * A deployed function is a folder of its own below `.versions/<name>/`, and `<name>.json` says which one runs: replacing
 * that one file is atomic, so that a crash leaves the old function or the new one. A function may also be put in by hand
 * as `<name>.ts`, `.mts`, `.js`, `.mjs`, or as a folder `<name>` with an `index` file; a deployed one goes before it.
 */
export class FunctionFolder {
  readonly root: string;

  constructor(root: string) {
    this.root = root;
  }

  /** The folder, made where it is missing. */
  static async open(root: string): Promise<FunctionFolder> {
    await mkdir(root, { recursive: true, mode: 0o700 });
    return new FunctionFolder(await realpath(root));
  }

  async list(): Promise<readonly Listed[]> {
    const entries = await readdir(this.root);
    const names = new Set(
      entries.map((entry) => basename(entry, extname(entry))).filter((name) => NAME.test(name)),
    );
    const found = await Promise.all(
      [...names].map(async (name) => {
        const files = await this.find(name);
        return files && { name, lastModified: (await stat(files.entry)).mtime };
      }),
    );
    return found.filter((listed) => listed !== undefined);
  }

  /** The files of the function as they are now; undefined where there is none. */
  async find(name: string): Promise<FunctionFiles | undefined> {
    if (!NAME.test(name)) return undefined;
    const version = await this.#deployed(name);
    if (version !== undefined) return inFolder(join(this.#versions(name), version));
    return (await inFolder(join(this.root, name))) ?? asFile(join(this.root, name));
  }

  /** Puts a source beside the one that runs; nothing is replaced until {@link activate}. */
  async stage(
    name: string,
    source: FunctionSource,
  ): Promise<{ readonly version: string; readonly files: FunctionFiles }> {
    const version = randomUUID();
    const folder = join(this.#versions(name), version);
    await mkdir(folder, { recursive: true, mode: 0o700 });
    try {
      if ('files' in source || 'version' in source) throw invalidField('source', 'is code or a path');
      await ('code' in source
        ? writeCode(folder, source.code, source.filename)
        : copySource(source.path, folder));
      const files = await inFolder(folder);
      if (!files) throw invalidField('source', `has a file index with one of ${EXTENSIONS.join(' ')}`);
      await syncTree(folder);
      return { version, files };
    } catch (error) {
      await rm(folder, { recursive: true, force: true });
      throw error;
    }
  }

  /** Makes a staged version the one that runs, durably, and removes the others. */
  async activate(name: string, version: string): Promise<void> {
    await syncFolder(this.#versions(name));
    const temporary = join(this.root, `.${name}-${randomUUID()}`);
    await writeDurably(temporary, `${JSON.stringify({ version })}\n`);
    await rename(temporary, this.#pointer(name));
    await syncFolder(this.root);
    const versions = await readdir(this.#versions(name));
    await Promise.all(
      versions.filter((other) => other !== version).map((other) => this.discard(name, other)),
    );
  }

  async discard(name: string, version: string): Promise<void> {
    await rm(join(this.#versions(name), version), { recursive: true, force: true });
  }

  /** Removes the function in whichever form it is there. False where there was none. */
  async remove(name: string): Promise<boolean> {
    const existed = (await this.find(name)) !== undefined;
    await rm(this.#pointer(name), { force: true });
    await syncFolder(this.root);
    const forms = [this.#versions(name), join(this.root, name)];
    for (const extension of EXTENSIONS) forms.push(join(this.root, name + extension));
    await Promise.all(forms.map((path) => rm(path, { recursive: true, force: true })));
    return existed;
  }

  async #deployed(name: string): Promise<string | undefined> {
    const text = await readFile(this.#pointer(name), 'utf8').catch(absent);
    const version =
      text === undefined ? undefined : /^\{"version":"([0-9a-f-]{36})"\}$/.exec(text.trim())?.[1];
    return version;
  }

  #pointer(name: string): string {
    return join(this.root, `${name}.json`);
  }

  #versions(name: string): string {
    return join(this.root, '.versions', name);
  }
}

/** Other platforms have names that are no name of a file here. @throws ConnectorError `invalid_argument`. */
export function checkName(name: string): void {
  if (!NAME.test(name)) throw invalidField('name', 'is 1 to 64 letters, digits, _ or - here');
}

async function inFolder(folder: string): Promise<FunctionFiles | undefined> {
  const info = await lstat(folder).catch(absent);
  if (!info?.isDirectory()) return undefined;
  for (const extension of EXTENSIONS) {
    const entry = await realpath(join(folder, `index${extension}`)).catch(absent);
    if (entry !== undefined && isWithin(folder, entry)) return { entry, within: folder };
  }
  return undefined;
}

async function asFile(path: string): Promise<FunctionFiles | undefined> {
  for (const extension of EXTENSIONS) {
    const entry = path + extension;
    if ((await lstat(entry).catch(absent))?.isFile()) return { entry, within: entry };
  }
  return undefined;
}

function absent(error: NodeJS.ErrnoException): undefined {
  if (error.code !== 'ENOENT' && error.code !== 'ENOTDIR') throw error;
  return undefined;
}

async function writeCode(folder: string, code: string, filename = 'index.ts'): Promise<void> {
  if (Buffer.byteLength(code) > MAX_CODE_BYTES) {
    throw new ConnectorError('payload_too_large', `the source is at most ${MAX_CODE_BYTES} bytes`);
  }
  const extension = extname(filename);
  if (!EXTENSIONS.some((known) => known === extension)) {
    throw invalidField('source.filename', `ends with one of ${EXTENSIONS.join(' ')}`);
  }
  await writeDurably(join(folder, `index${extension}`), code);
}

/** Copies a file as the index, or a folder without the links in it: what they lead to is not the function's own. */
async function copySource(from: string, folder: string): Promise<void> {
  const info = await stat(from).catch(absent);
  if (!info) throw invalidField('source.path', 'is a file or folder that exists');
  if (info.isFile()) return writeCode(folder, await readFile(from, 'utf8'), basename(from));
  let files = 0;
  await cp(from, folder, {
    recursive: true,
    filter: async (path) => {
      const { isFile, isDirectory } = await kindOf(path);
      if (isFile && ++files > MAX_FILES) {
        throw new ConnectorError('payload_too_large', `a function has at most ${MAX_FILES} files`);
      }
      return isFile || isDirectory;
    },
  });
}

async function kindOf(path: string): Promise<{ readonly isFile: boolean; readonly isDirectory: boolean }> {
  const info = await lstat(path);
  return { isFile: info.isFile(), isDirectory: info.isDirectory() };
}

async function writeDurably(path: string, text: string): Promise<void> {
  await using file = await open(path, 'w', 0o600);
  await file.writeFile(text);
  await file.sync();
}

async function syncTree(folder: string): Promise<void> {
  for (const entry of await readdir(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name);
    await (entry.isDirectory() ? syncTree(path) : syncFolder(path));
  }
  await syncFolder(folder);
}

async function syncFolder(path: string): Promise<void> {
  await using handle = await open(path, 'r');
  await handle.sync();
}
