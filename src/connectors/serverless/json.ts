import { ConnectorError, invalidField, isConnectorError } from '../../errors/error.ts';
import type { InvocationOutcome, JsonValue } from './driver.ts';

const MAX_DEPTH = 64;

/**
 * The value itself, once it is known to be plain JSON: finite numbers, plain objects, dense arrays, at most 64 deep.
 *
 * Iterative, so that no depth exhausts the stack; a cycle is refused as too deep. Each part takes a
 * byte of text at least, so counting them ends the walk over a graph that is small in memory and endless as text. The key `__proto__` is refused because a later copy of the object
 * would change a prototype with it.
 *
 * @throws ConnectorError `invalid_argument` with the path of the first bad part, `payload_too_large` with more parts than `maxBytes`.
 */
function plainJson(value: unknown, at: string, maxBytes: number): JsonValue {
  const stack: { readonly value: unknown; readonly path: string; readonly depth: number }[] = [
    { value, path: at, depth: 0 },
  ];
  let nodes = 0;
  for (let node = stack.pop(); node !== undefined; node = stack.pop()) {
    nodes++;
    if (nodes > maxBytes) throw tooLarge(at, maxBytes);
    const { value: part, path, depth } = node;
    if (isScalar(part)) continue;
    if (depth >= MAX_DEPTH) throw invalidField(at, `is at most ${MAX_DEPTH} levels deep`);
    for (const [key, child] of entriesOf(part, path)) {
      const childPath = typeof key === 'number' ? `${path}[${key}]` : `${path}.${key.slice(0, 64)}`;
      if (key === '__proto__') throw invalidField(childPath, 'is not an allowed key');
      stack.push({ value: child, path: childPath, depth: depth + 1 });
    }
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
  if (outcome.result === undefined) return outcome;
  try {
    plainJson(outcome.result, 'result', maxBytes);
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

function entriesOf(part: unknown, path: string): Iterable<readonly [string | number, unknown]> {
  if (Array.isArray(part)) return part.entries();
  if (typeof part === 'object' && part !== null) {
    const prototype: unknown = Object.getPrototypeOf(part);
    if (prototype === Object.prototype || prototype === null) return Object.entries(part);
  }
  throw invalidField(path, 'is JSON: string, finite number, boolean, null, array or plain object');
}
