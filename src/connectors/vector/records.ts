import type { FieldIssue } from '../../errors/error.ts';
import { ConnectorError } from '../../errors/error.ts';
import type { DistanceMetric, VectorRecord } from './driver.ts';

/** Records in one call at most. */
export const MAX_RECORDS = 10_000;
const MAX_ID_LENGTH = 512;
const MAX_TEXT_LENGTH = 1_000_000;
const MAX_METADATA_DEPTH = 8;
const MAX_METADATA_LENGTH = 65_536;
const MAX_ISSUES = 100;
// About a millisecond of checking; the event loop gets a turn after each slice.
const SLICE_VALUES = 200_000;

type Shape = { readonly dimension: number; readonly metric: DistanceMetric };

/**
 * The records with their values as float32 copies, all checked, in slices that let the event loop turn.
 *
 * Metadata is checked and not copied: it must not change before the call has ended.
 *
 * @throws ConnectorError `invalid_argument` naming the first 100 bad fields by index, such as `records[3].values`.
 */
export async function checkRecords(
  records: readonly VectorRecord[],
  { dimension, metric }: Shape,
): Promise<readonly VectorRecord[]> {
  const issues: FieldIssue[] = [];
  const checked: VectorRecord[] = [];
  const sliceRecords = Math.max(1, Math.floor(SLICE_VALUES / (dimension + 200)));
  for (let start = 0; start < records.length && issues.length < MAX_ISSUES; start += sliceRecords) {
    const end = Math.min(records.length, start + sliceRecords);
    const packed = new Float32Array((end - start) * dimension);
    for (let index = start; index < end && issues.length < MAX_ISSUES; index++) {
      const values = packed.subarray((index - start) * dimension, (index - start + 1) * dimension);
      const report = (field: string, message: string) =>
        issues.push({ path: `records[${index}]${field}`, message });
      const record: unknown = records[index];
      if (typeof record !== 'object' || record === null) report('', 'is an object with id and values');
      else checked.push(checkRecord(record, values, metric, report));
    }
    if (end < records.length) await turn();
  }
  if (issues.length > 0) throw refusal(issues);
  return checked;
}

/** Resolves after the event loop has turned. */
export function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

type Report = (field: string, message: string) => void;
const FIELDS = new Set(['id', 'values', 'metadata', 'text']);

function checkRecord(
  record: object,
  packed: Float32Array,
  metric: DistanceMetric,
  report: Report,
): VectorRecord {
  for (const key of Object.keys(record)) if (!FIELDS.has(key)) report(`.${key}`, 'is not a known field');
  // Absent fields read as undefined; each one is checked below.
  const { id, values, metadata, text } = record as Readonly<Record<string, unknown>>;
  const idProblem = checkId(id);
  if (idProblem) report('.id', idProblem);
  const valuesProblem = packValues(values, packed, metric);
  if (valuesProblem) report('.values', valuesProblem);
  if (metadata !== undefined) checkMetadata(metadata, report);
  if (text !== undefined) {
    if (typeof text !== 'string' || text.length > MAX_TEXT_LENGTH)
      report('.text', `is a string of at most ${MAX_TEXT_LENGTH} characters`);
    else if (!text.isWellFormed()) report('.text', 'holds half a surrogate pair');
  }
  // Used only when nothing was reported, and then the fields have these types.
  return {
    id,
    values: packed,
    ...(metadata !== undefined && { metadata }),
    ...(text !== undefined && { text }),
  } as VectorRecord;
}

/** What is wrong with an id, or `undefined`. Its length is counted in UTF-16 code units. */
export function checkId(id: unknown): string | undefined {
  if (typeof id !== 'string' || id.length === 0 || id.length > MAX_ID_LENGTH)
    return `is a string of 1 to ${MAX_ID_LENGTH} characters`;
  return id.isWellFormed() ? undefined : 'holds half a surrogate pair';
}

/** Fills `packed` with the values as float32; what is wrong with them, or `undefined`. */
export function packValues(
  values: unknown,
  packed: Float32Array,
  metric: DistanceMetric,
): string | undefined {
  const expected = `is an array of ${packed.length} numbers`;
  if (!Array.isArray(values) && !(values instanceof Float32Array)) return expected;
  if (values.length !== packed.length) return `${expected}, not ${values.length}`;
  // One pass without branches on the value: x - x is 0 but for NaN and infinities, which also stand for what does not
  // fit into float32. (Two passes took twice as long, and this is most of what the caller's thread does for an upsert.)
  let finite = 0;
  let squares = 0;
  for (let i = 0; i < packed.length; i++) {
    const value: unknown = values[i];
    if (typeof value !== 'number') return expected;
    const rounded = Math.fround(value);
    packed[i] = rounded;
    finite += rounded - rounded;
    squares += rounded * rounded;
  }
  if (finite !== 0) return 'holds only finite numbers within the range of float32';
  if (squares === 0 && metric === 'cosine') return 'is not all zero under cosine, which has no direction';
  return undefined;
}

function checkMetadata(metadata: unknown, report: Report): void {
  if (!isPlainObject(metadata)) return report('.metadata', 'is a plain object');
  let length = 0;
  // Depth is bounded first, so that neither a cycle nor a deep structure can exhaust the stack.
  const visit = (value: unknown, path: string, depth: number): boolean => {
    if (length > MAX_METADATA_LENGTH) return false;
    if (typeof value === 'string') {
      length += value.length + 2;
      return value.isWellFormed() || fail(path, 'holds half a surrogate pair');
    }
    length += 8;
    if (value === null || typeof value === 'boolean') return true;
    if (typeof value === 'number') return Number.isFinite(value) || fail(path, 'is a finite number');
    if (Array.isArray(value)) {
      if (value.length > MAX_METADATA_LENGTH) return fail('.metadata', TOO_LONG);
      for (let i = 0; i < value.length; i++) {
        const item: unknown = value[i];
        if (typeof item !== 'string' && typeof item !== 'number')
          return fail(`${path}[${i}]`, 'is a string or a number');
        if (!visit(item, `${path}[${i}]`, depth)) return false;
      }
      return true;
    }
    if (!isPlainObject(value))
      return fail(path, 'is a string, a number, a boolean, null, an array or an object');
    if (depth > MAX_METADATA_DEPTH)
      return fail('.metadata', `is at most ${MAX_METADATA_DEPTH} levels deep, without cycles`);
    for (const key of Object.keys(value)) {
      length += key.length + 3;
      if (!key.isWellFormed()) return fail(path, 'has a key with half a surrogate pair');
      if (!visit(value[key], `${path}.${key}`, depth + 1)) return false;
    }
    return true;
  };
  const fail = (path: string, message: string): false => {
    report(path.slice(0, 200), message);
    return false;
  };
  visit(metadata, '.metadata', 1);
  if (length > MAX_METADATA_LENGTH) report('.metadata', TOO_LONG);
}

const TOO_LONG = `is at most ${MAX_METADATA_LENGTH} characters as JSON`;

function isPlainObject(value: unknown): value is Record<string, unknown> {
  if (typeof value !== 'object' || value === null) return false;
  const prototype: unknown = Object.getPrototypeOf(value);
  return prototype === Object.prototype || prototype === null;
}

/** An `invalid_argument` of several bad fields. */
export function refusal(issues: readonly FieldIssue[]): ConnectorError {
  const [first] = issues;
  const more = issues.length > 1 ? ` (and ${issues.length - 1} more)` : '';
  return new ConnectorError('invalid_argument', `${first?.path} ${first?.message}${more}`, { issues });
}
