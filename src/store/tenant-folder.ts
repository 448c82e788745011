import { invalidField } from '../errors/error.ts';

const TENANT = /^[A-Za-z0-9._:-]{1,128}$/;
// Names that mean a device on Windows, whatever follows a full stop; no full stop survives below.
const RESERVED = /^(con|prn|aux|nul|com[0-9]|lpt[0-9])$/;

/**
 * The name of a tenant's folder: never `.` or `..`, and never the same for two tenants, not even on a file system that
 * ignores case.
 *
 * Most names are their own folder's name. `.` becomes `,` and `:` becomes `@`; capitals become small, and which ones
 * they were follows after `=` as a number in hex, one bit for each position. At most 161 characters.
 *
 * @throws ConnectorError `invalid_argument` for a name that no tenant may have.
 */
export function tenantFolderName(tenantId: string): string {
  if (!TENANT.test(tenantId)) {
    throw invalidField('tenantId', 'is 1 to 128 characters of letters, digits, . _ - and :');
  }
  const small = tenantId.toLowerCase();
  const name = small.replaceAll('.', ',').replaceAll(':', '@');
  const capitals = Array.from(tenantId, (letter, i) => (letter === small[i] ? '0' : '1')).join('');
  const bits = BigInt(`0b${capitals}`);
  return bits === 0n && !RESERVED.test(name) ? name : `${name}=${bits.toString(16)}`;
}
