import { Presets, SingleBar } from 'cli-progress';
import { byteRate, byteSize } from './bytes.ts';
import { oneLine, type Terminal } from './terminal.ts';

/** How far a transfer is. */
export type ByteBar = {
  /** More bytes than were known of are to come. */
  expect(bytes: number): void;
  /** Bytes that have passed; negative where they were in vain. */
  add(bytes: number): void;
  /** All that is to come is known by now, so the time left is, too. */
  complete(): void;
  stop(): void;
};

const SILENT: ByteBar = { expect() {}, add() {}, complete() {}, stop() {} };

/** A bar with bytes, rate and time left, where a person watches; elsewhere one that shows nothing. */
export function byteBar(terminal: Terminal, label: string): ByteBar {
  if (!terminal.isTty) return SILENT;
  let [done, total, isComplete] = [0, 0, false];
  const start = performance.now();
  const bar = new SingleBar(
    {
      format: `  ${oneLine(label)} {bar} {figures}`,
      stream: terminal.stderr,
      clearOnComplete: true,
      hideCursor: true,
      // A listener for Ctrl-C of its own would end the process before the work is ended cleanly.
      gracefulExit: false,
      barsize: 24,
    },
    Presets.shades_classic,
  );
  const show = () => {
    const seconds = (performance.now() - start) / 1_000;
    bar.setTotal(Math.max(1, total));
    bar.update(Math.min(done, total), { figures: figures({ done, total, seconds, isComplete }) });
  };
  bar.start(1, 0, { figures: '' });
  return {
    expect(bytes) {
      total += bytes;
      show();
    },
    add(bytes) {
      done += bytes;
      show();
    },
    complete() {
      isComplete = true;
      show();
    },
    stop: () => bar.stop(),
  };
}

/** What stands behind the bar: bytes, bytes a second, and the time left where it can be told. */
export function figures({
  done,
  total,
  seconds,
  isComplete,
}: {
  readonly done: number;
  readonly total: number;
  readonly seconds: number;
  readonly isComplete: boolean;
}): string {
  const left = isComplete && done > 0 ? `  ${duration(((total - done) * seconds) / done)} left` : '';
  return `${byteSize(done)} of ${byteSize(total)}  ${byteRate(done, seconds)}${left}`;
}

/** Seconds as people read them: `0.4 s`, `12 s`, `3 min 20 s`, `2 h 5 min`. */
export function duration(seconds: number): string {
  if (seconds < 9.95) return `${seconds.toFixed(1)} s`;
  const whole = Math.round(seconds);
  if (whole < 60) return `${whole} s`;
  const minutes = Math.floor(whole / 60);
  return minutes < 60
    ? `${minutes} min ${whole % 60} s`
    : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}
