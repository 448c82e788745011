import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { egressPolicy, isPublicAddress } from './addresses.ts';
import { PUBLIC_ADDRESSES, ZONED_HOSTS } from './spellings.fixture.ts';

it.each(PUBLIC_ADDRESSES)('takes %s for public', (address) => {
  expect(isPublicAddress(address)).toBe(true);
});

it.each([
  '',
  'localhost',
  '127.1',
  '0x08080808',
  '8.8.8.8.',
  '[2606:4700::1]',
  '8.8.8.8/32',
  ' 8.8.8.8',
  ...ZONED_HOSTS,
])('takes %j for no public address', (address) => {
  expect(isPublicAddress(address)).toBe(false);
});

/** The same rule written as arithmetic, to hold the ranges against. */
function isPublicV4(a: number, b: number, c: number, d: number): boolean {
  if (a === 0 || a === 10 || a === 127 || a >= 224) return false;
  if (a === 100) return b < 64 || b > 127;
  if (a === 168) return !(b === 63 && c === 129 && d === 16);
  if (a === 169) return b !== 254;
  if (a === 172) return b < 16 || b > 31;
  if (a === 192) return !(b === 168 || (b === 0 && (c === 0 || c === 2)) || (b === 88 && c === 99));
  if (a === 198) return !(b === 18 || b === 19 || (b === 51 && c === 100));
  return !(a === 203 && b === 0 && c === 113);
}

const octet = (...likely: number[]) => fc.oneof(fc.integer({ min: 0, max: 255 }), fc.constantFrom(...likely));
const v4 = fc.tuple(
  octet(0, 10, 100, 127, 168, 169, 172, 192, 198, 203, 224, 255),
  octet(0, 16, 18, 31, 51, 63, 64, 88, 127, 168, 254),
  octet(0, 2, 99, 100, 113, 129),
  octet(0, 16, 254, 255),
);

it('judges every IPv4 address as the registry does, and the IPv6 forms of it alike', () => {
  fc.assert(
    fc.property(v4, ([a, b, c, d]) => {
      const address = `${a}.${b}.${c}.${d}`;
      const hex = `${(a * 256 + b).toString(16)}:${(c * 256 + d).toString(16)}`;
      const expected = isPublicV4(a, b, c, d);
      expect(isPublicAddress(address)).toBe(expected);
      for (const form of [`::ffff:${address}`, `::ffff:${hex}`, `64:ff9b::${address}`, `64:ff9b::${hex}`]) {
        expect(isPublicAddress(form)).toBe(expected);
      }
      for (const form of [`::${address}`, `2002:${hex}::1`, `2001:0:${hex}::1`, `64:ff9b:1::${address}`]) {
        expect(isPublicAddress(form)).toBe(false);
      }
    }),
    { numRuns: 2000 },
  );
});

it('takes no IPv6 address outside the global range for public', () => {
  fc.assert(
    fc.property(fc.ipV6(), (address) => {
      const first = Number.parseInt(address.startsWith('::') ? '0' : (address.split(':')[0] ?? '0'), 16);
      const embeds = /^(?:::ffff:|0:0:0:0:0:ffff:|64:ff9b:)/i.test(address);
      fc.pre(!embeds && (first < 0x2000 || first > 0x3fff));
      expect(isPublicAddress(address)).toBe(false);
    }),
  );
});

describe('the policy of the operator', () => {
  const closed = egressPolicy({ allowPrivate: false });
  const open = egressPolicy({ allowPrivate: true });

  it.each([
    '127.0.0.1',
    '10.1.2.3',
    '169.254.1.1',
    '100.64.0.1',
    '::1',
    'fd00::1',
    'fe80::1%eth0',
    '::ffff:10.0.0.1',
  ])('allows %s only with allowPrivate', (address) => {
    expect(closed.allows(address)).toBe(false);
    expect(open.allows(address)).toBe(true);
  });

  it.each(['169.254.169.254', '::ffff:169.254.169.254', 'fd00:ec2::254', '100.100.100.200', '168.63.129.16'])(
    'does not allow the metadata service %s with allowPrivate, but by its own range',
    (address) => {
      expect(open.allows(address)).toBe(false);
      expect(egressPolicy({ allowPrivate: false, allowCidrs: [address] }).allows(address)).toBe(true);
    },
  );

  it.each([
    '0.0.0.0',
    '224.0.0.1',
    '255.255.255.255',
    '192.0.2.1',
    '::',
    '2002:7f00:1::',
    '64:ff9b::10.0.0.1',
    'x',
    '',
  ])('does not allow %j with allowPrivate', (address) => {
    expect(open.allows(address)).toBe(false);
  });

  it('allows the ranges that it names and nothing beside them', () => {
    const some = egressPolicy({
      allowPrivate: false,
      allowCidrs: ['10.1.0.0/16', '192.168.1.5', 'fd12::/16'],
    });
    const allowed = ['10.1.0.0', '10.1.255.255', '::ffff:10.1.2.3', '192.168.1.5', 'fd12::1', '8.8.8.8'];
    const refused = ['10.0.255.255', '10.2.0.0', '192.168.1.4', '192.168.1.6', 'fd13::1', '127.0.0.1'];
    expect(allowed.map((address) => some.allows(address))).toEqual(allowed.map(() => true));
    expect(refused.map((address) => some.allows(address))).toEqual(refused.map(() => false));
  });

  it.each([
    '',
    '10.0.0.0/33',
    '10.0.0.0/-1',
    '10.0.0.0/',
    '10.0.0.0/8/8',
    '10.0.0/8',
    'fe80::%eth0/10',
    '::/129',
    'lan',
  ])('refuses %j for a range and names its place', (cidr) => {
    expect(() => egressPolicy({ allowPrivate: false, allowCidrs: ['10.0.0.0/8', cidr] })).toThrow(
      expect.objectContaining({
        code: 'invalid_argument',
        message: expect.stringContaining('allowCidrs[1]'),
      }),
    );
  });
});
