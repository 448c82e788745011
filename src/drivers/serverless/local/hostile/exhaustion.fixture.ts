import { does, type Program, type Programs } from './program.fixture.ts';

const each = (right: RegExp | string, codes: Readonly<Record<string, string>>): Programs =>
  Object.fromEntries(Object.entries(codes).map(([what, code]): [string, Program] => [what, [code, right]]));
const endless = (codes: Readonly<Record<string, string>>) => each('timeout', codes);
const hoarding = (bodies: Readonly<Record<string, string>>) =>
  each(
    'failed MemoryError: used more than 64 MB',
    Object.fromEntries(
      Object.entries(bodies).map(([what, body]) => [
        what,
        `// @ts-nocheck\nconst kept = []; export const handler = async () => { ${body} };\n`,
      ]),
    ),
  );

/** Time without end. */
export const ENDLESS_PROGRAMS: Programs = endless({
  'loops for ever': does('for (;;);'),
  'loops while it is loaded': 'for (;;); export const handler = () => 1;',
  'waits for ever while it is loaded':
    'await new Promise(() => setInterval(() => {}, 1000)); export const handler = () => 1;',
  'loops in microtasks': does('for (;;) await null;'),
  'queues microtasks without end': does(
    'const again = () => queueMicrotask(again); again(); await new Promise(() => {});',
  ),
  'queues ticks without end': does(
    'const again = () => process.nextTick(again); again(); await new Promise(() => {});',
  ),
  'loops in timers': does('await new Promise(() => setInterval(() => {}, 0));'),
  'loops in immediates': does(
    'const again = () => setImmediate(again); again(); await new Promise(() => {});',
  ),
  'backtracks in a regular expression': does("return /^(a+)+$/.test('a'.repeat(100) + '!');"),
  'counts a huge regular expression': does(
    "return new RegExp('(x?){1000}'.repeat(30) + 'y').test('x'.repeat(3000));",
  ),
  'blocks its thread': does('return Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0);'),
  'waits for memory that nobody changes': does(
    'await Atomics.waitAsync(new Int32Array(new SharedArrayBuffer(4)), 0, 0).value;',
  ),
  'computes a huge number': does('return String((3n ** 30_000_000n) ** 9n).length;'),
  // A process may always signal itself.
  'stops itself': does("Deno.kill(Deno.pid, 'SIGSTOP');"),
  'loops in WebAssembly': does(
    'const bytes = Uint8Array.from([0, 97, 115, 109, 1, 0, 0, 0, 1, 4, 1, 96, 0, 0, 3, 2, 1, 0, 7, 5, 1, 1, 102, 0, 0, 10, 9, 1, 7, 0, 3, 64, 12, 0, 11, 11]); (await WebAssembly.instantiate(bytes)).instance.exports.f()',
  ),
  'loops while its result is written': does('return { toJSON() { for (;;); } };'),
  'loops in a getter of its result': does('return { get a() { for (;;); } };'),
  'loops while its error is read': does(
    'throw Object.defineProperty(new Error(), "message", { get() { for (;;); } });',
  ),
  'loops while it is told that it failed': does(
    "globalThis.addEventListener('unhandledrejection', () => { for (;;); }); Promise.reject(1); await new Promise(() => {});",
  ),
  'loops when it exits': does("globalThis.addEventListener('unload', () => { for (;;); }); Deno.exit(0);"),
  'answers a promise that never resolves': does('return { then() {} };'),
  'answers a promise in a chain without end': does(
    'const next = { then(resolve) { setTimeout(resolve, 0, next); } }; return next;',
  ),
  'ignores signals': does(
    "for (const s of ['SIGTERM', 'SIGINT', 'SIGHUP', 'SIGXFSZ']) Deno.addSignalListener(s, () => {}); for (;;);",
  ),
  'reads the input of its runtime': does('return Deno.stdin.readSync(new Uint8Array(9));'),
  'makes its promises hang':
    '// @ts-nocheck\nPromise.prototype.then = () => new Promise(() => {}); export const handler = async () => new Promise(() => setInterval(() => {}, 1000));',
  'keeps all threads busy with ciphers': does(
    "const key = await crypto.subtle.importKey('raw', new Uint8Array(8), 'PBKDF2', false, ['deriveBits']); await Promise.all(Array.from({ length: 100 }, () => crypto.subtle.deriveBits({ name: 'PBKDF2', hash: 'SHA-512', salt: new Uint8Array(8), iterations: 1e9 }, key, 512)));",
  ),
  'loops in workers': does(
    "for (let n = 0; n < 3; n++) new Worker(URL.createObjectURL(new Blob(['for (;;);'])), { type: 'module' }); await new Promise(() => {});",
  ),
});

