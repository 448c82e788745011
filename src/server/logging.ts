import { type DestinationStream, type Logger, type LoggerOptions, pino } from 'pino';
import type { Log } from '../contract/driver.ts';
import { isConnectorError } from '../errors/error.ts';
import { REDACT_PATHS, redactText } from '../secrets/redact.ts';

/**
 * A pino logger that never shows a secret: values under secret names are `***`, and an error is shown by its code and
 * its place in the source, since the message of a foreign error may hold anything.
 */
export function serverLogger(options: LoggerOptions = {}, destination?: DestinationStream): Logger {
  const merged: LoggerOptions = {
    ...options,
    redact: { paths: [...REDACT_PATHS], censor: '***' },
    serializers: { ...options.serializers, err: describeError, error: describeError },
  };
  return destination ? pino(merged, destination) : pino(merged);
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
