import type { Command } from 'commander';
import { ConnectorError } from '../../errors/error.ts';
import { fileDelete } from '../../operations/file.ts';
import { inSession } from '../command-session.ts';
import { example } from '../help.ts';
import { addFileSync } from './file-sync.ts';
import type { Settings } from '../settings.ts';
import type { Terminal } from '../terminal.ts';
import { addFileContents } from './file-contents.ts';
import { addFileCopies } from './file-copy.ts';
import { addFileListing } from './file-listing.ts';
import { addFilePresign } from './file-presign.ts';

/** Adds the commands about files. */
export function addFileCommands(program: Command, terminal: Terminal, settings: Settings): void {
  const files = program
    .command('files')
    .summary('list, copy, sync, share and remove files')
    .description('Work with the files of a connector.');
  addFileListing(files, terminal, settings);
  addFileContents(files, terminal, settings);
  addFileCopies(files, terminal, settings);
  addFileSync(files, terminal, settings);
  addFilePresign(files, terminal, settings);

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
