import {
  createCipheriv,
  createDecipheriv,
  createSecretKey,
  hkdfSync,
  randomBytes,
  type KeyObject,
} from 'node:crypto';
import { ConnectorError, invalidField } from '../errors/error.ts';
import type { KeyRing } from './key-ring.ts';

/** Where a secret belongs; a sealed value opens nowhere else. */
export type SecretPlace = {
  readonly tenantId: string;
  readonly connectorId: string;
  /** The credential's dotted field name. */
  readonly field: string;
};

export interface Cipher {
  /** The secret as `v1.<key id>.<iv>.<ciphertext and tag>`, under the ring's current key. */
  seal(secret: string, place: SecretPlace): string;
  /**
   * The secret that was sealed for this place.
   *
   * @throws ConnectorError `internal` for anything that was altered, cut or sealed for another place; `invalid_state`
   *   when its master key is not in the ring. Both name the key id and never the content.
   */
  open(sealed: string, place: SecretPlace): string;
  /** The same secret under the ring's current key; unchanged where that one sealed it. @throws ConnectorError as `open`. */
  reseal(sealed: string, place: SecretPlace): string;
}

const ALGORITHM = 'aes-256-gcm';
const IV_BYTES = 12;
const TAG_BYTES = 16;
const SEALED = /^v1\.([0-9a-f]{16})\.([A-Za-z0-9_-]{16})\.([A-Za-z0-9_-]{22,})$/;
// Deriving one anew costs about as much as sealing a value does (bench/policies.ts).
const MAX_DERIVED_KEYS = 1000;

/**
 * A cipher over the keys of the ring: AES-256-GCM under a key for each tenant, a fresh random IV for each value, the
 * place as associated data.
 *
 * Random IVs are safe below 2^32 values under one key, and each tenant has its own.
 */
export function cipher(ring: KeyRing): Cipher {
  const derived = new Map<string, KeyObject>();

  const keyFor = (keyId: string, tenantId: string): KeyObject => {
    const name = `${keyId} ${tenantId}`;
    const known = derived.get(name);
    if (known) {
      // Set anew, so that the first of the map is the one that was not used for longest.
      derived.delete(name);
      derived.set(name, known);
      return known;
    }
    const key = tenantKey(ring.get(keyId).key, tenantId);
    const [oldest] = derived.keys();
    if (derived.size >= MAX_DERIVED_KEYS && oldest !== undefined) derived.delete(oldest);
    derived.set(name, key);
    return key;
  };

  const made: Cipher = {
    seal(secret, place) {
      if (!secret.isWellFormed()) throw invalidField(place.field, 'is not well-formed Unicode text');
      const { id } = ring.current;
      const iv = randomBytes(IV_BYTES);
      const gcm = createCipheriv(ALGORITHM, keyFor(id, place.tenantId), iv, { authTagLength: TAG_BYTES });
      gcm.setAAD(associatedData(place, id));
      const sealed = Buffer.concat([gcm.update(secret, 'utf8'), gcm.final(), gcm.getAuthTag()]);
      return `v1.${id}.${iv.toString('base64url')}.${sealed.toString('base64url')}`;
    },

    open(sealed, place) {
      const [, id = '', iv = '', text = ''] = SEALED.exec(sealed) ?? [];
      const bytes = Buffer.from(text, 'base64url');
      // The last character may hold bits that decode to nothing; a value with those flipped is an altered one, too.
      if (id === '' || bytes.toString('base64url') !== text) {
        throw new ConnectorError(
          'internal',
          `the sealed value of ${place.field} is damaged or of an unknown version`,
        );
      }
      const key = keyFor(id, place.tenantId);
      const gcm = createDecipheriv(ALGORITHM, key, Buffer.from(iv, 'base64url'), {
        authTagLength: TAG_BYTES,
      });
      gcm.setAAD(associatedData(place, id));
      gcm.setAuthTag(bytes.subarray(-TAG_BYTES));
      // Nothing of the plain text leaves before final() has proven the tag.
      const plain = gcm.update(bytes.subarray(0, -TAG_BYTES));
      try {
        gcm.final();
      } catch (cause) {
        throw new ConnectorError(
          'internal',
          `the sealed value of ${place.field} does not open with master key ${id}: it was altered, or sealed for another tenant, connector or field`,
          { cause, details: { field: place.field, keyId: id } },
        );
      }
      return plain.toString('utf8');
    },

    reseal(sealed, place) {
      if (sealedKeyId(sealed) === ring.current.id) return sealed;
      return made.seal(made.open(sealed, place), place);
    },
  };
  return made;
}

/** The id of the master key that a value was sealed with, `undefined` for text that is not a sealed value. */
export function sealedKeyId(sealed: string): string | undefined {
  return SEALED.exec(sealed)?.[1];
}

function tenantKey(masterKey: KeyObject, tenantId: string): KeyObject {
  const info = `connector-registry credentials v1\0${tenantId}`;
  return createSecretKey(new Uint8Array(hkdfSync('sha256', masterKey, 'connector-registry', info, 32)));
}

/** JSON, because no two places share one: a separator could also be part of a name. */
function associatedData({ tenantId, connectorId, field }: SecretPlace, keyId: string): Buffer {
  return Buffer.from(JSON.stringify(['v1', keyId, tenantId, connectorId, field]));
}
