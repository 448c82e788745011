import { Readable, Writable } from 'node:stream';
import { runCommand } from '../../src/cli/program.ts';
import type { Terminal } from '../../src/cli/terminal.ts';

/** What a command line did. */
export type Outcome = { readonly code: number; readonly stdout: string; readonly stderr: string };

type Options = {
  readonly env?: Readonly<Record<string, string>>;
  readonly stdin?: string;
  readonly signal?: AbortSignal;
};

/** Runs command lines in this process, as if each were typed at a terminal of its own. */
export function typing(
  base: Options = {},
): (args: string | readonly string[], options?: Options) => Promise<Outcome> {
  return async (args, options = {}) => {
    const out: string[] = [];
    const err: string[] = [];
    const terminal: Terminal = {
      args: typeof args === 'string' ? args.split(' ') : args,
      stdin: Readable.from([Buffer.from(options.stdin ?? '')]),
      stdout: collecting(out),
      stderr: collecting(err),
      env: { ...base.env, ...options.env },
      isTty: false,
      columns: 100,
      command: 'connectors',
      signal: options.signal ?? new AbortController().signal,
    };
    const code = await runCommand(terminal);
    return { code, stdout: out.join(''), stderr: err.join('') };
  };
}

function collecting(chunks: string[]): Writable {
  return new Writable({
    write(chunk: Buffer, _encoding, done) {
      chunks.push(chunk.toString('utf8'));
      done();
    },
  });
}
