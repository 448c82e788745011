import { ConnectorError, isConnectorError } from '../../../driver.ts';

export const MIB = 1024 * 1024;
/** Megabytes that the files of all connectors of a process take at most: one without memory would take all tenants along. */
export const PROCESS_MB = 512;

/** Bytes that several share. */
export class Room {
  readonly #maxBytes: number;
  #usedBytes = 0;

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  /**
   * Takes more, or gives back what is less than nothing.
   *
   * @throws ConnectorError `payload_too_large` where so much is not left; it does not say who has it.
   */
  take(bytes: number): void {
    if (bytes > 0 && this.#usedBytes + bytes > this.#maxBytes)
      throw new ConnectorError(
        'payload_too_large',
        `the files that all connectors keep in the memory of this process take at most ${this.#maxBytes / MIB} MB, and there ` +
          'is no room left; delete some, or use a provider that keeps them elsewhere',
        { details: { maxProcessBytes: this.#maxBytes } },
      );
    this.#usedBytes += bytes;
  }
}

/** That of this process. */
export const processRoom = new Room(PROCESS_MB * MIB);

/** Whether there was no room in the process, however much the connector had left. */
export function isProcessFull(error: unknown): boolean {
  return isConnectorError(error) && 'maxProcessBytes' in error.details;
}
