import type { Command } from 'commander';
import { basename } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { ConnectorError } from '../../errors/error.ts';
import { fileRead, fileWrite } from '../../operations/file.ts';
import { inSession } from '../command-session.ts';
import { example } from '../help.ts';
import { localSize, replaceWhole } from '../local-file.ts';
import { say } from '../print.ts';
import { withByteProgress } from '../progress.ts';
import type { Settings } from '../settings.ts';
import type { Terminal } from '../terminal.ts';
import { textOrBase64 } from '../files/content.ts';
import { consumed, openLocal } from '../files/opened.ts';
import { namedFile, remoteOf } from '../files/remote.ts';

/** Adds the commands that move the content of one file. */
export function addFileContents(files: Command, terminal: Terminal, settings: Settings): void {
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
          const source = file === '-' ? terminal.stdin : (await openLocal(file, { followLinks: true })).body;
          const input = { path: given ?? basename(file), ...(!overwrite && { if_none_match: '*' }) };
          const answer = await consumed(source, (body) => {
            const content = withByteProgress(terminal, { label: file, totalBytes }, body);
            return session.run(fileWrite, input, { connector, content });
          });
          await session.answer(answer, () => `wrote ${answer.path}, ${answer.size} bytes`);
        },
      ),
    );

  files
    .command('cat <connector> [path]')
    .summary('print a file')
    .description('Write a file to stdout as it is; with --json as text, or in base64 where it is none.')
    .addHelpText(
      'after',
      example('connectors files cat demo-files architecture.md', 'connectors files cat notes:a/b.txt'),
    )
    .action(
      inSession(terminal, settings, async (session, reference: string, given: string | undefined) => {
        const remote = await remoteOf(session, reference, given);
        const path = namedFile(remote);
        const input = session.inputFor({ path }, remote.connector);
        const { size, body, contentType } = await session.transport.read(fileRead, { input });
        if (!session.json) return pipeline(body, terminal.stdout, { end: false, signal: terminal.signal });
        const content = await textOrBase64(body);
        await session.answer({ path, size, content_type: contentType, ...content }, () => []);
      }),
    );
}
