import type { Log } from '../contract/driver.ts';

/** A log that nobody reads: the default of a library. */
export const silentLog: Log = { debug: () => {}, info: () => {}, warn: () => {}, error: () => {} };

/** The same log with fields added to every line. */
export function scopedLog(log: Log, scope: Readonly<Record<string, unknown>>): Log {
  return {
    debug: (message, fields) => log.debug(message, { ...scope, ...fields }),
    info: (message, fields) => log.info(message, { ...scope, ...fields }),
    warn: (message, fields) => log.warn(message, { ...scope, ...fields }),
    error: (message, fields) => log.error(message, { ...scope, ...fields }),
  };
}
