import { createHash } from 'node:crypto';
import { asConnectorError, ConnectorError } from '../../errors/error.ts';
import type { ErrorCode } from '../../errors/codes.ts';
import { byteBar } from '../byte-bar.ts';
import { print, say } from '../print.ts';
import { count } from '../progress.ts';
import { oneLine, type Terminal } from '../terminal.ts';
import { copyOne } from './copy-one.ts';
import { consumed } from './opened.ts';
import { readAhead } from './read-ahead.ts';
import type { Side } from './side.ts';
import type { SyncAction } from './sync-plan.ts';
import { type SyncReport, SyncTally } from './sync-report.ts';

export type SyncOptions = {
  readonly parallel: number;
  readonly isDryRun: boolean;
  /** Whether a dry run names each file on stdout. */
  readonly isNamed: boolean;
};

/** Actions that are known before their turn comes, so that the time left can be told. */
const AHEAD = 10_000;

/** What is about a whole side, and not about one file of it: the next one would fare alike. */
const ABOUT_A_SIDE: ReadonlySet<ErrorCode> = new Set([
  ...(['unauthenticated', 'auth_failed', 'egress_denied', 'invalid_state', 'circuit_open'] as const),
]);
const FULL = ['ENOSPC', 'EDQUOT'];
/** Failures that pass by themselves, one after another, after which it is not the files. */
const MAX_STREAK = 20;

/**
 * Does what a plan says, up to `parallel` files at once, and answers what became of it; a file that fails does not stop
 * the others.
 *
 * @throws ConnectorError what makes going on senseless, with how many files are copied by then.
 */
export async function runSync(
  terminal: Terminal,
  { from, to, plan }: { readonly from: Side; readonly to: Side; readonly plan: AsyncGenerator<SyncAction> },
  { parallel, isDryRun, isNamed }: SyncOptions,
): Promise<SyncReport> {
  const { signal } = terminal;
  const tally = new SyncTally();
  const bar = byteBar(terminal, `${from.name} → ${to.name}`);
  const actions = readAhead(plan, AHEAD, {
    onItem: (action) => void ('file' in action && bar.expect(action.file.size)),
    onEnd: () => bar.complete(),
  });
  let stop: { readonly error: unknown } | undefined;
  let streak = 0;
  const attempt = async (path: string, work: () => Promise<void>): Promise<void> => {
    try {
      await work();
      streak = 0;
    } catch (error) {
      if (signal.aborted) throw error;
      tally.fail(path, error);
      if (asConnectorError(error).retryable) streak += 1;
      if (isAboutSide(error) || streak >= MAX_STREAK) throw error;
    }
  };
  const copy = async (action: Extract<SyncAction, { readonly do: 'copy' }>): Promise<void> => {
    const { path, size, modifiedMs } = action.file;
    const bytes = isDryRun
      ? size
      : await copyOne(
          { from, fromPath: path, to, toPath: path },
          { modifiedMs, onBytes: (more) => bar.add(more) },
          signal,
        );
    if (bytes === undefined) bar.add(size);
    tally.copied += 1;
    tally.bytes += bytes ?? size;
    if (isNamed) await print(terminal, oneLine(`copy ${path} (${action.why})`));
  };
  const act = async (action: SyncAction): Promise<void> => {
    switch (action.do) {
      case 'copy':
        return attempt(action.file.path, () => copy(action));
      case 'compare':
        return attempt(action.file.path, async () => {
          const { file } = action;
          if (await isSameContent(from, to, file.path)) {
            tally.skipped += 1;
            bar.add(file.size);
          } else await copy({ do: 'copy', file, why: 'content' });
        });
      case 'delete':
        return attempt(action.path, async () => {
          if (!isDryRun) await to.remove(action.path);
          tally.deleted += 1;
          if (isNamed) await print(terminal, oneLine(`delete ${action.path}`));
        });
      case 'fail':
        return tally.fail(action.path, action.error);
      case 'pass':
        tally.ignored += 1;
        return;
      default:
        tally.skipped += 1;
    }
  };
  const worker = async (): Promise<void> => {
    try {
      while (!stop && !signal.aborted) {
        const step = await actions.next();
        if (step.done) return;
        await act(step.value);
      }
    } catch (error) {
      stop ??= { error };
    }
  };
  try {
    await Promise.all(Array.from({ length: parallel }, worker));
  } finally {
    await actions.return(undefined).catch(() => {});
    bar.stop();
  }
  if (!isDryRun && !stop && !signal.aborted) await to.tidy();
  if (stop || signal.aborted) throw stopped(stop?.error, terminal, tally);
  return tally.report(isDryRun);
}

function isAboutSide(error: unknown): boolean {
  const { code, details } = asConnectorError(error);
  return ABOUT_A_SIDE.has(code) || FULL.includes(String(details['errno']));
}

async function isSameContent(from: Side, to: Side, path: string): Promise<boolean> {
  const [source, target] = await Promise.all([from, to].map((side) => digest(side, path)));
  return source === target;
}

async function digest(side: Side, path: string): Promise<string> {
  const hash = createHash('sha256');
  const { body } = await side.open(path);
  return consumed(body, async (content) => {
    for await (const chunk of content) hash.update(chunk);
    return hash.digest('hex');
  });
}

/** The failure with what is copied by then; Ctrl-C is one that is said beside what it answers. */
function stopped(error: unknown, terminal: Terminal, { copied, deleted }: SyncTally): unknown {
  const removed = deleted === 0 ? '' : ` and ${count(deleted)} deleted`;
  const files = copied === 1 ? '1 file is' : `${count(copied)} files are`;
  const stands = `${files} copied${removed}; the same command goes on with what is missing`;
  if (terminal.signal.aborted) {
    say(terminal, stands);
    return error ?? new ConnectorError('cancelled', 'interrupted');
  }
  const { code, message, issues, details, connectorId, connectorType, retryAfterMs, cause } =
    asConnectorError(error);
  // A command that is refused is not one to repeat.
  if (code === 'invalid_argument' && copied + deleted === 0) return error;
  return new ConnectorError(code, `${message}; ${stands}`, {
    ...{ issues, details, connectorId, connectorType, cause: cause ?? error },
    ...(retryAfterMs !== undefined && { retryAfterMs }),
  });
}
