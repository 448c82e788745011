import { constants } from 'node:fs';
import { open } from 'node:fs/promises';
import type { SecretReference } from '../connectors/config.ts';
import { ConnectorError } from '../errors/error.ts';

const MAX_FILE_BYTES = 65_536;

export type ReferenceSources = {
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Reads a file, at most `maxBytes` of it and one more; {@link readStart} unless a test says otherwise. */
  readonly readFile?: (path: string, maxBytes: number) => Promise<Uint8Array>;
};

/**
 * The secret that a reference points to; of a file, all of it but one line end at the end.
 *
 * @throws ConnectorError `invalid_state` that names the variable or the file, and never what it holds.
 */
export async function resolveReference(
  reference: SecretReference,
  { env, readFile = readStart }: ReferenceSources,
): Promise<string> {
  if ('from_env' in reference) {
    const name = reference.from_env;
    // Own properties alone: process.env inherits `constructor` and the like.
    const value = Object.hasOwn(env, name) ? env[name] : undefined;
    if (value) return value;
    throw new ConnectorError('invalid_state', `the environment variable ${name} is not set`);
  }

  const path = reference.from_file;
  const refusal = (why: string, cause?: unknown) =>
    new ConnectorError('invalid_state', `the file ${path} ${why}`, { cause });
  const bytes = await readFile(path, MAX_FILE_BYTES).catch((cause: NodeJS.ErrnoException) => {
    throw refusal(`cannot be read (${cause.code ?? 'unknown error'})`, cause);
  });
  if (bytes.length > MAX_FILE_BYTES) throw refusal(`is over ${MAX_FILE_BYTES} bytes`);
  const value = decode(bytes)?.replace(/\r?\n$/, '');
  if (value === undefined) throw refusal('is not UTF-8 text');
  if (value === '') throw refusal('is empty');
  return value;
}

function decode(bytes: Uint8Array): string | undefined {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch {
    // The decoder's own error says nothing more, and must not be kept as a cause beside the bytes.
    return undefined;
  }
}

/** The first `maxBytes` of a regular file and one more, by which a longer one is known. */
async function readStart(path: string, maxBytes: number): Promise<Uint8Array> {
  // O_NONBLOCK, because opening a named pipe otherwise waits for a writer that may never come.
  const handle = await open(path, constants.O_RDONLY | (constants.O_NONBLOCK ?? 0));
  try {
    if (!(await handle.stat()).isFile()) {
      throw Object.assign(new Error('not a regular file'), { code: 'not a regular file' });
    }
    const { buffer, bytesRead } = await handle.read(Buffer.alloc(maxBytes + 1), 0, maxBytes + 1, 0);
    return buffer.subarray(0, bytesRead);
  } finally {
    await handle.close();
  }
}
