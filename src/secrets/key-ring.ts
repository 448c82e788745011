import { createHash, createSecretKey, randomBytes, type KeyObject } from 'node:crypto';
import { constants, type Stats } from 'node:fs';
import { link, mkdir, open, rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import { ConnectorError } from '../errors/error.ts';

export const MASTER_KEY_VARIABLE = 'CONNECTORS_MASTER_KEY';

const KEY_BYTES = 32;
const MAX_FILE_BYTES = 65_536;
const FILE_HEADER = `# Master keys of connector-registry, one per line, 32 bytes as base64 or hex; the first is current.
# Keep a copy elsewhere: without it no stored credential can be read.
`;

/** A master key; the id names it without telling anything about it. */
export type MasterKey = { readonly id: string; readonly key: KeyObject };

/** The master keys that stored credentials may be sealed with, the current one first. */
export class KeyRing {
  readonly current: MasterKey;
  readonly #keys: ReadonlyMap<string, MasterKey>;

  constructor(keys: readonly [MasterKey, ...MasterKey[]]) {
    this.current = keys[0];
    this.#keys = new Map(keys.map((key) => [key.id, key]));
  }

  get ids(): readonly string[] {
    return [...this.#keys.keys()];
  }

  /**
   * The key with this id.
   *
   * @throws ConnectorError `invalid_state` that names the missing id.
   */
  get(id: string): MasterKey {
    const key = this.#keys.get(id);
    if (key) return key;
    throw new ConnectorError(
      'invalid_state',
      `sealed with master key ${id}, which is not in the key ring; set ${MASTER_KEY_VARIABLE} or restore the file`,
      { details: { missingKeyId: id, keyIds: this.ids } },
    );
  }
}

/**
 * The keys of the environment variable {@link MASTER_KEY_VARIABLE} where it is set, separated by commas; otherwise those
 * of `file`, which is made with a fresh key and mode 0600 where there is none.
 *
 * @throws ConnectorError `invalid_state` for a malformed key, which is counted and never printed, and for a file that
 *   others may read.
 */
export async function openKeyRing({
  env,
  file,
}: {
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly file: string;
}): Promise<KeyRing> {
  const variable = env[MASTER_KEY_VARIABLE];
  if (variable !== undefined) return keyRing(variable.split(','), MASTER_KEY_VARIABLE);
  const text = (await readKeyFile(file)) ?? (await createKeyFile(file));
  const lines = text.split('\n').filter((line) => line.trim() !== '' && !line.startsWith('#'));
  return keyRing(lines, file);
}

/** The ring of keys written as base64 or hex, the current one first; `source` names their origin in errors. */
export function keyRing(texts: readonly string[], source: string): KeyRing {
  const [first, ...others] = texts.map((text, i) => masterKey(text.trim(), `key ${i + 1} of ${source}`));
  if (!first) throw new ConnectorError('invalid_state', `${source} holds no master key`);
  return new KeyRing([first, ...others]);
}

function masterKey(text: string, label: string): MasterKey {
  const bytes = Buffer.from(text, /^[0-9a-f]{64}$/i.test(text) ? 'hex' : 'base64');
  // Buffer skips what it cannot read, so the length in characters is checked as well.
  const plausible = /^(?:[0-9a-f]{64}|[A-Za-z0-9+/_-]{43}=?)$/i.test(text);
  if (!plausible || bytes.length !== KEY_BYTES) {
    throw new ConnectorError('invalid_state', `${label} is not ${KEY_BYTES} bytes as base64 or hex`);
  }
  // Its own domain, so that the id is of no use against anything else that hashes the key.
  const id = createHash('sha256').update('connector-registry master key id\0').update(bytes).digest('hex');
  return { id: id.slice(0, 16), key: createSecretKey(bytes) };
}

async function readKeyFile(file: string): Promise<string | undefined> {
  const handle = await open(file, constants.O_RDONLY).catch((cause: NodeJS.ErrnoException) => {
    if (cause.code === 'ENOENT') return undefined;
    throw new ConnectorError('invalid_state', `the master key file ${file} cannot be read (${cause.code})`, {
      cause,
    });
  });
  if (!handle) return undefined;
  try {
    checkKeyFile(file, await handle.stat());
    return await handle.readFile('utf8');
  } finally {
    await handle.close();
  }
}

function checkKeyFile(file: string, stats: Stats): void {
  const { mode, size } = stats;
  if (!stats.isFile()) {
    throw new ConnectorError('invalid_state', `the master key file ${file} is not a regular file`);
  }
  // Windows has no such bits: Node shows 0o666 for any file there.
  if (process.platform !== 'win32' && (mode & 0o077) !== 0) {
    throw new ConnectorError(
      'invalid_state',
      `the master key file ${file} is open to other users; run: chmod 600 ${file}`,
    );
  }
  if (size > MAX_FILE_BYTES) {
    throw new ConnectorError('invalid_state', `the master key file ${file} is over ${MAX_FILE_BYTES} bytes`);
  }
}

/** Makes the file whole or not at all, durably; where another process was first, what that one wrote. */
async function createKeyFile(file: string): Promise<string> {
  const text = `${FILE_HEADER}${randomBytes(KEY_BYTES).toString('base64')}\n`;
  const folder = dirname(file);
  const draft = `${file}.${randomBytes(6).toString('hex')}.tmp`;
  try {
    await mkdir(folder, { recursive: true });
    const handle = await open(draft, 'wx', 0o600);
    try {
      await handle.writeFile(text);
      await handle.sync();
    } finally {
      await handle.close();
    }
    // A link, unlike a rename, never replaces a key that is there already.
    await link(draft, file);
    await syncFolder(folder);
    return text;
  } catch (cause) {
    const theirs = await readKeyFile(file);
    if (theirs !== undefined) return theirs;
    throw new ConnectorError('invalid_state', `the master key file ${file} cannot be made`, { cause });
  } finally {
    await rm(draft, { force: true });
  }
}

async function syncFolder(folder: string): Promise<void> {
  if (process.platform === 'win32') return;
  const handle = await open(folder, constants.O_RDONLY);
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}
