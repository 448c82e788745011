import Table from 'cli-table3';
import { once } from 'node:events';
import { isConnectorError, type ConnectorError } from '../errors/error.ts';
import { oneLine, plain, type Terminal } from './terminal.ts';

const NO_BORDERS = {
  ...Object.fromEntries(
    ['top', 'bottom', 'left', 'right', 'mid'].flatMap((side) =>
      ['', '-mid', '-left', '-right'].map((end) => [`${side}${end}`, '']),
    ),
  ),
  middle: '  ',
};

/** Writes lines to stdout, waiting where whoever reads them is slower. */
export async function print(
  { stdout }: Pick<Terminal, 'stdout'>,
  ...lines: readonly string[]
): Promise<void> {
  if (!stdout.write(lines.map((line) => `${line}\n`).join(''))) await once(stdout, 'drain');
}

/** Writes the answer of a command: as it is for programs, or what `forPeople` makes of it. */
export async function printAnswer(
  terminal: Pick<Terminal, 'stdout'>,
  json: boolean,
  value: unknown,
  forPeople: () => string | readonly string[],
): Promise<void> {
  const shown = json ? JSON.stringify(value, null, 2) : forPeople();
  await print(terminal, ...(typeof shown === 'string' ? [shown] : shown));
}

/** Writes a message to stderr. */
export function say({ stderr }: Pick<Terminal, 'stderr'>, message: string): void {
  stderr.write(`${message}\n`);
}

/** Rows under their headings, columns aligned; a cell is one line. */
export function table(headings: readonly string[], rows: readonly (readonly unknown[])[]): string {
  const made = new Table({
    head: [...headings],
    chars: NO_BORDERS,
    style: { head: [], border: [], 'padding-left': 0, 'padding-right': 0 },
  });
  made.push(...rows.map((row) => row.map(cell)));
  return made
    .toString()
    .split('\n')
    .map((line) => line.trimEnd())
    .join('\n');
}

/** Names and their values, one to a line. */
export function facts(pairs: readonly (readonly [name: string, value: unknown])[]): string {
  const shown = pairs.filter(([, value]) => value !== undefined && value !== null && value !== '');
  const width = Math.max(...shown.map(([name]) => name.length));
  return shown.map(([name, value]) => `${name.padEnd(width)}  ${cell(value)}`).join('\n');
}

/** Text in lines of at most `columns` characters, each behind `indent`; its own line ends stay. */
export function wrapped(text: string, columns: number, indent = ''): string {
  const width = Math.max(20, columns - indent.length);
  const lines = plain(text)
    .split('\n')
    .flatMap((line) => line.match(new RegExp(`.{1,${width}}(?:\\s+|$)|\\S{${width}}`, 'gu')) ?? ['']);
  return lines.map((line) => (indent + line).trimEnd()).join('\n');
}

/** Markdown as it reads on a terminal: no marks of emphasis, no links, a paragraph is a line; lists, tables and code keep theirs. */
export function readable(markdown: string): string {
  const lines: string[] = [];
  let isCode = false;
  for (const line of markdown.split('\n')) {
    const isFence = /^\s*(?:```|~~~)/.test(line);
    if (isFence) isCode = !isCode;
    if (isFence || /^\|[\s:|-]+\|$/.test(line)) continue;
    if (isCode) lines.push(`    ${line}`);
    else if (startsAnew(line, lines.at(-1) ?? '')) lines.push(withoutMarks(line));
    else lines.push(`${lines.pop() ?? ''} ${withoutMarks(line).trim()}`);
  }
  return lines.join('\n');
}

/** Whether a line of Markdown does not go on with the paragraph or list item before it. */
function startsAnew(line: string, before: string): boolean {
  return /^\s*(?:[-*+|#]\s|\d+[.)]\s|$)/.test(line) || before === '' || /^(?:\||\s{4})/.test(before);
}

function withoutMarks(line: string): string {
  const text = line.replace(/\*\*|`/g, '').replace(/\[([^\]]*)\]\([^)]*\)/g, '$1');
  return text.startsWith('|') ? text.replace(/ {2,}/g, ' ') : text;
}

/** The beginning of a text, cut between words. */
export function beginning(text: string, characters: number): string {
  if (text.length <= characters) return text;
  const end = text.lastIndexOf(' ', characters);
  return `${text.slice(0, end > 0 ? end : characters).trimEnd()} …`;
}

/** The beginning of a text on one line. */
export function excerpt(text: string, length: number): string {
  const line = oneLine(text);
  return line.length <= length ? line : `${line.slice(0, length - 1).trimEnd()}…`;
}

/** An error as one line that ends with what to do about it. */
export function errorLine(error: unknown, { command }: Pick<Terminal, 'command'>): string {
  if (!isConnectorError(error))
    return oneLine(`error: ${error instanceof Error ? error.message : String(error)}`);
  const remedy = remedyFor(error, command);
  return oneLine(`error: ${error.message}${remedy === undefined ? '' : `; ${remedy}`} (${error.code})`);
}

function remedyFor(
  { code, message, details, connectorType, retryAfterMs }: ConnectorError,
  command: string,
): string | undefined {
  if (code === 'unauthenticated') return 'set CONNECTORS_API_KEY or give --api-key';
  if (code === 'permission_denied' && !('errno' in details)) return 'use a key with the role for it';
  if (code === 'not_found' && typeof details['path'] === 'string') return `see \`${command} files ls\``;
  if (code === 'not_found' && typeof details['requestId'] === 'string')
    return `see \`${command} functions invocations\``;
  // Of a connector that is not there, no type is known.
  if (code === 'not_found' && connectorType === 'serverless') return `see \`${command} functions ls\``;
  // A file of this machine; its message says all.
  if ('errno' in details) return undefined;
  if (code === 'not_found' && message.includes('connector')) return `see \`${command} list\``;
  if (code === 'rate_limited' && retryAfterMs) return `try again in ${Math.ceil(retryAfterMs / 1000)} s`;
  return undefined;
}

function cell(value: unknown): string {
  if (value === undefined || value === null) return '-';
  if (typeof value === 'string') return oneLine(value);
  return typeof value === 'object' ? JSON.stringify(value) : String(value);
}
