import type { Command } from 'commander';
import { fileList } from '../../operations/file.ts';
import { type ConnectorAnswer, type CommandSession, inSession } from '../command-session.ts';
import { example } from '../help.ts';
import { table } from '../print.ts';
import type { Settings } from '../settings.ts';
import type { Terminal } from '../terminal.ts';

/** Adds the commands that show which files there are. */
export function addFileListing(files: Command, terminal: Terminal, settings: Settings): void {
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
