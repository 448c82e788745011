import type { Command } from 'commander';
import { ConnectorError } from '../../errors/error.ts';
import { tourOf } from '../../tour/folder-tour.ts';
import { DEMO_TENANT, type TourNames } from '../../tour/names.ts';
import { type Walked, walk } from '../../tour/walk.ts';
import { globalOptions, targetFor } from '../command-session.ts';
import { example } from '../help.ts';
import { print } from '../print.ts';
import type { Settings } from '../settings.ts';
import { openRegistry } from '../target.ts';
import { shellWord, type Terminal } from '../terminal.ts';
import { tourRecorder, tourView } from '../tour-view.ts';

/** Adds the guided walk. */
export function addTourCommand(program: Command, terminal: Terminal, settings: Settings): void {
  program
    .command('tour [folder]')
    .summary('walk a tenant through the whole product over a folder of text')
    .description(
      "Write a folder of text or Markdown through a file connector (the project's own docs unless one is named), " +
        'turn its passages into vectors by feature hashing, ask three questions, deploy and invoke a function. ' +
        'It works on the data directory, so no server may be running on it. Walking again does only what is new.',
    )
    .addHelpText('after', example('connectors tour', 'connectors tour ~/notes --tenant me'))
    .action(async (folder: string | undefined, _flags: unknown, command: Command) => {
      const { tenant = DEMO_TENANT, json = false, url, dataDir } = globalOptions(command, settings);
      if (url !== undefined)
        throw new ConnectorError(
          'unsupported',
          'the tour works on the data directory; leave out --url and stop the server',
        );
      await using registry = await openRegistry(targetFor(command, settings), terminal, {
        needsDirectory: true,
      });
      const tour = await tourOf(registry.forTenant(tenant, { admin: true }), folder);
      const recorder = json ? tourRecorder(terminal) : undefined;
      if (!recorder) await print(terminal, `A walk of tenant ${tenant} through ${tour.folder}`, '');
      const walked = await walk(tour, recorder ?? tourView(terminal), terminal.signal);
      if (recorder) await print(terminal, JSON.stringify({ tenant_id: tenant, ...recorder.report }, null, 2));
      else
        await print(
          terminal,
          '',
          'Try next',
          ...nextCommands(terminal, { tenant, dataDir, names: tour.names, ...walked }),
        );
    });
}

type Next = Partial<Walked> & {
  readonly tenant: string;
  readonly names: TourNames;
  /** The data directory, where a flag named it. */
  readonly dataDir?: string | undefined;
};

/** Three commands that work as they are printed. */
export function nextCommands(
  { command }: Terminal,
  { tenant, names, dataDir, question = 'How do I rotate the master key?', hasFunctions = true }: Next,
): readonly string[] {
  const flags = [
    ...(dataDir === undefined ? [] : ['--data-dir', shellWord(dataDir)]),
    ...(tenant === DEMO_TENANT ? [] : ['--tenant', shellWord(tenant)]),
  ].map((word) => ` ${word}`);
  const payload = `'{"text": "One thing. Another thing.", "question": "another?", "sentences": 1}'`;
  return [
    `search ${names.passages} --text ${shellWord(question)}`,
    `files ls ${names.files} --recursive`,
    hasFunctions ? `functions invoke ${names.functions} summarize --payload ${payload}` : 'stats',
  ].map((line) => `  ${command} ${line}${flags.join('')}`);
}
