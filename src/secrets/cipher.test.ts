import fc from 'fast-check';
import { expect, it } from 'vitest';
import { ConnectorError } from '../errors/error.ts';
import { cipher, sealedKeyId, type SecretPlace } from './cipher.ts';
import { keyRing } from './key-ring.ts';

const OLD_KEY = '11'.repeat(32);
const NEW_KEY = '22'.repeat(32);
const CANARY = 'canary-7f3a9c';
const PLACE: SecretPlace = { tenantId: 'acme', connectorId: 'c1', field: 'auth.api_key' };

const ring = keyRing([OLD_KEY], 'the test');
const { seal, open } = cipher(ring);

/** What a refused value threw; fails the test where it opened. */
function refusal(sealed: string, place: SecretPlace = PLACE, opener = open): ConnectorError {
  try {
    opener(sealed, place);
  } catch (error) {
    if (error instanceof ConnectorError) return error;
    throw error;
  }
  throw new Error('opened');
}

const place = fc.record({ tenantId: fc.string(), connectorId: fc.string(), field: fc.string() });

it('opens what it sealed, whatever the text and the place', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary' }), place, (secret, where) => {
      expect(open(seal(secret, where), where)).toBe(secret);
    }),
  );
});

it('seals the same secret differently each time', () => {
  const sealed = Array.from({ length: 10_000 }, () => seal(CANARY, PLACE));
  expect(new Set(sealed.map((value) => value.split('.')[2])).size).toBe(10_000);
});

it('names its version and the id of the master key', () => {
  const sealed = seal(CANARY, PLACE);
  expect(sealed).toMatch(/^v1\.[0-9a-f]{16}\./);
  expect(sealedKeyId(sealed)).toBe(ring.current.id);
  expect(sealedKeyId('***')).toBeUndefined();
});

it('refuses a value with any bit flipped', () => {
  for (const secret of ['', 'x', CANARY, 'ab', 'a'.repeat(100)]) {
    const bytes = Buffer.from(seal(secret, PLACE), 'latin1');
    for (let bit = 0; bit < bytes.length * 8; bit++) {
      const altered = Buffer.from(bytes);
      altered[bit >> 3] = (altered[bit >> 3] ?? 0) ^ (1 << (bit & 7));
      expect(['internal', 'invalid_state']).toContain(refusal(altered.toString('latin1')).code);
    }
  }
});

it('refuses a value that was cut or lengthened anywhere', () => {
  const sealed = seal(CANARY, PLACE);
  for (let at = 0; at < sealed.length; at++) {
    expect(['internal', 'invalid_state']).toContain(refusal(sealed.slice(0, at)).code);
    expect(['internal', 'invalid_state']).toContain(refusal(sealed.slice(at + 1)).code);
  }
  for (const more of ['A', '=', '.', '\n', ' ']) refusal(sealed + more);
});

it.each(['tenantId', 'connectorId', 'field'] as const)('opens a value for no other %s', (name) => {
  fc.assert(
    fc.property(place, fc.string(), (here, other) => {
      fc.pre(here[name] !== other);
      expect(refusal(seal(CANARY, here), { ...here, [name]: other }).code).toBe('internal');
    }),
  );
});

it('keeps places apart whose names run into each other', () => {
  const here = { tenantId: 'a', connectorId: 'b.c', field: 'd' };
  const there = { tenantId: 'a', connectorId: 'b', field: 'c.d' };
  expect(refusal(seal(CANARY, here), there).code).toBe('internal');
  const quoted = { tenantId: 'a', connectorId: 'b","c', field: 'd' };
  const split = { tenantId: 'a', connectorId: 'b', field: 'c","d' };
  expect(refusal(seal(CANARY, quoted), split).code).toBe('internal');
});

it('opens with an old key that is still in the ring, and seals with the current one', () => {
  const sealed = seal(CANARY, PLACE);
  const rotated = keyRing([NEW_KEY, OLD_KEY], 'the test');
  const after = cipher(rotated);
  expect(after.open(sealed, PLACE)).toBe(CANARY);
  expect(sealedKeyId(after.seal(CANARY, PLACE))).toBe(rotated.current.id);
});

it('seals anew what an old key sealed, for the same place, and leaves what the current one sealed', () => {
  const sealed = seal(CANARY, PLACE);
  const rotated = cipher(keyRing([NEW_KEY, OLD_KEY], 'the test'));
  const anew = rotated.reseal(sealed, PLACE);
  expect(cipher(keyRing([NEW_KEY], 'the test')).open(anew, PLACE)).toBe(CANARY);
  expect(rotated.reseal(anew, PLACE)).toBe(anew);
  expect(() => rotated.reseal(sealed, { ...PLACE, tenantId: 'rival' })).toThrow(/does not open/);
});

it('names the master key that is missing', () => {
  const other = cipher(keyRing([NEW_KEY], 'the test'));
  expect(refusal(seal(CANARY, PLACE), PLACE, other.open)).toMatchObject({
    code: 'invalid_state',
    message: `sealed with master key ${ring.current.id}, which is not in the key ring; set CONNECTORS_MASTER_KEY or restore the file`,
  });
});

it('refuses a value that claims another key of the ring', () => {
  const both = keyRing([NEW_KEY, OLD_KEY], 'the test');
  const claimed = seal(CANARY, PLACE).replace(ring.current.id, both.current.id);
  expect(refusal(claimed, PLACE, cipher(both).open).code).toBe('internal');
});

it('names the field and the key, and never what is in it, in any refusal', () => {
  const sealed = seal(CANARY, PLACE);
  const moved = refusal(sealed, { ...PLACE, tenantId: 'rival' });
  expect(moved.message).toContain('auth.api_key');
  expect(moved.details).toEqual({ field: 'auth.api_key', keyId: ring.current.id });
  for (const error of [
    moved,
    refusal(`${sealed.slice(0, -1)}!`),
    refusal(CANARY),
    refusal(`v2${sealed.slice(2)}`),
  ]) {
    const everything = `${error.stack}${JSON.stringify(error)}${String(error.cause)}`;
    expect(everything).not.toContain(CANARY);
    expect(everything).not.toContain(sealed.split('.')[3]);
  }
});

it('refuses text that it could not give back unchanged', () => {
  expect(() => seal('\ud800', PLACE)).toThrow(expect.objectContaining({ code: 'invalid_argument' }));
});

it('goes on opening when more tenants were used than keys are kept', () => {
  const places = Array.from({ length: 1100 }, (_, i) => ({ ...PLACE, tenantId: `t${i}` }));
  const sealed = places.map((where) => seal(CANARY, where));
  expect(places.map((where, i) => open(sealed[i] ?? '', where))).toEqual(places.map(() => CANARY));
});
