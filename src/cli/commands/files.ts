import type { Command } from 'commander';
import { createReadStream, createWriteStream } from 'node:fs';
import { rename, rm, stat } from 'node:fs/promises';
import { basename } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { ConnectorError } from '../../errors/error.ts';
import { fileDelete, fileList, fileRead, fileWrite } from '../../operations/file.ts';
import { type ConnectorAnswer, type CommandSession, inSession } from '../command-session.ts';
import { example } from '../help.ts';
import { say, table } from '../print.ts';
import { withByteProgress } from '../progress.ts';
import type { Settings } from '../settings.ts';
import type { Terminal } from '../terminal.ts';

/** Adds the commands about files. */
export function addFileCommands(program: Command, terminal: Terminal, settings: Settings): void {
  const files = program
    .command('files')
    .summary('list, get, put and remove files')
    .description('Work with the files of a connector.');

  files
    .command('ls <connector> [path]')
    .summary('list files')
    .description('List the files below a path, in the order of their paths.')
    .option('-r, --recursive', 'also those in folders below')
    .addHelpText('after', example('connectors files ls demo-files --recursive'))
    .action(
      inSession(
        terminal,
        settings,
        async (
          session,
          reference: string,
          path: string | undefined,
          { recursive = false }: { readonly recursive?: boolean },
        ) => {
          const connector = await session.find(reference);
          const listed = await allFiles(session, connector, path ?? '/', recursive);
          await session.answer({ files: listed }, () => {
            if (listed.length === 0) return 'no files';
            return table(
              ['PATH', 'SIZE', 'MODIFIED'],
              listed.map((f) => [
                f.is_directory ? `${f.path}/` : f.path,
                f.is_directory ? '-' : f.size,
                f.last_modified,
              ]),
            );
          });
        },
      ),
    );

  files
    .command('get <connector> <path> [file]')
    .summary('read a file')
    .description('Read a file into a local one, by its own name unless told; `-` writes to stdout.')
    .addHelpText(
      'after',
      example(
        'connectors files get demo-files architecture.md -',
        'connectors files get demo-files architecture.md copy.md',
      ),
    )
    .action(
      inSession(
        terminal,
        settings,
        async (session, reference: string, path: string, given: string | undefined) => {
          const connector = await session.find(reference);
          const { size = 0, body } = await session.transport.read(fileRead, {
            input: session.inputFor({ path }, connector),
          });
          const file = given ?? basename(path);
          const { signal } = terminal;
          if (file === '-') {
            await pipeline(body, terminal.stdout, { end: false, signal });
            return;
          }
          const content = withByteProgress(terminal, { label: path, totalBytes: size }, body);
          await replaceWhole(file, content, signal);
          say(terminal, `wrote ${file}`);
        },
      ),
    );

  files
    .command('put <connector> <file> [path]')
    .summary('write a file')
    .description(
      'Write a local file, or stdin for `-`, whole or not at all. The path is the name of the file unless told.',
    )
    .option('--no-overwrite', 'fail where there is a file already')
    .addHelpText(
      'after',
      example(
        'connectors files put notes report.pdf reports/2026.pdf',
        'echo hello | connectors files put notes - hello.txt',
      ),
    )
    .action(
      inSession(
        terminal,
        settings,
        async (
          session,
          reference: string,
          file: string,
          given: string | undefined,
          { overwrite }: { readonly overwrite: boolean },
        ) => {
          if (file === '-' && given === undefined)
            throw new ConnectorError(
              'invalid_argument',
              'content from stdin needs a path: files put CONNECTOR - PATH',
            );
          const connector = await session.find(reference);
          const totalBytes = await localSize(file);
          const source = file === '-' ? terminal.stdin : createReadStream(file);
          const content = withByteProgress(terminal, { label: file, totalBytes }, source);
          const input = { path: given ?? basename(file), ...(!overwrite && { if_none_match: '*' }) };
          const answer = await session.run(fileWrite, input, { connector, content });
          await session.answer(answer, () => `wrote ${answer.path}, ${answer.size} bytes`);
        },
      ),
    );

  files
    .command('rm <connector> <path>')
    .summary('remove a file')
    .description('Remove a file. Exit code 1 where there was none.')
    .addHelpText('after', example('connectors files rm notes hello.txt'))
    .action(
      inSession(terminal, settings, async (session, reference: string, path: string) => {
        const connector = await session.find(reference);
        const answer = await session.run(fileDelete, { path }, { connector });
        if (!answer.deleted)
          throw new ConnectorError('not_found', `there is no file ${path}; nothing was removed`);
        await session.answer(answer, () => `removed ${path}`);
      }),
    );
}

/** The size of a local file; 0 for stdin. @throws ConnectorError `invalid_argument` when it cannot be read. */
export async function localSize(file: string): Promise<number> {
  if (file === '-') return 0;
  const found = await stat(file).catch(() => undefined);
  if (!found?.isFile())
    throw new ConnectorError('invalid_argument', `${file} is not a file that can be read`);
  return found.size;
}

type ListedFile = {
  readonly path: string;
  readonly size: number;
  readonly last_modified: string;
  readonly is_directory: boolean;
};

async function allFiles(
  session: CommandSession,
  connector: ConnectorAnswer,
  path: string,
  recursive: boolean,
): Promise<readonly ListedFile[]> {
  const listed: ListedFile[] = [];
  for (let cursor: string | undefined; ;) {
    const page = await session.run(fileList, { path, recursive, cursor }, { connector });
    listed.push(...page.files);
    if (page.next_cursor === undefined) return listed;
    cursor = page.next_cursor;
  }
}

/** Writes beside the file and renames, so that an interrupted read leaves what was there. */
export async function replaceWhole(
  file: string,
  content: AsyncIterable<Uint8Array>,
  signal: AbortSignal,
): Promise<void> {
  const partial = `${file}.part-${process.pid}`;
  try {
    await pipeline(content, createWriteStream(partial, { flags: 'wx', flush: true }), { signal });
    await rename(partial, file);
  } catch (error) {
    await rm(partial, { force: true });
    throw error;
  }
}
