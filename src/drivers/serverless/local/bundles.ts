import { createHash, randomUUID } from 'node:crypto';
import { mkdir, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { ConnectorError, type Log } from '../../../driver.ts';
import { BuildError, bundle, inputOf, type Bundle, type Input } from './bundle.ts';
import type { Found, FunctionFolder } from './folder.ts';

const manifest = z.object({
  entry: z.string(),
  hash: z.string().regex(/^[0-9a-f]{64}$/),
  inputs: z.array(z.object({ path: z.string(), size: z.string(), mtimeNs: z.string() })),
});

/** A bundle and which file it is of: another version of the function is another file, though both are there. */
type Held = Bundle & { readonly entry: string };

/**
 * The bundles of a connector's functions: in memory, and in a folder that survives a restart, so that a cold start
 * compiles nothing. A bundle is made anew at the next call after one of its files changed; when the changed function
 * does not build, the old bundle goes on serving.
 */
export class Bundles {
  readonly #folder: FunctionFolder;
  readonly #cache: string;
  readonly #log: Log;
  readonly #held = new Map<string, Held>();
  readonly #making = new Map<string, Promise<Held>>();

  constructor(folder: FunctionFolder, cache: string, log: Log) {
    this.#folder = folder;
    this.#cache = cache;
    this.#log = log;
  }

  /** The bundle of the function as its files are now. @throws ConnectorError `not_found`, or `invalid_argument` when none ever built. */
  async get(name: string): Promise<Bundle> {
    const held = this.#held.get(name);
    if (held && isFresh(held.inputs)) return held;
    const making = this.#making.get(name) ?? this.#make(name, held).finally(() => this.#making.delete(name));
    this.#making.set(name, making);
    return making;
  }

  /** Takes the bundle of a function that was just deployed. */
  async put(name: string, files: Found, made: Bundle): Promise<void> {
    const held = heldOf(files, made);
    this.#held.set(name, held);
    await this.#store(name, held);
  }

  async forget(name: string): Promise<void> {
    this.#held.delete(name);
    await this.#removeStored(name, undefined);
  }

  async #make(name: string, held: Held | undefined): Promise<Held> {
    const files = await this.#folder.find(name);
    if (!files) {
      this.#held.delete(name);
      throw new ConnectorError('not_found', `no function is named ${name}`);
    }
    const old = held ?? (await this.#stored(name));
    const isCurrent = old && old !== held && old.entry === files.entry && isFresh(old.inputs);
    const current = isCurrent ? old : await this.#build(name, files, old);
    this.#held.set(name, current);
    return current;
  }

  async #build(name: string, files: Found, old: Held | undefined): Promise<Held> {
    try {
      const made = heldOf(files, await bundle(files));
      await this.#store(name, made);
      return made;
    } catch (error) {
      // A deployed version built before it ran: where it no longer does, another one must not run in its place.
      if (!old || files.deployed || !(error instanceof BuildError)) throw error;
      this.#log.warn(`function ${name} was changed and does not build; the one before goes on serving`, {
        error: error.message,
      });
      // Not tried again until one of the files that it was read from changes.
      return heldOf(files, { ...old, inputs: error.inputs });
    }
  }

  /** What an earlier process left; undefined where it is missing or is not what its hash says. */
  async #stored(name: string): Promise<Held | undefined> {
    try {
      const { entry, hash, inputs } = manifest.parse(
        JSON.parse(await readFile(join(this.#cache, `${name}.json`), 'utf8')),
      );
      const code = await readFile(join(this.#cache, `${name}.${hash}.mjs`), 'utf8');
      return createHash('sha256').update(code).digest('hex') === hash
        ? { entry, code, hash, inputs }
        : undefined;
    } catch {
      return undefined;
    }
  }

  /** Without this file the function is compiled again, so a cache that cannot be written is no reason to refuse a call. */
  async #store(name: string, { entry, code, hash, inputs }: Held): Promise<void> {
    try {
      await mkdir(this.#cache, { recursive: true, mode: 0o700 });
      await this.#write(`${name}.${hash}.mjs`, code);
      await this.#write(`${name}.json`, JSON.stringify({ entry, hash, inputs }));
      await this.#removeStored(name, hash);
    } catch (error) {
      this.#log.warn(`the bundle of function ${name} could not be kept`, { error: String(error) });
    }
  }

  async #write(file: string, text: string): Promise<void> {
    const temporary = join(this.#cache, `.${randomUUID()}`);
    await writeFile(temporary, text, { mode: 0o600 });
    await rename(temporary, join(this.#cache, file));
  }

  async #removeStored(name: string, hash: string | undefined): Promise<void> {
    const kept = hash === undefined ? [] : [`${name}.json`, `${name}.${hash}.mjs`];
    const files = await readdir(this.#cache).catch(() => []);
    const stale = files.filter((file) => file.startsWith(`${name}.`) && !kept.includes(file));
    await Promise.all(stale.map((file) => rm(join(this.#cache, file), { force: true })));
  }
}

/** The bundle with the file that says which version runs among what it was made of. */
function heldOf({ entry, pointer }: Found, { code, hash, inputs }: Bundle): Held {
  return { entry, code, hash, inputs: [pointer, ...inputs] };
}

function isFresh(inputs: readonly Input[]): boolean {
  return inputs.every(({ path, size, mtimeNs }) => {
    const now = inputOf(path);
    return now.mtimeNs === mtimeNs && now.size === size;
  });
}
