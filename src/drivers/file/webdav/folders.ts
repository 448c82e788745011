import { fileInTheWay, refused } from './errors.ts';
import { look, type Server } from './resources.ts';
import { parentOf } from './root.ts';
import type { Turns } from './turns.ts';
import { change } from './verbs.ts';

/** A server, and what waits for what on it. */
export type Place = { readonly server: Server; readonly turns: Turns };

/** Makes sure that there is a folder, and answers whether it was missing. */
export async function requireFolder(place: Place, path: string, signal: AbortSignal): Promise<boolean> {
  const there = await look(place.server, path, signal);
  if (there === undefined) await makeFolder(place, path, signal);
  else if (!there.isCollection) throw fileInTheWay();
  return there === undefined;
}

/**
 * Makes a folder and those that it lies in, as far as they are missing.
 *
 * @throws ConnectorError `already_exists` where a file has the name of one.
 */
export async function makeFolder(place: Place, path: string, signal: AbortSignal): Promise<void> {
  if (path === '') return;
  const { server, turns } = place;
  // One at a time: servers lock a folder while it is made, and many writers often need the same.
  await turns.take(`folder ${path}`, signal, async () => {
    let answer = await change(server, 'MKCOL', path, signal);
    if (answer.statusCode === 409 || answer.statusCode === 404) {
      await makeFolder(place, parentOf(path), signal);
      answer = await change(server, 'MKCOL', path, signal);
    }
    if (answer.statusCode === 201) return;
    // Whatever the reason, it does not matter where the folder is there: another may have made it meanwhile.
    const there = await look(server, path, signal);
    if (there?.isCollection) return;
    if (there !== undefined) throw fileInTheWay();
    // Servers say in many ways that a file is where a folder would have to be.
    if (path.includes('/')) await requireFolder(place, parentOf(path), signal);
    throw refused('MKCOL', answer, server.http.clock);
  });
}
