import { denied, does, type Programs } from './program.fixture.ts';

const inMemory =
  "const { DatabaseSync, backup } = await import('node:sqlite'); const db = new DatabaseSync(':memory:');";
const ops = 'const { ops } = Deno[Deno.internal].core;';

/** Files of the host, of other tenants and of the kernel; what would be kept; and code from elsewhere. */
export const FILE_PROGRAMS: Programs = {
  ...denied({
    'reads a file': 'return Deno.readTextFileSync(secret)',
    'reads a file through node:fs': "return (await import('node:fs')).readFileSync(secret, 'utf8')",
    'reads a file through a stream':
      "return await new Promise((ok, no) => import('node:fs').then((fs) => fs.createReadStream(secret).on('data', ok).on('error', no)))",
    'reads a file as a blob': "return (await (await import('node:fs')).openAsBlob(secret)).text()",
    'reads the function of a rival tenant': 'return Deno.readTextFileSync(rival)',
    'lists the folders of tenants':
      "return [...Deno.readDirSync(rival.slice(0, rival.lastIndexOf('/')))].length",
    'lists the root of the host': "return [...Deno.readDirSync('/')].length",
    'finds files by a pattern': "return (await import('node:fs')).globSync('/etc/*').length",
    'reads the users of the host': "return Deno.readTextFileSync('/etc/passwd')",
    'asks whether a file exists': 'return Deno.statSync(secret).size',
    'asks whether a file exists through node:fs': "return (await import('node:fs')).existsSync(secret)",
    'asks how full the disk is': "return (await import('node:fs')).statfsSync('/')",
    'resolves a path': 'return Deno.realPathSync(secret)',
    'reads a link of the kernel': "return Deno.readLinkSync('/proc/self/exe')",
    'reads the environment of its parent': 'return Deno.readTextFileSync(`/proc/${Deno.ppid}/environ`)',
    'reads its own environment': "return Deno.readTextFileSync('/proc/self/environ')",
    'reads its own memory': "return Deno.readTextFileSync('/proc/self/maps')",
    'opens its own descriptors': "return Deno.openSync('/proc/self/fd/0').readable",
    'watches files': "return Deno.watchFs('/').constructor.name",
    'watches files through node:fs': "return (await import('node:fs')).watch('/tmp').constructor.name",
    'fetches a file': 'return await (await fetch(`file://${secret}`)).text()',
    'requires a file': "return (await import('node:module')).createRequire('/')(`${secret}.cjs`)",
    'reads variables from a file': "return (await import('node:process')).loadEnvFile(secret)",
    'reads a file by an operation of the runtime itself': `${ops} return ops.op_require_stat(secret)`,
    'looks for a file by an operation of the runtime itself': `${ops} return ops.op_node_fs_exists_sync(secret)`,
    'evaluates code that reads a file':
      'return (0, eval)(`Deno.readTextFileSync(${JSON.stringify(secret)})`)',
    'makes a function of code that reads a file':
      "return new Function('path', 'return Deno.readTextFileSync(path)')(secret)",
    'writes a file': 'Deno.writeTextFileSync(`${outside}/x`, "x")',
    'writes a file through node:fs': "(await import('node:fs')).writeFileSync(`${outside}/x`, 'x')",
    'writes over the function of a rival tenant':
      "Deno.writeTextFileSync(rival, 'export const handler = () => 1')",
    'copies a file': "return (await import('node:fs')).cpSync(secret, `${outside}/x`)",
    'makes a folder': 'Deno.mkdirSync(`${outside}/x`)',
    'makes a temporary file': 'return Deno.makeTempFileSync()',
    'makes a temporary folder': 'return Deno.makeTempDirSync()',
    'makes a symbolic link': 'Deno.symlinkSync(secret, `${outside}/x`)',
    'makes a hard link': 'Deno.linkSync(secret, `${outside}/x`)',
    'renames a file': 'Deno.renameSync(secret, `${outside}/x`)',
    'removes a file': 'Deno.removeSync(secret)',
    'changes the mode of a file': 'Deno.chmodSync(secret, 0o777)',
    'changes its folder': "Deno.chdir('/srv')",
    'opens a database file': "return new (await import('node:sqlite')).DatabaseSync(`${outside}/x.db`)",
    'copies a database in memory to a file': `${inMemory} await backup(db, \`\${outside}/x.db\`)`,
    'writes a heap snapshot': "return (await import('node:v8')).writeHeapSnapshot(`${outside}/x`)",
  }),
  'imports a file of the host': [
    does('return Object.keys(await import(`file://${secret}.mjs`))'),
    /^failed TypeError: Requires read access/,
  ],
  'imports JSON of the host': [
    does("return (await import(`file://${secret}.json`, { with: { type: 'json' } })).default"),
    /^failed TypeError: Requires read access/,
  ],
  'runs a file of the host as a worker': [
    does(
      'return await new Promise((ok, no) => { const w = new Worker(`file://${secret}.mjs`, { type: "module" }); w.onmessage = ok; w.onerror = (e) => { e.preventDefault(); no(new Error(e.message)); }; })',
    ),
    /^failed Error: .*Requires read access/,
  ],
  'reads a file in a thread': [
    does(
      "const { Worker } = await import('node:worker_threads'); const code = `const { parentPort } = require('node:worker_threads'); try { parentPort.postMessage(require('node:fs').readFileSync('${secret}', 'utf8')); } catch (error) { parentPort.postMessage(error); }`; throw await new Promise((ok) => new Worker(code, { eval: true }).on('message', ok));",
    ),
    /^failed Error: Requires read access/,
  ],
  'reads a file in a worker': [
    does(
      'const code = `try { postMessage(Deno.readTextFileSync("${secret}")) } catch (e) { postMessage(e.name) }`; const worker = new Worker(URL.createObjectURL(new Blob([code])), { type: "module" }); return await new Promise((ok) => (worker.onmessage = (e) => ok(e.data)))',
    ),
    'completed "NotCapable"',
  ],
  'gives a worker all permissions': [
    does(
      "return await new Promise((ok, no) => { const w = new Worker(URL.createObjectURL(new Blob(['postMessage(1)'])), { type: 'module', deno: { permissions: 'inherit' } }); w.onmessage = ok; w.onerror = no; })",
    ),
    /^failed ExitError: /,
  ],
  'attaches a file to a database in memory': [
    does(`${inMemory} db.exec(\`attach database '\${outside}/x.db' as x; create table x.t (a)\`)`),
    'failed Error: too many attached databases - max 0',
  ],
  'writes a database in memory to a file': [
    does(`${inMemory} db.exec(\`create table t (a); vacuum into '\${outside}/x.db'\`)`),
    'failed Error: too many attached databases - max 0',
  ],
  'reads a file by SQL': [
    does(`${inMemory} return db.prepare('select readfile(?)').get(secret)`),
    'failed Error: no such function: readfile',
  ],
  // SQLite puts what does not fit its cache into a file that no permission is asked for.
  'fills the disk with temporary tables': [
    does(
      `${inMemory} db.exec('pragma temp_store = 1; pragma temp.cache_size = -1000; create temp table t (a); begin'); const add = db.prepare('insert into t values (zeroblob(1000000))'); for (let n = 0; n < 300; n++) add.run(); db.exec('commit'); return 'written'`,
    ),
    'failed Error: disk I/O error',
  ],
  'keeps things in localStorage': [
    does("localStorage.setItem('a', 'b')"),
    /^failed \w+: .*(Not a directory|os error 20)/,
  ],
  'keeps things in caches': [does("await caches.open('shared')"), /^failed \w+: .*cache storage/],
  'keeps things in KV': [does('await Deno.openKv()'), 'failed TypeError: Deno.openKv is not a function'],
  'imports a module from the network': [
    does('return await import(`http://127.0.0.1:${port}/x.js`)'),
    /^failed TypeError: Requires import access/,
  ],
  'imports a package of npm': [
    does("const name = 'npm:left-pad'; return await import(name)"),
    /^failed TypeError: .*--no-npm|--no-remote/,
  ],
  'imports a package of jsr': [
    does("const name = 'jsr:@std/assert'; return await import(name)"),
    /^failed TypeError: .*--no-npm|--no-remote/,
  ],
  'imports code from a data URL, which can do no more': [
    does(
      'const code = `export default Deno.readTextFileSync("${secret}")`; return await import(`data:text/javascript,${encodeURIComponent(code)}`)',
    ),
    /^failed NotCapable: /,
  ],
  'imports code from a blob, which can do no more': [
    does(
      'const code = `export default Deno.readTextFileSync("${secret}")`; return await import(URL.createObjectURL(new Blob([code], { type: "text/javascript" })))',
    ),
    /^failed NotCapable: /,
  ],
  'runs code in a realm of its own, which can do no more': [
    does(
      "return (await import('node:vm')).runInNewContext('[typeof Deno, typeof process, this.constructor.constructor(\"return typeof Deno\")()]')",
    ),
    // The outer realm is one constructor away: there is Deno, with the same permissions.
    'completed ["undefined","undefined","object"]',
  ],
  'runs WebAssembly, which it may': [
    does(
      'const bytes = Uint8Array.from([0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 127, 3, 2, 1, 0, 7, 5, 1, 1, 102, 0, 0, 10, 6, 1, 4, 0, 65, 42, 11]); return (await WebAssembly.instantiate(bytes)).instance.exports.f()',
    ),
    'completed 42',
  ],
  'imports another function of the connector': [
    "import './rival.ts'; export const handler = () => 1;",
    /^invalid_argument: .*is not within the function's folder/,
  ],
  'imports the function of a rival by its path': [
    "import '../../../rival/c9/functions/own.ts'; export const handler = () => 1;",
    /^invalid_argument: .*is not within the function's folder/,
  ],
  'imports a native addon': [
    "import './addon.node'; export const handler = () => 1;",
    /^invalid_argument: .*is not within the function's folder/,
  ],
};
