import { ConnectorError, invalidField, isConnectorError } from '../../errors/error.ts';
import type { InvocationOutcome, JsonValue } from './driver.ts';

const MAX_DEPTH = 64;

/** An array or object that is being walked, and which of its children is next. */
type Walked = {
  readonly part: Readonly<Record<string | number, unknown>>;
  /** Absent for an array. */
  readonly keys: readonly string[] | undefined;
  readonly length: number;
  next: number;
};

/**
 * The value itself, once it is known to be plain JSON: finite numbers, plain objects, dense arrays, at most 64 deep.
 *
 * Iterative, so that no depth exhausts the stack; a cycle is refused as too deep. Only the parts around the one that is
 * looked at are remembered, and the path is put together for an error alone: a few megabytes of text have millions of
 * parts. Each takes a byte of text at least, so counting them ends the walk over a graph that is small in memory and
 * endless as text. The key `__proto__` is refused because a later copy of the object would change a prototype with it.
 *
 * @throws ConnectorError `invalid_argument` with the path of the first bad part, `payload_too_large` with more parts than `maxBytes`.
 */
function plainJson(value: unknown, at: string, maxBytes: number): JsonValue {
  const around: Walked[] = [];
  let parts = 0;
  const look = (part: unknown): void => {
    parts++;
    if (parts > maxBytes) throw tooLarge(at, maxBytes);
    if (isScalar(part)) return;
    if (around.length >= MAX_DEPTH) throw invalidField(at, `is at most ${MAX_DEPTH} levels deep`);
    const walked = walkOf(part);
    if (walked === undefined)
      throw invalidField(
        pathOf(at, around),
        'is JSON: string, finite number, boolean, null, array or plain object',
      );
    around.push(walked);
  };
  look(value);
  for (let here = around.at(-1); here !== undefined; here = around.at(-1)) {
    const { part, keys, length, next } = here;
    if (next >= length) {
      around.pop();
      continue;
    }
    here.next = next + 1;
    const key = keys === undefined ? next : (keys[next] ?? '');
    if (key === '__proto__') throw invalidField(pathOf(at, around), 'is not an allowed key');
    look(part[key]);
  }
  // Every part was checked above.
  return value as JsonValue;
}

/**
 * The payload and its JSON text.
 *
 * @throws ConnectorError `invalid_argument` where it is not plain JSON, `payload_too_large`.
 */
export function checkedPayload(
  payload: unknown,
  maxBytes: number,
): { readonly json: JsonValue; readonly text: string } {
  const json = plainJson(payload, 'payload', maxBytes);
  const text = JSON.stringify(json);
  if (Buffer.byteLength(text) > maxBytes) throw tooLarge('payload', maxBytes);
  return { json, text };
}

/** The outcome itself, or a failed one in its place: a result is as untrusted as a payload, and is the function's fault. */
export function checkedOutcome(outcome: InvocationOutcome, maxBytes: number): InvocationOutcome {
  const { result } = outcome;
  if (result === undefined) return outcome;
  try {
    plainJson(result, 'result', maxBytes);
    // A function behind HTTP may answer text, of which JSON makes up to six bytes of each character.
    const isLong = typeof result === 'string' && result.length * 6 + 2 > maxBytes;
    if (isLong && Buffer.byteLength(JSON.stringify(result)) > maxBytes) throw tooLarge('result', maxBytes);
    return outcome;
  } catch (error) {
    if (!isConnectorError(error) || error.code !== 'invalid_argument') throw error;
    const { result: _refused, ...rest } = outcome;
    return { ...rest, status: 'failed', error: { name: 'ResultError', message: error.message } };
  }
}

function tooLarge(at: string, maxBytes: number): ConnectorError {
  return new ConnectorError('payload_too_large', `${at} is at most ${maxBytes} bytes of JSON`, {
    details: { limitBytes: maxBytes },
  });
}

function isScalar(part: unknown): boolean {
  return (
    part === null ||
    typeof part === 'string' ||
    typeof part === 'boolean' ||
    (typeof part === 'number' && Number.isFinite(part))
  );
}

/** `undefined` for what is no array and no plain object. */
function walkOf(part: unknown): Walked | undefined {
  if (typeof part !== 'object' || part === null) return undefined;
  // Read by its own keys alone.
  const walked = part as Walked['part'];
  if (Array.isArray(part)) return { part: walked, keys: undefined, length: part.length, next: 0 };
  const prototype: unknown = Object.getPrototypeOf(part);
  if (prototype !== Object.prototype && prototype !== null) return undefined;
  const keys = Object.keys(part);
  return { part: walked, keys, length: keys.length, next: 0 };
}

/** Where the walk is. */
function pathOf(at: string, around: readonly Walked[]): string {
  const steps = around.map(({ keys, next }) =>
    keys === undefined ? `[${next - 1}]` : `.${(keys[next - 1] ?? '').slice(0, 64)}`,
  );
  return at + steps.join('');
}
