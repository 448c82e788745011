import { createHash } from 'node:crypto';
import { mkdir, open, readFile, rename, rm } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';
import type { z } from 'zod';
import { say } from './print.ts';
import type { Settings } from './settings.ts';
import type { Terminal } from './terminal.ts';

/** Work that a later run of the same command goes on with: how far it is stands in one small file. */
export type Job<State> = {
  /** Where an earlier run stopped. */
  readonly left: State | undefined;
  /** Durable when it resolves; where the disk refuses, a person is told once and the work goes on. */
  save(state: State): Promise<void>;
  /** Nothing is left to go on with. */
  end(): Promise<void>;
};

/** The folder of the files that say how far interrupted commands are. */
export function stateFolder({ CONNECTORS_STATE_DIR, XDG_STATE_HOME }: Settings): string {
  return CONNECTORS_STATE_DIR ?? join(XDG_STATE_HOME ?? join(homedir(), '.local', 'state'), 'connectors');
}

/**
 * The job that these words name, such as `import`, a connector's id and a file.
 *
 * A file that cannot be read as `schema` says is as none: it is of another version, or half of one.
 */
export async function openJob<State>(
  terminal: Pick<Terminal, 'stderr'>,
  folder: string,
  { names, schema }: { readonly names: readonly [string, ...string[]]; readonly schema: z.ZodType<State> },
): Promise<Job<State>> {
  const digest = createHash('sha256').update(JSON.stringify(names)).digest('hex').slice(0, 32);
  const file = join(folder, `${names[0]}-${digest}.json`);
  let told = false;
  return {
    left: await stored(file, schema),
    async save(state) {
      try {
        await mkdir(folder, { recursive: true, mode: 0o700 });
        await replace(file, JSON.stringify(state));
      } catch (error) {
        if (!told)
          say(terminal, `${folder} cannot be written, so an interruption begins anew: ${reason(error)}`);
        told = true;
      }
    },
    end: () => rm(file, { force: true }).catch(() => {}),
  };
}

async function stored<State>(file: string, schema: z.ZodType<State>): Promise<State | undefined> {
  try {
    return schema.safeParse(JSON.parse(await readFile(file, 'utf8'))).data;
  } catch {
    return undefined;
  }
}

async function replace(file: string, content: string): Promise<void> {
  const partial = `${file}.${process.pid}`;
  const handle = await open(partial, 'w', 0o600);
  try {
    await handle.writeFile(content);
    await handle.sync();
  } finally {
    await handle.close();
  }
  await rename(partial, file);
}

function reason(error: unknown): string {
  return error instanceof Error && 'code' in error ? String(error.code) : String(error);
}
