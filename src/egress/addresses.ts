import { BlockList, isIP } from 'node:net';
import { invalidField } from '../errors/error.ts';

type Range = readonly [address: string, prefix: number];

// The blocks of RFC 6890 and its successors that are not globally reachable, and multicast. What is current:
// https://www.iana.org/assignments/iana-ipv4-special-registry and https://www.iana.org/assignments/iana-ipv6-special-registry
const PRIVATE_V4: readonly Range[] = [
  ['10.0.0.0', 8],
  ['100.64.0.0', 10], // shared by carriers
  ['127.0.0.0', 8],
  ['169.254.0.0', 16],
  ['172.16.0.0', 12],
  ['192.168.0.0', 16],
];
const PRIVATE_V6: readonly Range[] = [
  ['::1', 128],
  ['fc00::', 7],
  ['fe80::', 10],
  ['fec0::', 10], // site-local, deprecated and still routed here and there
];
const UNUSABLE_V4: readonly Range[] = [
  ['0.0.0.0', 8], // "this host": Linux connects 0.0.0.0 to loopback
  ['192.0.0.0', 24],
  ['192.0.2.0', 24],
  ['192.88.99.0', 24],
  ['198.18.0.0', 15],
  ['198.51.100.0', 24],
  ['203.0.113.0', 24],
  ['224.0.0.0', 4],
  ['240.0.0.0', 4],
];
// Hand out the credentials of the machine itself, so that "private addresses are allowed" is not meant for them.
const METADATA_V4: readonly Range[] = [
  ['169.254.169.254', 32], // AWS, Google, Azure, Oracle
  ['169.254.170.2', 32], // AWS ECS tasks
  ['169.254.170.23', 32], // AWS EKS pods
  ['100.100.100.200', 32], // Alibaba
  ['192.0.0.192', 32], // Oracle
  ['168.63.129.16', 32], // Azure, though the address is a public one
];
const METADATA_V6: readonly Range[] = [
  ['fd00:ec2::254', 128], // AWS
  ['fd00:ec2::23', 128], // AWS EKS pods
  ['fd20:ce::254', 128], // Google
];

// Only what is listed here is ever public in IPv6; IPv4-mapped and NAT64 addresses are judged by the IPv4 address in them.
const NAT64 = '64:ff9b::';
const GLOBAL_V6: readonly Range[] = [
  ['2000::', 3],
  ['::ffff:0:0', 96],
  [NAT64, 96],
];
const NOT_GLOBAL_V6: readonly Range[] = [
  ['2001::', 23], // protocol assignments, among them Teredo and benchmarking
  ['2001:db8::', 32],
  ['2002::', 16], // 6to4, which can hold any IPv4 address
  ['3fff::', 20],
];

const privateList = blockList(PRIVATE_V4, PRIVATE_V6);
const metadataList = blockList(METADATA_V4, METADATA_V6);
const globalV6List = blockList([], GLOBAL_V6);
const specialV4 = [...PRIVATE_V4, ...UNUSABLE_V4, ...METADATA_V4];
const specialList = blockList(specialV4, [
  ...NOT_GLOBAL_V6,
  ...specialV4.map(([address, prefix]): Range => [`${NAT64}${address}`, 96 + prefix]),
]);

/** Which addresses a connector may reach. */
export interface EgressPolicy {
  /** Whether a literal IP address may be connected to; false for text that is none. */
  allows(address: string): boolean;
}

/**
 * The operator's rule: public addresses, with `allowPrivate` those of private networks, loopback and link-local as well,
 * and those in `allowCidrs`. The metadata services of clouds are allowed by `allowCidrs` alone.
 *
 * @throws ConnectorError `invalid_argument` for text in `allowCidrs` that is no range.
 */
export function egressPolicy({
  allowPrivate,
  allowCidrs = [],
}: {
  readonly allowPrivate: boolean;
  readonly allowCidrs?: readonly string[];
}): EgressPolicy {
  const allowed = new BlockList();
  for (const [i, cidr] of allowCidrs.entries()) {
    const { address, prefix, family } = parseCidr(cidr, `allowCidrs[${i}]`);
    allowed.addSubnet(address, prefix, family);
  }
  return {
    allows(address) {
      if (isIP(address) === 0) return false;
      if (isPublicAddress(address) || contains(allowed, address)) return true;
      return allowPrivate && contains(privateList, address) && !contains(metadataList, address);
    },
  };
}

/** Whether a literal IP address lies on the public internet; false for text that is none and for one with a zone. */
export function isPublicAddress(address: string): boolean {
  const version = isIP(address);
  if (version === 0 || address.includes('%') || contains(specialList, address)) return false;
  return version === 4 || contains(globalV6List, address);
}

function blockList(v4: readonly Range[], v6: readonly Range[]): BlockList {
  const list = new BlockList();
  for (const [address, prefix] of v4) list.addSubnet(address, prefix, 'ipv4');
  for (const [address, prefix] of v6) list.addSubnet(address, prefix, 'ipv6');
  return list;
}

/** Whether the list holds the address; Node looks for an IPv4-mapped one among the IPv4 ranges, too. */
function contains(list: BlockList, address: string): boolean {
  return list.check(address, isIP(address) === 6 ? 'ipv6' : 'ipv4');
}

function parseCidr(cidr: string, path: string) {
  const [address = '', bits, ...rest] = cidr.split('/');
  const version = isIP(address);
  const width = version === 6 ? 128 : 32;
  const prefix = bits === undefined ? width : /^\d{1,3}$/.test(bits) ? Number(bits) : Number.NaN;
  if (version === 0 || address.includes('%') || rest.length > 0 || !(prefix <= width)) {
    throw invalidField(path, 'is not an address or a range such as 10.0.0.0/8');
  }
  return { address, prefix, family: version === 6 ? 'ipv6' : 'ipv4' } as const;
}
