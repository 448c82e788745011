import {
  ConnectorError,
  type ClientInvocation,
  type FunctionFailure,
  type InvocationOutcome,
  type JsonValue,
} from '../../../driver.ts';
import type { Answer } from './sandbox.ts';
import { MAX_THREADS } from './watchdog.ts';

/** What an outcome says about its function and its limits. */
export type Called = {
  readonly name: string;
  readonly memoryMb: number;
  readonly maxResultBytes: number;
} & Pick<ClientInvocation, 'timeoutMs'>;

/** How a call ended. @throws ConnectorError `timeout`, `payload_too_large`, `cancelled`. */
export function outcomeOf(answer: Answer, called: Called, logs: string | undefined): InvocationOutcome {
  const written = logs === undefined ? {} : { logs };
  switch (answer.kind) {
    case 'completed': {
      const { durationMs } = answer;
      // It came out of JSON.parse.
      return { status: 'completed', result: answer.result as JsonValue, durationMs, ...written };
    }
    case 'failed':
      return { status: 'failed', error: answer.error, durationMs: answer.durationMs, ...written };
    case 'too_large': {
      const { name, maxResultBytes: limitBytes } = called;
      const message = `the result of ${name} is over ${limitBytes} bytes of JSON`;
      throw new ConnectorError('payload_too_large', message, { details: { limitBytes } });
    }
    case 'ended':
      return { status: 'failed', error: deathOf(answer, called), ...written };
    default:
      throw new ConnectorError('internal', `the function runtime answered ${answer.kind}`);
  }
}

/** Refuses a function that did not load, with what it said. @throws ConnectorError `invalid_argument`, `cancelled`. */
export function checkLoaded(answer: Answer, called: Called): void {
  if (answer.kind === 'loaded') return;
  const { message } = refusalOf(answer, called);
  throw new ConnectorError('invalid_argument', message, { issues: [{ path: 'source', message }] });
}

function refusalOf(answer: Answer, called: Called): { readonly message: string } {
  const said = (what: string) => ({ message: `the function does not load: ${what}`.slice(0, 1000) });
  if (answer.kind === 'failed') return said(`${answer.error.name}: ${answer.error.message}`);
  if (answer.kind !== 'ended') return said('its runtime answered something else');
  if (answer.reason === 'timeout') return said(`it was not loaded after ${called.timeoutMs / 1000} s`);
  return said(`it ${deathOf(answer, called).message}`);
}

function deathOf(
  { reason, detail }: Extract<Answer, { kind: 'ended' }>,
  { name, memoryMb, timeoutMs }: Called,
): FunctionFailure {
  switch (reason) {
    case 'timeout':
      throw new ConnectorError('timeout', `function ${name} ran longer than ${timeoutMs / 1000} s`, {
        details: { timeoutMs },
      });
    case 'cancelled':
    case 'closed':
      throw new ConnectorError('cancelled', 'the call was ended');
    case 'memory':
      return { name: 'MemoryError', message: `used more than ${memoryMb} MB` };
    case 'threads':
      return { name: 'ThreadError', message: `started more than ${MAX_THREADS} threads` };
    case 'output':
      return { name: 'OutputError', message: 'wrote more than 16 MB of output' };
    case 'protocol':
      return { name: 'RuntimeError', message: 'disturbed its own runtime' };
    case 'exit':
      return { name: 'ExitError', message: `ended its process with ${detail}` };
  }
}
