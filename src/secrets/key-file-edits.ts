import { ConnectorError } from '../errors/error.ts';
import { changeKeyFile, isKeyLine, newKeyText } from './key-file.ts';
import { masterKey } from './key-ring.ts';

/**
 * Puts a fresh key into a key file, right after the current one; its id. Whoever reads the file from now on can open what
 * that key seals, and seals nothing with it.
 *
 * @throws ConnectorError `invalid_state` where there is no such file, or it cannot be changed.
 */
export async function addKey(file: string): Promise<string> {
  const text = newKeyText();
  const { id } = masterKey(text, 'the new key');
  await changeKeyFile(file, (lines) => {
    const first = lines.findIndex(isKeyLine);
    return lines.toSpliced(first + 1, 0, ...blockOf(id, text));
  });
  return id;
}

/** Makes a key of the file its current one. @throws ConnectorError `not_found` where the file has no such key. */
export async function promoteKey(file: string, id: string): Promise<void> {
  await changeKeyFile(file, (lines) => {
    const { rest, text } = withoutKey(file, lines, id);
    const first = rest.findIndex(isKeyLine);
    if (first < 0) return lines;
    return rest.toSpliced(startOf(file, rest, first), 0, ...blockOf(id, text));
  });
}

/** Takes a key out of the file. @throws ConnectorError `invalid_state` for the current one, `not_found`. */
export async function dropKey(file: string, id: string): Promise<void> {
  await changeKeyFile(file, (lines) => {
    const { rest, at } = withoutKey(file, lines, id);
    if (!rest.slice(0, at).some(isKeyLine))
      throw new ConnectorError('invalid_state', `master key ${id} is the current one of ${file}`);
    return rest;
  });
}

/** The id above each key is for people: a key does not show its own. */
function blockOf(id: string, text: string): readonly string[] {
  return [`# ${id}`, text];
}

/** The lines without a key and its id, where they were, and the key. */
function withoutKey(file: string, lines: readonly string[], id: string) {
  const line = lines.findIndex((one) => isKeyLine(one) && idOf(file, one) === id);
  const text = lines[line];
  if (text === undefined)
    throw new ConnectorError('not_found', `the master key file ${file} has no key ${id.slice(0, 64)}`);
  const at = startOf(file, lines, line);
  return { rest: lines.toSpliced(at, line - at + 1), at, text };
}

/** Where the key of a line begins: at its id, where that is above it. */
function startOf(file: string, lines: readonly string[], line: number): number {
  return lines[line - 1]?.trim() === `# ${idOf(file, lines[line] ?? '')}` ? line - 1 : line;
}

function idOf(file: string, line: string): string {
  return masterKey(line.trim(), `a key of ${file}`).id;
}
