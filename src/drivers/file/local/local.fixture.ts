import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { onTestFinished } from 'vitest';
import type { FileClient } from '../../../driver.ts';
import { openLocal } from './client.ts';
import type { Confinement } from './folder.ts';
import { isTemporary } from './temporary.ts';

export const silent = { debug: () => {}, info: () => {}, warn: () => {}, error: () => {} };
export const signal: AbortSignal = new AbortController().signal;

/** A folder that goes away with the test, holding `outside/` and the folder of a client, `root/`. */
export async function temporaryFolder(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'file-local-'));
  onTestFinished(() => rm(folder, { recursive: true, force: true }));
  return folder;
}

/** A client over `folder`, closed with the test. */
export async function clientOver(folder: string, confinement?: Confinement): Promise<FileClient> {
  const client = await openLocal({}, { folder, log: silent }, confinement);
  onTestFinished(() => client.close());
  return client;
}

/** Every unfinished write below a folder. */
export async function litterBelow(folder: string): Promise<readonly string[]> {
  return (await treeOf(folder)).filter((path) => isTemporary(path.slice(path.lastIndexOf('/') + 1)));
}

/** The paths of all that lies below a folder, sorted. Follows no link, which `recursive` of `readdir` does. */
export async function treeOf(folder: string): Promise<readonly string[]> {
  const entries = await readdir(folder, { withFileTypes: true });
  const paths = entries.map(async (entry) => {
    const below = entry.isDirectory() ? await treeOf(join(folder, entry.name)) : [];
    return [entry.name, ...below.map((path) => `${entry.name}/${path}`)];
  });
  return (await Promise.all(paths)).flat().sort();
}

export async function readText(client: FileClient, path: string): Promise<string> {
  return Buffer.from(await client.readBytes(path, undefined, signal)).toString();
}
