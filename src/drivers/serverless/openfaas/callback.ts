import { invalidField, type FunctionCallback, type NativeOutcome } from '../../../driver.ts';
import { failureIn, millisecondsOf, successOf } from './answers.ts';
import { MAX_BYTES, tooLarge } from './client.ts';

/**
 * What the queue-worker posted when a call had ended: the function's body and headers, and the status of its answer in
 * `X-Function-Status`.
 *
 * https://docs.openfaas.com/reference/async/#callback-request-headers; `postResult` in
 * https://github.com/openfaas/nats-queue-worker/blob/master/main.go (both read 2026-11-28). It is posted at most once for each
 * time that the function was called, and a call may be made more often than once. The time is the queue-worker's own
 * where no watchdog took it.
 *
 * @throws ConnectorError `invalid_argument` where it has no status, as what anybody else would post;
 *   `payload_too_large` as of a call that is waited for.
 */
export function outcomeOfCallback({ headers, body }: FunctionCallback): NativeOutcome {
  const given = headers['x-function-status'] ?? '';
  if (!/^[2-5]\d\d$/.test(given)) throw invalidField('headers.x-function-status', 'is a status of HTTP');
  const status = Number(given);
  const durationMs = millisecondsOf(headers['x-duration-seconds']);
  const timed = durationMs === undefined ? {} : { durationMs };
  if (status < 300) {
    if (body.byteLength > MAX_BYTES) throw tooLarge();
    const get = (name: string): string | null => headers[name.toLowerCase()] ?? null;
    return { ...successOf('', { status, headers: { get }, body }, 0), ...timed };
  }
  const error = failureIn(status, new TextDecoder().decode(body));
  // The watchdog's and the gateway's word for a function that ran too long (`exec_timeout`, `upstream_timeout`).
  const isOverTime = status === 408 || status === 504;
  return { status: isOverTime ? 'timed_out' : 'failed', error, ...timed };
}
