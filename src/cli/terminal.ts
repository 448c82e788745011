import type { Readable, Writable } from 'node:stream';

/** What a command reads from and writes to; a test hands over its own. */
export type Terminal = {
  readonly stdin: Readable;
  /** The answer alone. */
  readonly stdout: Writable;
  /** Everything else: messages, progress, errors. */
  readonly stderr: Writable;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Whether a person watches stderr. */
  readonly isTty: boolean;
  /** Characters in a line. */
  readonly columns: number;
  /** How the command is called here, for the commands that messages suggest. */
  readonly command: string;
  /** What followed it. */
  readonly args: readonly string[];
  /** Aborted by Ctrl-C. */
  readonly signal: AbortSignal;
};

/** The text without what would move a cursor, change colours or forge lines: names and contents come from others. */
export function plain(text: string): string {
  return text.replace(/[^\P{Cc}\n\t]|[\u202A-\u202E\u2066-\u2069]/gu, '\uFFFD');
}

/** The same on one line. */
export function oneLine(text: string): string {
  return plain(text).replace(/\s+/g, ' ').trim();
}

/** The text as one word of a POSIX shell. */
export function shellWord(text: string): string {
  return /^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`;
}
