import { readFileSync } from 'node:fs';

type Entry = {
  readonly version: string;
  readonly dev?: true;
  readonly devOptional?: true;
  readonly peer?: true;
  readonly optional?: true;
};

/** What a lock file says of each package, by where that lies. */
export function packagesOf(lockFile: string): Readonly<Record<string, Entry>> {
  const lock = JSON.parse(readFileSync(lockFile, 'utf8')) as { readonly packages: Record<string, Entry> };
  return lock.packages;
}

/** Those that `npm ci --omit=dev` would install. */
export function productionPackages(lockFile: string): readonly (readonly [string, Entry])[] {
  return Object.entries(packagesOf(lockFile)).filter(
    ([place, { dev, devOptional, peer }]) => place !== '' && !dev && !devOptional && !peer,
  );
}
