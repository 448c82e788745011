/**
 * Compares two strings by the bytes of their UTF-8, which is what every backend sorts by. It differs from comparing
 * strings only between surrogates (beyond U+FFFF) and U+E000 to U+FFFF.
 */
export function byteOrder(a: string, b: string): number {
  const shared = Math.min(a.length, b.length);
  for (let i = 0; i < shared; i++) {
    const left = a.charCodeAt(i);
    const right = b.charCodeAt(i);
    if (left !== right) return rank(left) - rank(right);
  }
  return a.length - b.length;
}

function rank(unit: number): number {
  if (unit < 0xd800) return unit;
  return unit < 0xe000 ? unit + 0x2000 : unit - 0x800;
}
