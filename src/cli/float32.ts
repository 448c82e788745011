/**
 * A vector as JSON, each float32 by the fewest digits that read back as the same one: `0.1`, not `0.10000000149011612`.
 *
 * A number that float32 does not hold keeps all its digits.
 */
export function float32Json(values: readonly number[]): string {
  let hasNegativeZero = false;
  const short = values.map((value) => {
    hasNegativeZero ||= Object.is(value, -0);
    return shortest(value);
  });
  // JSON.stringify writes -0 as 0.
  if (hasNegativeZero) return `[${short.map((n) => (Object.is(n, -0) ? '-0' : String(n))).join(',')}]`;
  return JSON.stringify(short);
}

const SMALLEST_NORMAL = 2 ** -126;
/** Powers of ten that a double holds exactly. */
const POWERS = Array.from({ length: 23 }, (_, exponent) => Number(`1e${exponent}`));

/** The double whose shortest form is the shortest of the float32. */
function shortest(value: number): number {
  if (value === 0 || Math.fround(value) !== value) return value;
  const magnitude = Math.floor(Math.log10(Math.abs(value)));
  // Nine digits tell all float32 apart. Forms of up to six tell them from each other, so that of six ends in zeros where
  // there is a shorter one; but not below the smallest normal number.
  for (let digits = Math.abs(value) < SMALLEST_NORMAL ? 1 : 6; digits <= 9; digits++) {
    const short = rounded(value, digits, digits - 1 - magnitude);
    if (Math.fround(short) === value) return short;
  }
  return value;
}

function rounded(value: number, digits: number, decimals: number): number {
  const power = POWERS[Math.abs(decimals)];
  if (power === undefined) return Number(value.toPrecision(digits));
  // The quotient of two exact numbers is the double next to the decimal; so is what reads its digits.
  return decimals < 0 ? Math.round(value / power) * power : Math.round(value * power) / power;
}
