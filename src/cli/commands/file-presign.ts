import { type Command, InvalidArgumentError } from 'commander';
import { ConnectorError, isConnectorError } from '../../errors/error.ts';
import { filePresign } from '../../operations/file-transfer.ts';
import { inSession } from '../command-session.ts';
import { namedFile, remoteOf } from '../files/remote.ts';
import { number } from '../flag-values.ts';
import { example } from '../help.ts';
import { say } from '../print.ts';
import type { Settings } from '../settings.ts';
import { shellWord, type Terminal } from '../terminal.ts';

type PresignFlags = {
  readonly put?: boolean;
  readonly expires: number;
  readonly contentType?: string;
  readonly maxBytes?: number;
};

/** Adds `files presign`. */
export function addFilePresign(files: Command, terminal: Terminal, settings: Settings): void {
  files
    .command('presign <connector> [path]')
    .summary('make an address for one file')
    .description(
      'Print an address that reads one file, or writes it, without a key: whoever has it may use it until it ends, and ' +
        'nothing ends it earlier. Headers that have to be sent along are said on stderr.',
    )
    .option('--put', 'for writing the file')
    .option('--expires <time>', 'how long it holds: seconds, or 15m, 12h, 7d (the longest)', seconds, 3_600)
    .option('--content-type <type>', 'for --put: the type that has to be sent')
    .option('--max-bytes <n>', 'for --put: the bytes that may be sent, at most', number)
    .addHelpText(
      'after',
      example(
        'connectors files presign notes report.pdf --expires 15m',
        'curl -T photo.jpg "$(connectors files presign notes:photo.jpg --put --max-bytes 5000000)"',
      ),
    )
    .action(
      inSession(
        terminal,
        settings,
        async (session, reference: string, given: string | undefined, flags: PresignFlags) => {
          const remote = await remoteOf(session, reference, given);
          const { connector } = remote;
          const input = {
            path: namedFile(remote),
            method: flags.put ? 'PUT' : 'GET',
            expires_in_seconds: flags.expires,
            content_type: flags.contentType,
            max_bytes: flags.maxBytes,
          };
          const signed = await session.run(filePresign, input, { connector }).catch((error: unknown) => {
            throw withWayOut(error, session.transport.registry !== undefined);
          });
          await session.answer(signed, () => signed.url);
          if (session.json) return;
          const headers = Object.entries(signed.headers).map(
            ([name, value]) => `-H ${shellWord(`${name}: ${value}`)}`,
          );
          if (headers.length > 0) say(terminal, `send along: ${headers.join(' ')}`);
          say(terminal, `${signed.method} until ${signed.expires_at}`);
        },
      ),
    );
}

const SECONDS = { '': 1, s: 1, m: 60, h: 3_600, d: 86_400 } as const;

function seconds(text: string): number {
  const [, digits, unit = ''] = /^(\d{1,9})([smhd]?)$/.exec(text) ?? [];
  if (digits === undefined) throw new InvalidArgumentError('it is not a time such as 90, 15m, 12h or 7d.');
  // The pattern lets nothing else pass.
  return Number(digits) * SECONDS[unit as keyof typeof SECONDS];
}

/** Where the backend signs nothing a server has to, and a command on the data directory is none. */
function withWayOut(error: unknown, isInProcess: boolean): unknown {
  if (!isConnectorError(error) || !isInProcess || error.details['needs'] !== 'server') return error;
  const { code, details, connectorId, connectorType } = error;
  return new ConnectorError(
    code,
    'this provider signs no addresses itself; start a server that does with `connectors serve`, and ask it with --url',
    { details, connectorId, connectorType, cause: error },
  );
}
