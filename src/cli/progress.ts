import { Presets, SingleBar } from 'cli-progress';
import { say } from './print.ts';
import type { Terminal } from './terminal.ts';

/** Runs work that counts its steps: a bar on a terminal, nothing but its end elsewhere. */
export async function withProgress<T>(
  terminal: Terminal,
  { label, total }: { readonly label: string; readonly total: number },
  work: (advance: (steps?: number) => void) => Promise<T>,
): Promise<T> {
  if (!terminal.isTty) return work(() => {});
  const bar = new SingleBar(
    {
      format: `  ${label} {bar} {value}/{total}`,
      stream: terminal.stderr,
      clearOnComplete: true,
      hideCursor: true,
      // A listener for Ctrl-C of its own would end the process before the work is ended cleanly.
      gracefulExit: false,
    },
    Presets.shades_classic,
  );
  bar.start(total, 0);
  try {
    return await work((steps = 1) => bar.increment(steps));
  } finally {
    bar.stop();
  }
}

/** Passes a stream through, counting its bytes for a bar where a person watches. */
export async function* withByteProgress(
  terminal: Terminal,
  { label, totalBytes }: { readonly label: string; readonly totalBytes: number },
  source: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
): AsyncGenerator<Uint8Array> {
  if (!terminal.isTty || totalBytes < 1_048_576) return yield* source;
  const bar = new SingleBar(
    {
      format: `  ${label} {bar} {percentage}% of ${Math.round(totalBytes / 1_048_576)} MB`,
      stream: terminal.stderr,
      clearOnComplete: true,
      hideCursor: true,
      gracefulExit: false,
    },
    Presets.shades_classic,
  );
  bar.start(totalBytes, 0);
  try {
    for await (const chunk of source) {
      bar.increment(chunk.byteLength);
      yield chunk;
    }
  } finally {
    bar.stop();
    say(terminal, `${label}: done`);
  }
}
