import { codeRow } from '../../errors/codes.ts';
import { ConnectorError, isConnectorError } from '../../errors/error.ts';
import { consumed, counted } from './opened.ts';
import { RemoteFolder } from './remote-folder.ts';
import type { Side, WriteOptions } from './side.ts';

/** A file that is to be copied. */
export type Copying = {
  readonly from: Pick<Side, 'open'>;
  readonly fromPath: string;
  readonly to: Pick<Side, 'write'>;
  readonly toPath: string;
};

export type CopyOptions = WriteOptions & {
  /** How often it is tried; thrice unless told. */
  readonly attempts?: number | undefined;
  /** Told of the size of the source, where that is known and the bytes pass through here. */
  readonly onSize?: (bytes: number) => void;
  /** Told of the bytes that pass through here; negative where an attempt was in vain. */
  readonly onBytes?: (bytes: number) => void;
};

/** Attempts at one file: a stream cannot be sent again by whoever takes it, only opened again here. */
const ATTEMPTS = 3;

/**
 * Copies one file, by the backend itself where both sides are of one connector, and answers its size where it passed
 * through here.
 *
 * @throws ConnectorError what the last attempt ended with; `conflict` for a file that changes all the time.
 */
export async function copyOne(
  copying: Copying,
  options: CopyOptions,
  signal: AbortSignal,
): Promise<number | undefined> {
  const { from, fromPath, to, toPath } = copying;
  // Where nothing may be replaced, what an attempt has written stands in the way of the next.
  const { attempts = options.overwrite === false ? 1 : ATTEMPTS } = options;
  const isPlain = options.overwrite !== false && !options.contentType && !options.metadata;
  if (isPlain && from instanceof RemoteFolder && to instanceof RemoteFolder)
    if (await to.transferWithin('copy', from, fromPath, toPath)) return undefined;
  for (let attempt = 1; ; attempt++) {
    let bytes = 0;
    try {
      const { body, isUnchanged, ...facts } = await from.open(fromPath);
      if (attempt === 1) options.onSize?.(facts.size ?? 0);
      const described = {
        ...options,
        contentType: options.contentType ?? facts.contentType,
        metadata: options.metadata ?? facts.metadata,
      };
      await consumed(body, (content) => {
        const watched = counted(content, (more) => {
          bytes += more;
          options.onBytes?.(more);
        });
        return to.write(toPath, watched, described);
      });
      if (!isUnchanged || (await isUnchanged())) return bytes;
      throw new ConnectorError(
        'conflict',
        `${fromPath} changes while it is read; copy it when nobody writes to it`,
        {
          details: { changing: true },
        },
      );
    } catch (error) {
      options.onBytes?.(-bytes);
      // Metadata that was asked for is not left out.
      const isOther = !options.metadata && to instanceof RemoteFolder && to.learn(error) !== undefined;
      const isRepeated = isOther ? attempt < ATTEMPTS : attempt < attempts && isWorthRepeating(error);
      if (signal.aborted || !isRepeated) throw error;
    }
  }
}

function isWorthRepeating(error: unknown): boolean {
  if (!isConnectorError(error)) return false;
  return codeRow(error.code).recovery !== 'never' || error.details['changing'] === true;
}
