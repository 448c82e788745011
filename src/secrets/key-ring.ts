import { createHash, createSecretKey, type KeyObject } from 'node:crypto';
import { ConnectorError } from '../errors/error.ts';
import { createKeyFile, KEY_BYTES, keysIn, readKeyFile } from './key-file.ts';

export const MASTER_KEY_VARIABLE = 'CONNECTORS_MASTER_KEY';

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

  has(id: string): boolean {
    return this.#keys.has(id);
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
 * of `file`; undefined where there is neither.
 *
 * @throws ConnectorError `invalid_state` for a malformed key, which is counted and never printed, and for a file that
 *   others may read.
 */
export async function readKeyRing({
  env,
  file,
}: {
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly file: string | undefined;
}): Promise<KeyRing | undefined> {
  const variable = env[MASTER_KEY_VARIABLE];
  if (variable !== undefined) return keyRing(variable.split(','), MASTER_KEY_VARIABLE);
  const text = file === undefined ? undefined : await readKeyFile(file);
  return text === undefined ? undefined : ringIn(text, file);
}

/** Makes `file` with a fresh key and mode 0600; `isNew` is false where another process was first, whose key it is then. */
export async function makeKeyRing(
  file: string,
): Promise<{ readonly ring: KeyRing; readonly isNew: boolean }> {
  const { text, isNew } = await createKeyFile(file);
  return { ring: ringIn(text, file), isNew };
}

/** The ring of keys written as base64 or hex, the current one first; `source` names their origin in errors. */
export function keyRing(texts: readonly string[], source: string): KeyRing {
  const [first, ...others] = texts.map((text, i) => masterKey(text.trim(), `key ${i + 1} of ${source}`));
  if (!first) throw new ConnectorError('invalid_state', `${source} holds no master key`);
  return new KeyRing([first, ...others]);
}

function ringIn(text: string, file = ''): KeyRing {
  return keyRing(keysIn(text), file);
}

/** The key that is written as `text`; `label` names it in errors. @throws ConnectorError `invalid_state`. */
export function masterKey(text: string, label: string): MasterKey {
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
