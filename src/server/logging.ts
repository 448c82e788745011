import { type DestinationStream, type Logger, type LoggerOptions, pino } from 'pino';
import type { Log } from '../contract/driver.ts';
import { isConnectorError } from '../errors/error.ts';
import { redactFields, redactText } from '../secrets/redact.ts';

/** Lines are gathered for so long, or until there are so many bytes of them, and written in one go. */
const FLUSH_MS = 100;
const FLUSH_BYTES = 4_096;

/**
 * A pino logger that never shows a secret: values under secret names are `***`, and an error is shown by its code and
 * its place in the source, since the message of a foreign error may hold anything.
 *
 * Writes to stdout unless told otherwise, at most 100 ms late.
 */
export function serverLogger(options: LoggerOptions = {}, destination: DestinationStream = stdout()): Logger {
  return pino(
    {
      ...options,
      // Not pino's own `redact`: with a path for each name and level it took a third of a request's time, and it ends
      // at the third level.
      formatters: { ...options.formatters, log: (fields) => redacted(fields) },
      serializers: { ...options.serializers, err: describeError, error: describeError },
    },
    destination,
  );
}

function stdout(): DestinationStream {
  return pino.destination({ dest: 1, sync: false, minLength: FLUSH_BYTES, periodicFlush: FLUSH_MS });
}

function redacted(fields: object): Record<string, unknown> {
  // An object in, an object of the same names out.
  return redactFields(fields) as Record<string, unknown>;
}

/** The registry's log, written through a pino logger. */
export function registryLog(logger: Logger): Log {
  return {
    debug: (message, fields) => logger.debug(fields ?? {}, message),
    info: (message, fields) => logger.info(fields ?? {}, message),
    warn: (message, fields) => logger.warn(fields ?? {}, message),
    error: (message, fields) => logger.error(fields ?? {}, message),
  };
}

const MAX_CAUSES = 5;

/** An error as a log line may show it: class, code and stack frames, with those of its causes. */
export function describeError(error: unknown, depth = 0): unknown {
  if (typeof error === 'string') return redactText(error).slice(0, 300);
  if (!(error instanceof Error)) return { type: typeof error };
  const { name, stack, cause } = error;
  const code = 'code' in error && typeof error.code === 'string' ? error.code : undefined;
  return {
    name,
    ...(code !== undefined && { code }),
    // Our own messages hold no secret by rule; others are left out.
    ...(isConnectorError(error) && error.code !== 'internal' && { message: error.message }),
    at: framesOf(stack),
    ...(cause !== undefined && depth < MAX_CAUSES && { cause: describeError(cause, depth + 1) }),
  };
}

function framesOf(stack: string | undefined): readonly string[] {
  const frames = (stack ?? '').split('\n').filter((line) => /^\s+at /.test(line));
  return frames.map((line) => line.trim()).slice(0, 12);
}
