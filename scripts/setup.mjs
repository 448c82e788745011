/**
 * Installs what a fresh clone lacks, and with `--build` builds `dist`; quick when there is nothing to do.
 *
 * Runs before every other script, on whatever Node the machine has (20 or later), so it uses nothing newer and nothing
 * that has to be installed. All that comes after it runs on the Node 24 that it installs below `node_modules`.
 */
import { spawn, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import * as fs from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { withLock } from './setup-lock.mjs';

const root = fileURLToPath(new URL('..', import.meta.url));
const at = (...parts) => join(root, ...parts);
const isWindows = process.platform === 'win32';
const localNode = at('node_modules', 'node', 'bin', isWindows ? 'node.exe' : 'node');
const buildStamp = at('.tmp', 'built-from');
const installStamp = at('node_modules', '.installed-from');

const major = Number(process.versions.node.split('.')[0]);
if (major < 20)
  fail(
    `this needs Node 20 or later to set itself up, and found ${process.versions.node}`,
    'install a newer Node from https://nodejs.org and run the command again',
  );

process.chdir(root);
fs.mkdirSync(at('.tmp'), { recursive: true });

const wantsBuild = process.argv.includes('--build');
const started = performance.now();
if (!isInstalled() || (wantsBuild && !isBuilt())) {
  await withLock(at('.tmp', 'setup.lock'), say, async () => {
    // Asked again: while this process waited for the lock, another one may have done the work.
    if (!isInstalled()) await install();
    if (wantsBuild && !isBuilt()) build();
  });
  say(`ready after ${seconds(started)}`);
}

/** Whether what the lock file asks for is there: by the stamp of our own installation, or package by package. */
function isInstalled() {
  if (!works(localNode) || !fs.existsSync(at('node_modules', '.bin', isWindows ? 'node.cmd' : 'node')))
    return false;
  const wanted = lockHash();
  if (readText(installStamp) === wanted) return true;
  if (!matchesLockFile()) return false;
  fs.writeFileSync(installStamp, wanted);
  return true;
}

/** True where somebody ran npm by hand and it left exactly what the lock file says. */
function matchesLockFile() {
  const found = readText(at('node_modules', '.package-lock.json'));
  if (found === undefined) return false;
  const installed = JSON.parse(found).packages;
  const wanted = JSON.parse(fs.readFileSync(at('package-lock.json'), 'utf8')).packages;
  return Object.entries(wanted).every(
    ([path, { version, optional, devOptional }]) =>
      path === '' ||
      (installed[path]?.version ?? (optional || devOptional ? version : undefined)) === version,
  );
}

async function install() {
  const since = performance.now();
  say('installing the packages that package-lock.json names, about 900 (the first time only)');
  // Their install scripts stay off. The two that are needed, which put an executable in place, run below: npm versions
  // differ in whether they would run them. Warnings stay off because each package that wants the newer Node, which is
  // being installed here, would print four lines.
  await npm(
    'ci',
    '--ignore-scripts',
    '--include=dev',
    '--include=optional',
    '--no-audit',
    '--no-fund',
    '--loglevel=error',
  );
  installNode();
  installDeno();
  fs.writeFileSync(installStamp, lockHash());
  say(`installed in ${seconds(since)}`);
}

/** Puts Node 24 where npm's scripts look first. */
function installNode() {
  const folder = at('node_modules', 'node');
  if (!works(localNode)) run([join(folder, 'installArchSpecificPackage.js')], 'installing Node 24', folder);
  if (!works(localNode)) {
    fail(
      `Node 24 was installed but does not run on ${process.platform} ${process.arch}`,
      'install Node 24 yourself and start it with: node dist/cli/main.js',
    );
  }
  const link = at('node_modules', '.bin', 'node');
  if (isWindows) return fs.writeFileSync(`${link}.cmd`, `@"%~dp0\\..\\node\\bin\\node.exe" %*\r\n`);
  fs.rmSync(link, { force: true });
  fs.symlinkSync('../node/bin/node', link);
}

/** Puts Deno's executable in place. Functions alone need it, so a machine that has none for it goes on without. */
function installDeno() {
  const script = at('node_modules', 'deno', 'install.cjs');
  if (!fs.existsSync(script)) return;
  const { status } = spawnSync(process.execPath, [script], { stdio: 'ignore' });
  if (status !== 0)
    say(`Deno has no build for ${process.platform} ${process.arch}: local functions will be unavailable`);
}

/** Whether `dist` was built from the sources as they are now. */
function isBuilt() {
  return fs.existsSync(at('dist', 'index.js')) && readText(buildStamp) === sourceHash();
}

function build() {
  const since = performance.now();
  const hash = sourceHash();
  const { status } = spawnSync(localNode, [at('scripts', 'build.ts')], { stdio: 'inherit' });
  if (status !== 0) fail('the build failed', 'the lines above say where');
  fs.writeFileSync(buildStamp, hash);
  say(`built in ${seconds(since)}`);
}

/** Names, sizes and times of all that goes into the build: no content, so that it takes milliseconds. */
function sourceHash() {
  const files = [
    'package.json',
    'package-lock.json',
    'tsconfig.json',
    'tsconfig.build.json',
    'scripts/build.ts',
  ];
  for (const entry of fs.readdirSync(at('src'), { recursive: true, withFileTypes: true })) {
    if (entry.isFile()) files.push(join(entry.parentPath ?? entry.path, entry.name).slice(root.length));
  }
  const hash = createHash('sha256');
  for (const file of files.sort()) {
    const { size, mtimeMs } = fs.statSync(at(file), { throwIfNoEntry: false }) ?? { size: 0, mtimeMs: 0 };
    hash.update(`${file} ${size} ${mtimeMs}\n`);
  }
  return hash.digest('hex');
}

function lockHash() {
  const platform = `${process.platform} ${process.arch}\n`;
  return createHash('sha256')
    .update(platform)
    .update(fs.readFileSync(at('package-lock.json')))
    .digest('hex');
}

async function npm(...args) {
  // The very npm that started this script; without one, the first in the PATH.
  const own = process.env.npm_execpath;
  const command = own?.endsWith('.js') ? [process.execPath, own] : [isWindows ? 'npm.cmd' : 'npm'];
  const child = spawn(command[0], [...command.slice(1), ...args], {
    stdio: ['ignore', 'inherit', 'pipe'],
    shell: isWindows && command.length === 1,
  });
  let complaints = '';
  child.stderr.setEncoding('utf8').on('data', (text) => {
    complaints += text;
    process.stderr.write(text);
  });
  const since = performance.now();
  const ticker = setInterval(() => {
    if (process.stderr.isTTY) process.stderr.write(`\rsetup: still at it after ${seconds(since)} \r`);
  }, 1000);
  const status = await new Promise((resolve) => {
    child.once('error', ({ message }) => {
      complaints += message;
      resolve(1);
    });
    child.once('close', resolve);
  });
  clearInterval(ticker);
  if (status !== 0) explain(complaints);
}

/** Ends with what a person can do about a failure of npm. */
function explain(complaints) {
  if (/ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ECONNRESET|ETIMEDOUT|ENETUNREACH|ENOTCACHED/.test(complaints)) {
    fail(
      'npm cannot reach its registry',
      'check the network, or the proxy and registry that `npm config list` shows, and run the command again',
    );
  }
  if (/ENOSPC/.test(complaints)) {
    fail('the disk is full', 'the installation takes about 900 MB; free some and run the command again');
  }
  if (/EACCES|EPERM/.test(complaints)) {
    fail(
      `npm may not write to ${root} or to its cache`,
      'make them yours (no root is needed) and run the command again',
    );
  }
  if (/spawn .* ENOENT/.test(complaints))
    fail('there is no npm', 'install it with Node from https://nodejs.org');
  fail('npm could not install the packages', 'the lines above say why; `npm ci` alone shows more');
}

function run(args, task, cwd) {
  say(task);
  const { status, stderr } = spawnSync(process.execPath, args, {
    cwd,
    stdio: ['ignore', 'ignore', 'pipe'],
    encoding: 'utf8',
  });
  if (status === 0) return;
  process.stderr.write(stderr);
  fail(`${task} failed`, 'check the network and run the command again');
}

function works(executable) {
  return (
    fs.statSync(executable, { throwIfNoEntry: false })?.isFile() === true &&
    spawnSync(executable, ['--version'], { stdio: 'ignore' }).status === 0
  );
}

function readText(path) {
  try {
    return fs.readFileSync(path, 'utf8');
  } catch {
    return undefined;
  }
}

function seconds(since) {
  return `${((performance.now() - since) / 1000).toFixed(1)} s`;
}

function say(message) {
  console.log(`setup: ${message}`);
}

function fail(problem, remedy) {
  console.error(`setup: ${problem}\nsetup: ${remedy}`);
  process.exit(1);
}
