/**
 * Makes some of the optional packages part of a production install, in the versions that the lock file has.
 *
 *     node scripts/production-packages.mjs pg ioredis && npm ci --omit=dev --ignore-scripts
 *
 * It changes package.json and package-lock.json where it runs: for images, never in a checkout.
 */
import { readFileSync, writeFileSync } from 'node:fs';

const names = process.argv.slice(2);
const manifest = JSON.parse(readFileSync('package.json', 'utf8'));
const lock = JSON.parse(readFileSync('package-lock.json', 'utf8'));

const unknown = names.filter((name) => !(name in manifest.peerDependencies));
if (unknown.length > 0) {
  console.error(`${unknown.join(', ')}: no optional package of this one; there are:`);
  console.error(Object.keys(manifest.peerDependencies).join(' '));
  process.exit(2);
}

const chosen = Object.fromEntries(names.map((name) => [name, manifest.devDependencies[name]]));
const isOther = ([name]) => !names.includes(name);
for (const root of [manifest, lock.packages['']]) {
  root.dependencies = { ...root.dependencies, ...chosen };
  root.devDependencies = Object.fromEntries(Object.entries(root.devDependencies).filter(isOther));
  root.peerDependencies = Object.fromEntries(Object.entries(root.peerDependencies).filter(isOther));
  root.peerDependenciesMeta = Object.fromEntries(Object.entries(root.peerDependenciesMeta).filter(isOther));
}
// What a chosen package needs is needed in production with it.
const pending = [...names.map((name) => [name, 'node_modules/'])];
const seen = new Set();
while (pending.length > 0) {
  const [name, from] = pending.pop();
  const place = placeOf(name, from);
  if (place === undefined || seen.has(place)) continue;
  seen.add(place);
  const entry = lock.packages[place];
  for (const flag of ['dev', 'devOptional', 'peer']) delete entry[flag];
  for (const needed of Object.keys({
    ...entry.dependencies,
    ...entry.optionalDependencies,
    ...required(entry),
  }))
    pending.push([needed, `${place}/node_modules/`]);
}
writeFileSync('package.json', `${JSON.stringify(manifest, null, 2)}\n`);
writeFileSync('package-lock.json', `${JSON.stringify(lock, null, 2)}\n`);

/** Where Node would find a package from a folder of packages: the nearest one. */
function placeOf(name, from) {
  for (let folder = from; ;) {
    if (lock.packages[folder + name]) return folder + name;
    const at = folder.slice(0, -1).lastIndexOf('node_modules/');
    if (at < 0) return undefined;
    folder = folder.slice(0, at) + 'node_modules/';
    if (folder === from) return undefined;
    from = folder;
  }
}

function required({ peerDependencies = {}, peerDependenciesMeta = {} }) {
  return Object.fromEntries(
    Object.entries(peerDependencies).filter(([name]) => !peerDependenciesMeta[name]?.optional),
  );
}
