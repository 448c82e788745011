import { access, mkdir } from 'node:fs/promises';
import { Contents } from './contents.ts';
import { processRoom } from './room.ts';

/** Contents in this process, and the folder whose removal with its connector ends them. */
type Kept = { readonly contents: Contents; readonly folder: string; clients: number; isMarked: boolean };

const kept = new Map<string, Kept>();

/** Contents that a client uses until it lets go of them. */
export type Held = {
  readonly contents: Contents;
  /** Makes sure that the connector's folder is there. Called before anything is kept. */
  mark(): Promise<void>;
  /** Contents in which there is nothing go with their last client. */
  letGo(): void;
};

/**
 * The contents of a connector, which outlive its clients: those that a closed client left are there for the next one.
 *
 * A driver is not told when a connector is removed. Its folder is removed with it, so contents whose folder was made and
 * is gone are forgotten, at the next opening of any connector of this driver, or where room is needed.
 */
export async function hold(connectorId: string, folder: string, nowMs: number): Promise<Held> {
  await forgetRemoved();
  // Two registries in one process may each have a connector of that id.
  const key = JSON.stringify([connectorId, folder]);
  const own = kept.get(key) ?? {
    contents: new Contents(nowMs, processRoom),
    folder,
    clients: 0,
    isMarked: false,
  };
  kept.set(key, own);
  own.clients += 1;
  let isHeld = true;
  return {
    contents: own.contents,
    async mark() {
      if (own.isMarked) return;
      await mkdir(folder, { recursive: true, mode: 0o700 });
      own.isMarked = true;
    },
    letGo() {
      if (!isHeld) return;
      isHeld = false;
      own.clients -= 1;
      if (own.clients === 0 && own.contents.isEmpty && kept.get(key) === own) kept.delete(key);
    },
  };
}

/** Forgets the contents of connectors that were removed. */
export async function forgetRemoved(): Promise<void> {
  const marked = [...kept].filter(([, { isMarked }]) => isMarked);
  await Promise.all(
    marked.map(async ([key, own]) => {
      const isThere = await access(own.folder).then(
        () => true,
        (error: NodeJS.ErrnoException) => error.code !== 'ENOENT',
      );
      if (isThere || kept.get(key) !== own) return;
      kept.delete(key);
      own.contents.forget();
    }),
  );
}
