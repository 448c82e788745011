import type { FoundFile } from './side.ts';

/** What tells whether a file has to be copied again; its size always does. */
export const COMPARISONS = ['time', 'size', 'etag', 'content'] as const;
export type Comparison = (typeof COMPARISONS)[number];

/** Why a file is copied, `same` where it is not, or `read` where only the content can tell. */
export type Verdict = 'size' | 'newer' | 'etag' | 'read' | 'same';

/**
 * How a source and the file of the same path at the target compare.
 *
 * @param isLocal whether one of the sides is this machine: its times are exact, and copies have the time of their source.
 */
export function compared(
  source: FoundFile,
  target: FoundFile,
  { by, isLocal }: { readonly by: Comparison; readonly isLocal: boolean },
): Verdict {
  if (source.size !== target.size) return 'size';
  switch (by) {
    case 'size':
      return 'same';
    case 'content':
      return 'read';
    case 'etag':
      return source.etag !== undefined && source.etag === target.etag ? 'same' : 'etag';
    default:
      return isNewer(source.modifiedMs, target.modifiedMs, isLocal) ? 'newer' : 'same';
  }
}

const SECOND_MS = 1_000;

/**
 * Whether a source may have changed since the target was written.
 *
 * Many backends know whole seconds alone: such a time stands for any in its second, and where two of connectors may be in
 * either order the file is copied. That is once too often at most, as the copy is then the later one.
 */
function isNewer(sourceMs: number, targetMs: number, isLocal: boolean): boolean {
  if (isLocal) return sourceMs > targetMs;
  const latestMs = sourceMs % SECOND_MS === 0 ? sourceMs + SECOND_MS - 1 : sourceMs;
  return latestMs >= targetMs;
}
