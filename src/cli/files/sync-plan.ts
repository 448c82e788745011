import { byteOrder } from '../../connectors/file/order.ts';
import { ConnectorError } from '../../errors/error.ts';
import type { Verdict } from './changes.ts';
import type { Found, FoundFile } from './side.ts';

/** Why a file is copied. */
export type CopyReason = 'new' | 'size' | 'newer' | 'etag' | 'content';

/** What a sync does about one path. */
export type SyncAction =
  | { readonly do: 'copy'; readonly file: FoundFile; readonly why: CopyReason }
  /** To be read on both sides, and copied where they differ. */
  | { readonly do: 'compare'; readonly file: FoundFile }
  | { readonly do: 'keep' }
  | { readonly do: 'delete'; readonly path: string }
  | { readonly do: 'pass'; readonly what: 'link' | 'special' }
  | { readonly do: 'fail'; readonly path: string; readonly error: ConnectorError };

export type PlanOptions = {
  readonly compare: (source: FoundFile, target: FoundFile) => Verdict;
  /** Whether files that the source lacks are removed from the target. */
  readonly deletes: boolean;
  /** Whether that may be all of them. */
  readonly allowsEmpty: boolean;
};

/**
 * Walks two listings in the order of their paths at once, holding one entry of each.
 *
 * @throws ConnectorError `invalid_argument` before the first removal where the source holds nothing at all: it is more
 *   often a wrong path than a wish; what a listing ends with.
 */
export async function* syncPlan(
  source: AsyncGenerator<Found>,
  target: AsyncGenerator<Found>,
  options: PlanOptions,
): AsyncGenerator<SyncAction> {
  const unknown = new UnknownPaths();
  try {
    let [from, to] = await Promise.all([source.next(), target.next()]);
    const isEmpty = from.done === true;
    while (!from.done || !to.done) {
      const order = from.done ? 1 : to.done ? -1 : byteOrder(from.value.key, to.value.key);
      const [a, b] = [
        order <= 0 && !from.done ? from.value : undefined,
        order >= 0 && !to.done ? to.value : undefined,
      ];
      if (a && a.kind !== 'file') unknown.add(a.path);
      const action = decided(a, b, options);
      if (action?.do === 'delete' && isEmpty && !options.allowsEmpty) throw emptySource();
      if (action && !(action.do === 'delete' && unknown.covers(action.path))) yield action;
      [from, to] = await Promise.all([a ? source.next() : from, b ? target.next() : to]);
    }
  } finally {
    await Promise.all([source.return(undefined), target.return(undefined)]);
  }
}

function decided(
  source: Found | undefined,
  target: Found | undefined,
  { compare, deletes }: PlanOptions,
): SyncAction | undefined {
  if (source?.kind === 'failed') return { do: 'fail', path: source.path, error: source.error };
  if (source && source.kind !== 'file') return { do: 'pass', what: source.kind };
  if (target?.kind === 'failed') return { do: 'fail', path: target.path, error: target.error };
  if (!source) {
    const isRemoved = deletes && target?.kind === 'file';
    return isRemoved ? { do: 'delete', path: target.path } : undefined;
  }
  // Copying it says what is in its way.
  if (target?.kind !== 'file') return { do: 'copy', file: source, why: 'new' };
  const verdict = compare(source, target);
  if (verdict === 'same') return { do: 'keep' };
  return verdict === 'read' ? { do: 'compare', file: source } : { do: 'copy', file: source, why: verdict };
}

function emptySource(): ConnectorError {
  return new ConnectorError(
    'invalid_argument',
    'the source holds no files, and --delete would remove all of the target; check its path, or give --allow-empty',
  );
}

/** Paths of which nothing is known at the source, and all below them: what the target has there is not gone. */
class UnknownPaths {
  #paths: string[] = [];

  add(path: string): void {
    this.#paths.push(path);
  }

  /** For paths in order: those that can cover no later one are forgotten. */
  covers(path: string): boolean {
    // `0` is what follows `/`: everything below a path is before that.
    this.#paths = this.#paths.filter((unknown) => byteOrder(path, `${unknown}0`) < 0);
    return this.#paths.some((unknown) => path === unknown || path.startsWith(`${unknown}/`));
  }
}
