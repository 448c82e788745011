import { invalidField } from '../../errors/error.ts';

export const MAX_PATH_BYTES = 1024;
export const MAX_SEGMENT_BYTES = 255;

/** Escapes that some decoder reads as `/`, `\` or NUL, and the overlong UTF-8 forms, which no encoder writes. */
const HIDDEN = /%(?:2f|5c|00|u00(?:2f|5c|00)|c[01][%./]|e0%[89][0-9a-f]|f0%8[0-9a-f]|f8%8[0-7]|fc%8[0-3])/i;
/** `.` or `..`, also with the blanks that URL parsers trim and the `;parameters` that some servers cut off. */
const DOTS = /^[\0- ]*\.{1,2}[\0- ]*(?:;.*)?$/s;
const ROUNDS = 8;

export type FilePathOptions = {
  /** Whether `''` and `/` (the root) and a trailing `/` are accepted, as for a folder that is listed. */
  readonly allowRoot?: boolean;
  /** What the issue of a refused path is named after. */
  readonly field?: string;
};

/**
 * The path in its one canonical form: segments joined by `/`, none at either end; `''` is the root.
 *
 * One leading `/` is accepted and means the connector's root. Nothing is ever decoded or normalised: `a%20b` and
 * `100%.txt` are names like any other, and both normal forms of a unicode name are two names. Refused is what any
 * decoder on the way to a backend could turn into a way out: see {@link pathProblem}.
 *
 * @throws ConnectorError `invalid_argument` with the field's name.
 */
export function filePath(path: string, { allowRoot = false, field = 'path' }: FilePathOptions = {}): string {
  if (typeof path !== 'string') throw invalidField(field, 'is a string');
  const relative = path.startsWith('/') ? path.slice(1) : path;
  if (relative === '') {
    if (allowRoot) return '';
    throw invalidField(field, 'names a file');
  }
  const canonical =
    allowRoot && relative.length > 1 && relative.endsWith('/') ? relative.slice(0, -1) : relative;
  const problem = pathProblem(canonical);
  if (problem !== undefined) throw invalidField(field, problem);
  return canonical;
}

/**
 * What is wrong with a canonical path, as the end of a sentence; undefined when nothing is.
 *
 * A path is refused for an empty, `.` or `..` segment, NUL, a backslash, half a surrogate pair, more than 1,024 bytes,
 * a segment of more than 255, and for every spelling that turns into one of the first four when percent-decoded up to
 * eight times, when compatibility forms (fullwidth and the like) are folded, or when a URL parser drops tabs and line
 * ends. A folded separator alone is no reason: `１／２` is an ordinary Japanese name.
 */
export function pathProblem(path: string): string | undefined {
  if (path.length > MAX_PATH_BYTES || Buffer.byteLength(path) > MAX_PATH_BYTES) {
    return `is at most ${MAX_PATH_BYTES} bytes of UTF-8`;
  }
  if (!path.isWellFormed()) return 'holds no half of a surrogate pair';
  if (path.includes('\0')) return 'holds no NUL';
  if (path.includes('\\')) return 'holds no backslash';
  for (const segment of path.split('/')) {
    if (segment === '') return 'has no empty segment';
    if (DOTS.test(segment)) return 'has no . or .. segment';
    if (segment.length > 85 && Buffer.byteLength(segment) > MAX_SEGMENT_BYTES) {
      return `has segments of at most ${MAX_SEGMENT_BYTES} bytes of UTF-8`;
    }
  }
  return isPlain(path) ? undefined : disguiseProblem(path);
}

/** True where no decoder has anything to decode, which spares almost every path the rounds below. */
function isPlain(path: string): boolean {
  return !/[%\t\n\r\u0080-\uffff]/.test(path);
}

function disguiseProblem(path: string): string | undefined {
  let text = path;
  for (let round = 0; round < ROUNDS; round++) {
    if (HIDDEN.test(text)) return 'holds no encoded separator, backslash or NUL';
    const next = percentDecoded(folded(text));
    if (next.split(/[/\\]/).some((segment) => DOTS.test(segment))) return 'has no encoded . or .. segment';
    if (next === text) return undefined;
    text = next;
  }
  return `is not encoded more than ${ROUNDS} times over`;
}

/** NFKC turns `．` and `‥` into dots and `／` into a slash; the look-alikes that it leaves are those that Windows maps. */
function folded(text: string): string {
  return text
    .normalize('NFKC')
    .replace(/[\t\n\r]/g, '')
    .replace(/[\u2044\u2215\u2216\u29f8\u29f5\u29f9]/g, '/');
}

function percentDecoded(text: string): string {
  return text
    .replace(/%u([0-9a-f]{4})/gi, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)))
    .replace(/(?:%[0-9a-f]{2})+/gi, (run) => Buffer.from(run.replaceAll('%', ''), 'hex').toString());
}
