import { type Command, InvalidArgumentError } from 'commander';
import { byteSize } from '../bytes.ts';
import { inSession } from '../command-session.ts';
import { filePages, type ListedFile } from '../files/pages.ts';
import { remoteOf } from '../files/remote.ts';
import { usageOf } from '../files/usage.ts';
import { number } from '../flag-values.ts';
import { example } from '../help.ts';
import { table } from '../print.ts';
import { count } from '../progress.ts';
import type { Settings } from '../settings.ts';
import { keepMemorySteady } from '../steady-memory.ts';
import type { Terminal } from '../terminal.ts';

type ListFlags = { readonly recursive?: boolean; readonly long?: boolean };

/** Adds the commands that show which files there are. */
export function addFileListing(files: Command, terminal: Terminal, settings: Settings): void {
  files
    .command('ls <connector> [path]')
    .summary('list files')
    .description('List the files below a path, in the order of their paths.')
    .option('-r, --recursive', 'also those in folders below')
    .option('-l, --long', 'with their etags and content types, where the backend tells them')
    .addHelpText(
      'after',
      example('connectors files ls demo-files --recursive', 'connectors files ls -l notes:a/b'),
    )
    .action(
      inSession(
        terminal,
        settings,
        async (session, reference: string, path: string | undefined, flags: ListFlags) => {
          const remote = await remoteOf(session, reference, path);
          const listed: ListedFile[] = [];
          for await (const page of filePages(session, remote, flags.recursive ?? false)) listed.push(...page);
          await session.answer({ files: listed }, () =>
            listed.length === 0 ? 'no files' : flags.long ? longTable(listed) : shortTable(listed),
          );
        },
      ),
    );

  files
    .command('du <connector> [path]')
    .summary('show how much the folders hold')
    .description(
      'Count the files and bytes in each folder below a path, all folders below it included; largest first.',
    )
    .option('--depth <n>', 'folders so many levels below the path, each by itself', depth, 1)
    .addHelpText(
      'after',
      example('connectors files du demo-files', 'connectors files du notes reports --depth 2'),
    )
    .action(
      inSession(
        terminal,
        settings,
        async (session, reference: string, path: string | undefined, flags: { readonly depth: number }) => {
          const remote = await remoteOf(session, reference, path);
          keepMemorySteady();
          const usage = await usageOf(filePages(session, remote, true), remote.path, flags.depth);
          await session.answer(usage, () => {
            const rows = usage.folders.map((folder) => [
              folder.path === '' ? '(files here)' : `${folder.path}/`,
              count(folder.files),
              byteSize(folder.bytes),
              bar(usage.bytes === 0 ? 0 : folder.bytes / usage.bytes),
            ]);
            const total = ['total', count(usage.files), byteSize(usage.bytes)];
            return table(['FOLDER', 'FILES', 'SIZE', 'SHARE'], [...rows, total]);
          });
        },
      ),
    );
}

function depth(text: string): number {
  const parsed = number(text);
  if (Number.isInteger(parsed) && parsed >= 1) return parsed;
  throw new InvalidArgumentError('it is not a whole number of at least 1.');
}

function shortTable(listed: readonly ListedFile[]): string {
  return table(
    ['PATH', 'SIZE', 'MODIFIED'],
    listed.map((f) => [shownPath(f), f.is_directory ? '-' : f.size, f.last_modified]),
  );
}

function longTable(listed: readonly ListedFile[]): string {
  return table(
    ['SIZE', 'MODIFIED', 'ETAG', 'TYPE', 'PATH'],
    listed.map((f) => [
      f.is_directory ? '-' : f.size,
      f.last_modified,
      f.etag,
      f.is_directory ? 'folder' : f.content_type,
      shownPath(f),
    ]),
  );
}

function shownPath({ path, is_directory: isDirectory }: ListedFile): string {
  return isDirectory ? `${path}/` : path;
}

const BAR = 20;

function bar(share: number): string {
  const full = Math.round(share * BAR);
  return `${'█'.repeat(full)}${'░'.repeat(BAR - full)} ${Math.round(share * 100)} %`;
}
