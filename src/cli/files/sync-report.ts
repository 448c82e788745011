import { asConnectorError, ConnectorError } from '../../errors/error.ts';
import type { ErrorCode } from '../../errors/codes.ts';
import { byteRate, byteSize } from '../bytes.ts';
import { duration } from '../byte-bar.ts';
import { table } from '../print.ts';
import { count } from '../progress.ts';

/** One file that could not be copied or removed. */
export type SyncFailure = { readonly path: string; readonly code: ErrorCode; readonly message: string };

/** What a sync did, or would do, in wire names. */
export type SyncReport = {
  readonly dry_run: boolean;
  readonly copied: number;
  readonly skipped: number;
  readonly deleted: number;
  readonly failed: number;
  /** Links and special files of this machine, which are passed over. */
  readonly ignored: number;
  /** Of what was copied. */
  readonly bytes: number;
  readonly seconds: number;
  readonly bytes_per_second: number;
  /** The first 1,000. */
  readonly failures: readonly SyncFailure[];
};

const KEPT_FAILURES = 1_000;

/** Adds up what a sync does. */
export class SyncTally {
  readonly #start = performance.now();
  readonly #failures: SyncFailure[] = [];
  copied = 0;
  skipped = 0;
  deleted = 0;
  failed = 0;
  ignored = 0;
  bytes = 0;

  fail(path: string, error: unknown): void {
    const { code, message } = asConnectorError(error);
    this.failed += 1;
    if (this.#failures.length < KEPT_FAILURES) this.#failures.push({ path, code, message });
  }

  report(isDryRun: boolean): SyncReport {
    const { copied, skipped, deleted, failed, ignored, bytes } = this;
    const seconds = (performance.now() - this.#start) / 1_000;
    return {
      ...{ dry_run: isDryRun, copied, skipped, deleted, failed, ignored, bytes },
      seconds: Math.round(seconds * 1_000) / 1_000,
      bytes_per_second: isDryRun ? 0 : Math.round(bytes / Math.max(seconds, 0.001)),
      failures: [...this.#failures],
    };
  }
}

/** The report for people. */
export function reportTable(report: SyncReport): string {
  const { dry_run: isDryRun, copied, skipped, deleted, failed, ignored, bytes, seconds } = report;
  const rows = [
    [isDryRun ? 'to copy' : 'copied', count(copied), byteSize(bytes)],
    ['skipped', count(skipped), 'as they are at the target'],
    [isDryRun ? 'to delete' : 'deleted', count(deleted)],
    ['failed', count(failed)],
    ...(ignored === 0 ? [] : [['ignored', count(ignored), 'links and special files']]),
    ['took', duration(seconds), isDryRun ? '' : byteRate(bytes, seconds)],
  ];
  return table(
    ['RESULT', 'FILES', ''],
    rows.map((row) => [...row, ''].slice(0, 3)),
  );
}

/** The error that a sync with failures ends in; not one of wrong usage, which a name that is refused would be. */
export function failedSync({ copied, failed, failures: [first] }: SyncReport): ConnectorError {
  const code = first?.code === undefined || first.code === 'invalid_argument' ? 'unsupported' : first.code;
  const files = failed === 1 ? '1 file' : `${count(failed)} files`;
  return new ConnectorError(
    code,
    `${files} failed, ${count(copied)} copied, the first failure is ${first?.path}: ${first?.message}; the same command goes on with what is missing`,
  );
}
