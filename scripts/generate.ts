/**
 * Writes what the sources already say: the drivers' loaders and the reference pages and tables below `docs`.
 *
 * With `--check` it writes nothing, names each file that is not what it would write, and fails where there is one.
 */
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import manifest from '../package.json' with { type: 'json' };
import { operations } from '../src/operations/index.ts';
import type { AnyDriver } from '../src/registry/catalog.ts';
import { openApiDocument } from '../src/server/openapi.ts';
import { capabilitiesPage, driverPage, errorsPage, loadersModule, withSettings } from './generate/pages.ts';
import { parseSeen, parseSeenCases, type SeenDriver } from './generate/seen.ts';

const root = fileURLToPath(new URL('..', import.meta.url));

const peerRanges: Readonly<Record<string, string>> = manifest.peerDependencies;
const names = driverNames();
const drivers = await Promise.all(names.map(async (name) => withSeen(await load(name))));
const files = new Map<string, string>([
  ['src/drivers.generated.ts', loadersModule(names)],
  ['docs/errors.md', errorsPage()],
  ['docs/operations.md', withSettings(readText('docs/operations.md') ?? '')],
  ['docs/capabilities.md', capabilitiesPage(drivers)],
  ...drivers.map((one) => [`docs/drivers/${one.driver.kind}-${one.driver.id}.md`, driverPage(one)] as const),
  ['docs/openapi.json', `${JSON.stringify(openApiDocument(operations), null, 2)}\n`],
]);
const left = filesIn('docs/drivers').filter((path) => !files.has(path));

if (process.argv.includes('--check')) check();
else write();

function check(): void {
  const stale = [...files].filter(([path, text]) => readText(path) !== text).map(([path]) => path);
  for (const path of [...stale, ...left]) console.error(`${path} is not what npm run generate writes`);
  if (stale.length + left.length > 0) process.exit(1);
  console.log(`${files.size} generated files are up to date`);
}

function write(): void {
  for (const [path, text] of files) {
    if (readText(path) === text) continue;
    mkdirSync(dirname(join(root, path)), { recursive: true });
    writeFileSync(join(root, path), text);
    console.log(`wrote ${path}`);
  }
  for (const path of left) {
    rmSync(join(root, path));
    console.log(`removed ${path}`);
  }
}

/** `vector/embedded` for each folder of `src/drivers` that holds a driver, sorted. */
function driverNames(): readonly string[] {
  return filesIn('src/drivers')
    .filter((path) => /^src\/drivers\/[^/]+\/[^/]+\/index\.ts$/.test(path))
    .map((path) => dirname(relative('src/drivers', path)))
    .toSorted();
}

async function load(name: string): Promise<AnyDriver> {
  const path = join(root, 'src/drivers', name, 'index.ts');
  // A parse boundary: the next line checks that it is the driver that the folder's name promises.
  const { default: driver } = (await import(pathToFileURL(path).href)) as { readonly default: AnyDriver };
  if (`${driver.kind}/${driver.id}` !== name) {
    throw new Error(`the driver in src/drivers/${name} calls itself ${driver.kind}/${driver.id}`);
  }
  for (const [peer, range] of Object.entries(driver.peers ?? {})) {
    if (peerRanges[peer] !== range) {
      throw new Error(
        `the driver ${name} wants ${peer}@${range}, and package.json ${peerRanges[peer] ?? 'does not'}`,
      );
    }
  }
  return driver;
}

/** The driver with what its conformance suite saw, where it kept that. */
function withSeen(driver: AnyDriver): SeenDriver {
  const path = `src/drivers/${driver.kind}/${driver.id}/seen.json`;
  const text = readText(path);
  if (text === undefined) return { driver, seen: undefined, seenCases: undefined };
  return driver.kind !== 'vector'
    ? { driver, seen: undefined, seenCases: parseSeenCases(text, path) }
    : { driver, seen: parseSeen(text, path), seenCases: undefined };
}

function filesIn(folder: string): readonly string[] {
  if (!existsSync(join(root, folder))) return [];
  return readdirSync(join(root, folder), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => relative(root, join(entry.parentPath, entry.name)).replaceAll('\\', '/'));
}

function readText(path: string): string | undefined {
  return existsSync(join(root, path)) ? readFileSync(join(root, path), 'utf8') : undefined;
}
