import { Presets, SingleBar } from 'cli-progress';
import { byteBar } from './byte-bar.ts';
import { say } from './print.ts';
import { oneLine, type Terminal } from './terminal.ts';

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

/** A number as people read it: `40,001`. */
export function count(number: number): string {
  return number.toLocaleString('en-US');
}

/** How far work over records is. */
export type RecordProgress = {
  /** Out of the total, in whatever that counts. */
  readonly position: number;
  readonly records: number;
};

/**
 * Runs work over many records: on a terminal a bar with how many are done and how many a second, nothing elsewhere.
 *
 * @param total what `position` ends at; 0 where that is not known.
 * @param from where an earlier run stopped.
 */
export async function withRecordProgress<T>(
  terminal: Terminal,
  { label, total, from }: { readonly label: string; readonly total: number; readonly from: RecordProgress },
  work: (show: (progress: RecordProgress) => void) => Promise<T>,
): Promise<T> {
  if (!terminal.isTty) return work(() => {});
  const share = total > 0 ? '{bar} {percentage}%  ' : '';
  const bar = new SingleBar(
    {
      format: `  ${oneLine(label)} ${share}{records} records  {rate}/s`,
      stream: terminal.stderr,
      clearOnComplete: true,
      hideCursor: true,
      gracefulExit: false,
      barsize: 30,
    },
    Presets.shades_classic,
  );
  const start = performance.now();
  const shown = ({ records }: RecordProgress) => {
    const seconds = (performance.now() - start) / 1_000;
    const rate = seconds > 0.2 ? count(Math.round((records - from.records) / seconds)) : '-';
    return { records: count(records), rate };
  };
  bar.start(total, from.position, shown(from));
  try {
    return await work((progress) => bar.update(Math.min(progress.position, total), shown(progress)));
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
  const bar = byteBar(terminal, label);
  bar.expect(totalBytes);
  bar.complete();
  try {
    for await (const chunk of source) {
      bar.add(chunk.byteLength);
      yield chunk;
    }
  } finally {
    bar.stop();
    say(terminal, `${oneLine(label)}: done`);
  }
}
