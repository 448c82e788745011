const UNITS = ['KiB', 'MiB', 'GiB', 'TiB', 'PiB'];

/** A number of bytes as people read it: `512 B`, `1.5 KiB`, `20 MiB`. */
export function byteSize(bytes: number): string {
  if (bytes < 1_024) return `${Math.round(bytes)} B`;
  let [size, unit] = [bytes / 1_024, 0];
  // What would be shown as 1024 of one unit is 1 of the next.
  while (size >= 1_023.5 && unit < UNITS.length - 1) [size, unit] = [size / 1_024, unit + 1];
  return `${size < 9.95 ? size.toFixed(1) : Math.round(size)} ${UNITS[unit]}`;
}

/** Bytes a second, as people read it. */
export function byteRate(bytes: number, seconds: number): string {
  return seconds > 0 ? `${byteSize(bytes / seconds)}/s` : '-';
}
