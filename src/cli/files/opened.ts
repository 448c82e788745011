import { constants } from 'node:fs';
import { lstat, open, stat } from 'node:fs/promises';
import { ConnectorError } from '../../errors/error.ts';
import { localError } from '../local-file.ts';
import type { Bytes, Reading } from '../transport.ts';

/** A file that is open to be copied; its body is handed to {@link consumed}. */
export type Opened = Reading & {
  /** Whether the file is still the one that was opened; absent where whoever serves it sees to that. */
  isUnchanged?(): Promise<boolean>;
};

/** Hands a body over as a stream, and ends it whatever became of it, also where nobody asked for a chunk. */
export async function consumed<T>(
  body: Bytes,
  use: (content: AsyncIterable<Uint8Array>) => Promise<T>,
): Promise<T> {
  const chunks = Symbol.asyncIterator in body ? body[Symbol.asyncIterator]() : body[Symbol.iterator]();
  const end = async (): Promise<IteratorReturnResult<undefined>> => {
    await chunks.return?.();
    return { done: true, value: undefined };
  };
  try {
    return await use({
      [Symbol.asyncIterator]: () => ({ next: async () => chunks.next(), return: end }),
    });
  } finally {
    await end();
  }
}

/** The stream, with its bytes counted as they are taken. */
export async function* counted(
  content: AsyncIterable<Uint8Array>,
  onBytes: (bytes: number) => void,
): AsyncGenerator<Uint8Array> {
  for await (const chunk of content) {
    onBytes(chunk.byteLength);
    yield chunk;
  }
}

const CHUNK_BYTES = 256 * 1_024;

/**
 * A local file, open to be read.
 *
 * @throws ConnectorError `not_found`, `permission_denied`; `invalid_argument` for what is no regular file.
 */
export async function openLocal(
  file: string,
  { followLinks }: { readonly followLinks: boolean },
): Promise<Opened> {
  try {
    const { O_RDONLY, O_NONBLOCK, O_NOFOLLOW } = constants;
    // Without O_NONBLOCK a named pipe would be waited for until somebody writes into it.
    const handle = await open(file, O_RDONLY | O_NONBLOCK | (followLinks ? 0 : O_NOFOLLOW));
    const opened = await handle.stat();
    if (!opened.isFile()) {
      await handle.close();
      throw new ConnectorError('invalid_argument', `${file} is not a file that can be read`);
    }
    const stream = handle.createReadStream({ highWaterMark: CHUNK_BYTES });
    return {
      size: opened.size,
      body: {
        [Symbol.asyncIterator]() {
          const chunks = stream[Symbol.asyncIterator]();
          return {
            next: () => chunks.next(),
            async return() {
              // The iterator's own does nothing before the first chunk, and the file would stay open.
              stream.destroy();
              return { done: true, value: undefined };
            },
          };
        },
      },
      async isUnchanged() {
        const now = await (followLinks ? stat : lstat)(file).catch(() => undefined);
        return now?.size === opened.size && now.mtimeMs === opened.mtimeMs;
      },
    };
  } catch (error) {
    throw localError(error, file);
  }
}
