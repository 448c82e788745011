/**
 * Adds to package-lock.json the optional packages that its registry did not serve, such as another platform's binaries.
 *
 * `npm ci` refuses a lock file that lacks them, and older ones would install nothing on that platform. Their versions
 * are exact in the packages that ask for them, and their names say the platform; the hash is the one thing missing.
 */
import { readFileSync, writeFileSync } from 'node:fs';

type LockEntry = {
  readonly version?: string;
  readonly dev?: boolean;
  readonly devOptional?: boolean;
  readonly peer?: boolean;
  readonly optionalDependencies?: Readonly<Record<string, string>>;
  readonly [field: string]: unknown;
};

const PLATFORMS = [
  'aix',
  'android',
  'darwin',
  'freebsd',
  'linux',
  'netbsd',
  'openbsd',
  'openharmony',
  'sunos',
  'win32',
] as const;
const PROCESSORS = [
  'arm64',
  'arm',
  'ia32',
  'loong64',
  'mips64el',
  'ppc64',
  'riscv64',
  's390x',
  'wasm32',
  'x64',
];

const path = new URL('../package-lock.json', import.meta.url);
// A parse boundary: npm wrote the file, and `lockfileVersion` 3 has this shape.
const lock = JSON.parse(readFileSync(path, 'utf8')) as { packages: Record<string, LockEntry> };
const added: string[] = [];

for (const [owner, entry] of Object.entries(lock.packages)) {
  for (const [name, range] of Object.entries(entry.optionalDependencies ?? {})) {
    if (isFound(owner, name)) continue;
    const version = /^\d+\.\d+\.\d+/.test(range) ? range : siblingVersion(entry, range);
    if (version === undefined) {
      throw new Error(
        `${name} is missing from the lock file, and ${owner} asks for no exact version: ${range}`,
      );
    }
    lock.packages[`node_modules/${name}`] = {
      version,
      ...platformOf(name),
      ...(entry.dev === true && { dev: true }),
      ...(entry.devOptional === true && { devOptional: true }),
      ...(entry.peer === true && { peer: true }),
      optional: true,
    };
    added.push(`${name}@${version}`);
  }
}

const sorted = Object.entries(lock.packages).toSorted(([a], [b]) => (a < b ? -1 : 1));
writeFileSync(path, `${JSON.stringify({ ...lock, packages: Object.fromEntries(sorted) }, null, 2)}\n`);
console.log(added.length === 0 ? 'the lock file is complete' : `added to the lock file: ${added.join(', ')}`);

/** Whether the lock file holds the package where Node would look for it from `owner`. */
function isFound(owner: string, name: string): boolean {
  for (let folder = owner; ; folder = folder.slice(0, Math.max(0, folder.lastIndexOf('/node_modules/')))) {
    if (`${folder}${folder === '' ? '' : '/'}node_modules/${name}` in lock.packages) return true;
    if (folder === '') return false;
  }
}

/** The version of another platform's package of the same owner and range: they are published together. */
function siblingVersion(owner: LockEntry, range: string): string | undefined {
  return Object.entries(owner.optionalDependencies ?? {})
    .filter(([, other]) => other === range)
    .map(([name]) => lock.packages[`node_modules/${name}`]?.version)
    .find((version) => version !== undefined);
}

function platformOf(name: string): LockEntry {
  const words = name.split(/[/-]/);
  const os = PLATFORMS.find((platform) => words.includes(platform));
  const cpu = PROCESSORS.find((processor) => words.includes(processor));
  const libc = /musl/.test(name) ? 'musl' : /gnu|glibc/.test(name) ? 'glibc' : undefined;
  if (cpu === undefined)
    throw new Error(`the name of ${name} says no processor; complete the lock file by hand`);
  return { cpu: [cpu], ...(os && { os: [os] }), ...(os === 'linux' && libc && { libc: [libc] }) };
}