/** Memory and threads without end. Outside of the JavaScript heap it is limited on Linux only. */
export const MEMORY_PROGRAMS: Programs = {
  ...hoarding({
    'fills its heap': 'for (;;) kept.push({ a: [kept.length] });',
    'keeps many small things': 'const all = new Map(); for (let n = 0; ; n++) all.set(`${n}`, Symbol(n));',
    'fills buffers': 'for (;;) kept.push(new Uint8Array(1e7).fill(1));',
    'grows a buffer':
      'const b = new ArrayBuffer(0, { maxByteLength: 1e9 }); for (let n = 0; ; n += 1e7) { b.resize(n); new Uint8Array(b).fill(1); }',
    'builds a text':
      "let text = 'x'.repeat(1e6); for (;;) { text += `${Math.random()}`.repeat(1e5); kept.push(text.charCodeAt(text.length - 1)); }",
    'grows WebAssembly':
      'const memory = new WebAssembly.Memory({ initial: 1 }); for (;;) { memory.grow(100); new Uint8Array(memory.buffer).fill(1); }',
    'shares memory': 'for (;;) kept.push(new Uint8Array(new SharedArrayBuffer(1e7)).fill(1));',
    'keeps blobs': 'for (;;) kept.push(new Blob([new Uint8Array(1e7).fill(1)]));',
    'unpacks a bomb':
      "const zlib = await import('node:zlib'); const bomb = zlib.gzipSync(new Uint8Array(2e7)); for (;;) kept.push(zlib.gunzipSync(bomb).fill(1));",
    'fills a database in memory':
      "const db = new (await import('node:sqlite')).DatabaseSync(':memory:'); db.exec('create table t (a)'); const add = db.prepare('insert into t values (zeroblob(1000000))'); for (;;) add.run();",
    'copies what it has':
      "let all = ['x']; for (;;) { all = [...all, ...structuredClone(all)]; kept.push(all); }",
    'starts timers without end': 'for (;;) setTimeout(() => {}, 1e9, new Array(100).fill(0));',
    'starts workers without end':
      "for (;;) { kept.push(new Worker(URL.createObjectURL(new Blob(['setInterval(() => {}, 1000)'])), { type: 'module' })); await new Promise((ok) => setTimeout(ok, 1)); }",
  }),
  'keeps the threads of many workers busy': [
    does(
      "const code = `const key = await crypto.subtle.importKey('raw', new Uint8Array(8), 'PBKDF2', false, ['deriveBits']); await Promise.all(Array.from({ length: 40 }, () => crypto.subtle.deriveBits({ name: 'PBKDF2', hash: 'SHA-512', salt: new Uint8Array(8), iterations: 1e9 }, key, 512)));`; for (let n = 0; n < 8; n++) new Worker(URL.createObjectURL(new Blob([code])), { type: 'module' }); await new Promise(() => {});",
    ),
    /^failed ThreadError: started more than \d+ threads/,
  ],
};

/** Output without end, and ends of the process. */
export const EXIT_PROGRAMS: Programs = {
  ...each('failed OutputError: wrote more than 16 MB of output', {
    'floods its output': does("for (;;) console.log('x'.repeat(1000));"),
    'floods its error output': does(
      'const bytes = new Uint8Array(65536); for (;;) Deno.stderr.writeSync(bytes);',
    ),
    'floods its output without lines': does(
      'const bytes = new Uint8Array(65536); for (;;) Deno.stdout.writeSync(bytes);',
    ),
    'floods its output while it waits': does(
      "setInterval(() => console.error('x'.repeat(1e5)), 0); await new Promise(() => {});",
    ),
    'floods its output from a worker': does(
      "new Worker(URL.createObjectURL(new Blob(['for (;;) console.log(\"x\".repeat(1e5));'])), { type: 'module' }); await new Promise(() => {});",
    ),
  }),
  exits: [does('Deno.exit(3);'), 'failed ExitError: ended its process with code 3'],
  'exits as if all were well': [does('Deno.exit(0);'), 'failed ExitError: ended its process with code 0'],
  'exits through node': [does('process.exit(5);'), 'failed ExitError: ended its process with code 5'],
  'exits for real': [does('process.reallyExit(6);'), 'failed ExitError: ended its process with code 6'],
  'exits while it is loaded': [
    'Deno.exit(4); export const handler = () => 1;',
    'failed ExitError: ended its process with code 4',
  ],
  'exits in a worker, which ends the worker': [
    does(
      "new Worker(URL.createObjectURL(new Blob(['Deno.exit(7)'])), { type: 'module' }); await new Promise((ok) => setTimeout(ok, 100)); return 'alive'",
    ),
    'completed "alive"',
  ],
  aborts: [does('process.abort();'), 'failed ExitError: ended its process with signal SIGABRT'],
  'makes the runtime panic': [
    does("Deno[Deno.internal].core.ops.op_panic('x')"),
    'failed ExitError: ended its process with code 1',
  ],
  'closes its output': [does('Deno.stdout.close();'), /^failed ExitError: /],
  'throws while it is loaded': [
    "throw new RangeError('early'); export const handler = () => 1;",
    'failed RangeError: early',
  ],
  'exports nothing': ['export const other = 1;', /^failed TypeError: the function exports neither/],
  'rejects where nobody looks': [
    does("Promise.reject(new Error('stray')); return 1;"),
    'failed Error: stray',
  ],
  'throws in a timer': [
    does("await new Promise(() => setTimeout(() => { throw new Error('timer'); }, 1));"),
    'failed Error: timer',
  ],
  'throws in a microtask': [
    does("queueMicrotask(() => { throw new Error('task'); }); await new Promise(() => {});"),
    'failed Error: task',
  ],
  'throws in a finalizer of nothing': [does('await Promise.reject(undefined);'), 'failed Error: undefined'],
  'overflows its stack': [
    'export const handler = (): unknown => handler();',
    /^failed RangeError: Maximum call stack/,
  ],
};
