import { randomUUID } from 'node:crypto';
import { lstat, mkdir, open, readdir, readFile, realpath, rename, rm, stat } from 'node:fs/promises';
import { basename, extname, join } from 'node:path';
import { z } from 'zod';
import { ConnectorError, invalidField } from '../../../driver.ts';
import { inputOf, isWithin, type FunctionFiles, type Input } from './bundle.ts';
import { absent, EXTENSIONS, writeDurably, writeSource, type NewSource } from './source.ts';

const NAME = /^[A-Za-z0-9_-]{1,64}$/;
/** Versions of a function that can run again. */
const MAX_VERSIONS = 10;

// A UUID is what versions were named before they were counted.
const version = z.string().regex(/^(?:[1-9]\d{0,8}|[0-9a-f-]{36})$/);
const pointerFile = z.object({ version, versions: z.array(version).optional() });

/** Which version of a deployed function runs, and which can, newest first. */
type Deployed = { readonly version: string; readonly versions: readonly string[] };
/** Absent versions: put in by hand. */
export type Listed = { readonly name: string; readonly lastModified: Date } & Partial<Deployed>;
/** A function as it is now. */
export type Found = FunctionFiles & {
  /** The file that says which version runs, or that there is none: the function is another one once it changes. */
  readonly pointer: Input;
  readonly deployed?: Deployed;
};
export type Staged = { readonly version: string; readonly files: FunctionFiles };

/**
 * The folder that holds a connector's functions.
 *
 * A deployed function has a folder for each version below `.versions/<name>/`, and `<name>.json` says which one runs and
 * which are kept: replacing that one file is atomic, so that a crash leaves the old function or the new one. A function
 * may also be put in by hand as `<name>.ts`, `.mts`, `.js`, `.mjs`, or as a folder `<name>` with an `index` file; a
 * deployed one goes before it.
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
    const found = await Promise.all([...names].map((name) => this.describe(name)));
    return found.filter((listed) => listed !== undefined);
  }

  async describe(name: string): Promise<Listed | undefined> {
    const found = await this.find(name);
    if (!found) return undefined;
    return { name, lastModified: (await stat(found.entry)).mtime, ...found.deployed };
  }

  /** The files of the function as they are now; undefined where there is none. */
  async find(name: string): Promise<Found | undefined> {
    if (!NAME.test(name)) return undefined;
    const pointer = inputOf(this.#pointer(name));
    const deployed = await this.#deployed(name);
    const files = deployed
      ? await inFolder(join(this.#versions(name), deployed.version))
      : ((await inFolder(join(this.root, name))) ?? (await asFile(join(this.root, name))));
    return files && { ...files, pointer, ...(deployed && { deployed }) };
  }

  /** The files of a version that is kept. @throws ConnectorError `not_found` naming those that are. */
  async kept(name: string, wanted: string): Promise<FunctionFiles> {
    const { deployed } = (await this.find(name)) ?? { deployed: undefined };
    const versions = deployed?.versions ?? [];
    const files = versions.includes(wanted) ? await inFolder(join(this.#versions(name), wanted)) : undefined;
    if (files) return files;
    const kept = versions.length > 0 ? `it keeps ${versions.join(', ')}` : 'it keeps none';
    throw new ConnectorError('not_found', `function ${name} has no version ${wanted.slice(0, 64)}; ${kept}`, {
      details: { versions },
    });
  }

  /** Puts a source beside the version that runs; nothing is replaced until {@link activate}. */
  async stage(name: string, source: NewSource): Promise<Staged> {
    const version = await this.#allot(name);
    const folder = join(this.#versions(name), version);
    try {
      await writeSource(folder, source);
      const files = await inFolder(folder);
      if (!files) throw invalidField('source', `has a file index with one of ${EXTENSIONS.join(' ')}`);
      await syncTree(folder);
      await syncFolder(this.#versions(name));
      return { version, files };
    } catch (error) {
      await this.discard(name, version);
      throw error;
    }
  }

  /** Makes a staged or a kept version the one that runs, durably. */
  async activate(name: string, version: string): Promise<void> {
    const kept = (await this.#deployed(name))?.versions ?? [];
    const versions = kept.includes(version) ? kept : [version, ...kept].slice(0, MAX_VERSIONS);
    const temporary = join(this.root, `.${name}-${randomUUID()}`);
    await writeDurably(temporary, `${JSON.stringify({ version, versions })}\n`);
    await rename(temporary, this.#pointer(name));
    await syncFolder(this.root);
  }

  /** Removes what is no longer kept, and what an interrupted deploy left; not one that is being staged, which is newer. */
  async prune(name: string): Promise<void> {
    const deployed = await this.#deployed(name);
    if (!deployed) return;
    const newest = Math.max(...deployed.versions.map(numberOf));
    const folders = await readdir(this.#versions(name));
    const stale = folders.filter(
      (folder) => !deployed.versions.includes(folder) && numberOf(folder) < newest,
    );
    await Promise.all(stale.map((folder) => this.discard(name, folder)));
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

  /** A new version's folder, empty, with a number above all that are there. */
  async #allot(name: string): Promise<string> {
    const folder = this.#versions(name);
    await mkdir(folder, { recursive: true, mode: 0o700 });
    const taken = [...(await readdir(folder)), ...((await this.#deployed(name))?.versions ?? [])];
    for (let number = Math.max(0, ...taken.map(numberOf)) + 1; ; number++) {
      try {
        await mkdir(join(folder, String(number)), { mode: 0o700 });
        return String(number);
      } catch (error) {
        // Another client of this folder has just taken it.
        if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
      }
    }
  }

  async #deployed(name: string): Promise<Deployed | undefined> {
    const text = await readFile(this.#pointer(name), 'utf8').catch(absent);
    if (text === undefined) return undefined;
    const read = pointerFile.safeParse(jsonIn(text));
    if (!read.success) return undefined;
    const { version, versions = [version] } = read.data;
    return { version, versions };
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

/** 0 for a version from before they were counted, and for whatever is none. */
function numberOf(version: string): number {
  return /^\d+$/.test(version) ? Number(version) : 0;
}

function jsonIn(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
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
