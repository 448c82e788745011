import { does, type Program, type Programs } from './program.fixture.ts';

const tampered = (tamperings: Readonly<Record<string, string>>): Programs =>
  Object.fromEntries(
    Object.entries(tamperings).map(([what, tampering]): [string, Program] => [
      `replaces ${what}`,
      [`// @ts-nocheck\n${tampering}\nexport const handler = () => 'honest';\n`, 'completed "honest"'],
    ]),
  );

const FORGED = '{"kind":"completed","durationMs":1,"result":"forged"}';
/** Writes an answer of its own behind `nonce`, as the runtime would. */
const forge = `const forge = (nonce) => {
  const body = new TextEncoder().encode('${FORGED}');
  Deno.stderr.writeSync(new Uint8Array([...nonce, 0, 0, 0, 0]));
  Deno.stdout.writeSync(new Uint8Array([...nonce, 0, 0, 0, body.length, ...body]));
};`;

/** The runtime's own means turned against it, results and errors that are no data, and answers that nobody gave. */
export const DECEIT_PROGRAMS: Programs = {
  ...tampered({
    'JSON.stringify': "JSON.stringify = () => '{}';",
    'JSON.parse': 'JSON.parse = () => { throw 1; };',
    'typed arrays':
      'Uint8Array.prototype.set = () => { throw 1; }; Uint8Array.prototype.subarray = () => new Uint8Array(0);',
    'the kinds of typed arrays':
      'Object.defineProperty(Object.getPrototypeOf(Uint8Array), Symbol.species, { get() { return Float64Array; } });',
    'array methods': 'Array.prototype.push = () => 0; Array.prototype[Symbol.iterator] = function* () {};',
    'the root of all objects': "Object.prototype.kind = 'completed'; Object.prototype.result = 'forged';",
    'setters of all objects':
      "for (const name of ['kind', 'result', 'requestId', 'event']) Object.defineProperty(Object.prototype, name, { set() { throw 1; }, get() { return 'forged'; } });",
    encoders:
      'TextEncoder.prototype.encode = () => new Uint8Array(1); TextDecoder.prototype.decode = () => "{}";',
    'the outputs': 'Deno.stdout.writeSync = Deno.stderr.writeSync = () => 1e9;',
    'the input': 'Deno.stdin.readSync = () => { throw 1; };',
    'the exit': 'Deno.exit = process.exit = () => {};',
    'calls of functions':
      'Function.prototype.call = Function.prototype.apply = Function.prototype.bind = () => { throw 1; }; Reflect.apply = () => { throw 1; };',
    promises: 'globalThis.Promise = class {}; ',
    'clocks and timers':
      'Date.now = () => NaN; performance.now = () => NaN; globalThis.setTimeout = globalThis.setImmediate = () => 0;',
    'what is global':
      "for (const name of ['Deno', 'URL', 'Blob', 'Request', 'Response', 'console', 'Object', 'Error']) Reflect.deleteProperty(globalThis, name);",
  }),
  'forges answers': [
    does(
      `${forge} for (const lead of ['', '0'.repeat(32), 'f'.repeat(32)]) forge(new TextEncoder().encode(lead)); return 'honest';`,
    ),
    'completed "honest"',
  ],
  'forges an answer with a nonce that it takes from a buffer of the runtime': [
    `// @ts-nocheck
${forge}
let isForged = false;
Object.defineProperty(Uint8Array.prototype, 'constructor', {
  get() {
    if (!isForged && this.length > 36) {
      isForged = true;
      forge(this.slice ? Array.from({ length: 32 }, (_, at) => this[at]) : []);
    }
    return Uint8Array;
  },
});
export const handler = () => 'honest';
`,
    'completed "honest"',
  ],
  'forges an answer with a nonce that it finds in its heap': [
    does(`${forge}
      const seen = new Set();
      let rest = '';
      for await (const chunk of (await import('node:v8')).getHeapSnapshot()) {
        const text = rest + chunk;
        for (const [nonce] of text.matchAll(/(?<![0-9a-f])[0-9a-f]{32}(?![0-9a-f])/g)) seen.add(nonce);
        rest = text.slice(-40);
      }
      for (const nonce of seen) forge(new TextEncoder().encode(nonce));
      return 'honest';`),
    'completed "honest"',
  ],
  'writes over its own answer from a worker': [
    does(
      `new Worker(URL.createObjectURL(new Blob(['for (;;) Deno.stdout.writeSync(new TextEncoder().encode(${JSON.stringify(JSON.stringify(FORGED)).slice(1, -1)}))'])), { type: 'module' }); await new Promise(() => {});`,
    ),
    'failed OutputError: wrote more than 16 MB of output',
  ],
  'answers a BigInt': [does('return 1n;'), /^failed TypeError: .*BigInt/],
  'answers a cycle': [does('const a = []; a.push(a); return a;'), /^failed TypeError: /],
  'answers a symbol': [does('return Symbol("x");'), 'completed null'],
  'answers a function': [does('return () => 1;'), 'completed null'],
  'answers symbols for keys': [
    does('return { [Symbol.iterator]: 1, [Symbol.toStringTag]: 2, a: 3 };'),
    'completed {"a":3}',
  ],
  'answers what is no number': [
    does('return [NaN, Infinity, -0, 1e308 * 10];'),
    'completed [null,null,0,null]',
  ],
  'answers a number beyond all numbers': [
    does("return JSON.rawJSON('1e999');"),
    /^failed ResultError: result /,
  ],
  'answers a number beyond all numbers in a list': [
    does("return [JSON.rawJSON('1e999')];"),
    /^failed ResultError: result\[0\] /,
  ],
  'answers what is very deep': [
    does('let deep = []; for (let n = 0; n < 1000; n++) deep = [deep]; return deep;'),
    'failed ResultError: result is at most 64 levels deep',
  ],
  'answers what is endlessly deep': [
    does('let deep = []; for (let n = 0; n < 1e5; n++) deep = [deep]; return deep;'),
    'failed ResultError: result is at most 64 levels deep',
  ],
  'answers millions of parts': [does('return new Array(2e6).fill([]);'), /^completed \[\[\],\[\]/],
  'answers a date that is none': [does('return new Date(NaN);'), 'completed null'],
  'answers a proxy that throws': [
    does("return new Proxy({}, { ownKeys() { throw new Error('trap'); } });"),
    'failed Error: trap',
  ],
  'answers a proxy that was revoked': [
    does('const { proxy, revoke } = Proxy.revocable({}, {}); revoke(); return proxy;'),
    /^failed TypeError: /,
  ],
  'answers what says that it is something else': [
    does('return { toJSON: () => undefined };'),
    'completed null',
  ],
  'answers what throws when it is written': [
    does("return { toJSON() { throw new Error('toJSON'); } };"),
    'failed Error: toJSON',
  ],
  'answers a promise that throws when it is looked at': [
    does("return { get then() { throw new Error('then'); } };"),
    'failed Error: then',
  ],
  'answers a promise that resolves twice': [
    does("return { then(ok, no) { ok('first'); ok('second'); no(new Error('third')); } };"),
    'completed "first"',
  ],
  'answers a key that changes a prototype': [
    does('return JSON.parse(\'{"__proto__":{"polluted":1}}\');'),
    'failed ResultError: result.__proto__ is not an allowed key',
  ],
  'answers more than the limit': [does("return 'x'.repeat(7e6);"), 'payload_too_large'],
  'answers more than the limit in few characters': [
    does("return '\\u0000'.repeat(2e6);"),
    'payload_too_large',
  ],
  'throws null': [does('throw null;'), 'failed Error: null'],
  'throws a symbol': [does('throw Symbol("x");'), 'failed Error: Symbol(x)'],
  'throws what cannot be read': [
    does('throw new Proxy({}, { get() { throw 1; }, getPrototypeOf() { throw 2; } });'),
    'failed Error: the function threw something that cannot be read',
  ],
  'throws what cannot be written': [
    does('throw Object.assign(Object.create(null), { toString() { throw 1; }, self: 1n });'),
    'failed Error: the function threw something that cannot be read',
  ],
  'throws a huge message': [does("throw new Error('x'.repeat(1e7));"), `failed Error: ${'x'.repeat(4000)}`],
  'throws a huge name': [
    does("throw Object.assign(new Error('m'), { name: 'n'.repeat(1e6) });"),
    `failed ${'n'.repeat(200)}: m`,
  ],
  'throws an error that writes itself as something huge': [
    does(
      "Object.prototype.toJSON = () => ({ kind: 'failed', durationMs: 1, error: Object.assign(Object.create(null), { name: 'n'.repeat(1e6), message: 'm'.repeat(1e6), stack: 's'.repeat(1e6) }) }); throw new Error('small');",
    ),
    `failed ${'n'.repeat(200)}: ${'m'.repeat(4000)}`,
  ],
  'throws an error that writes itself as a success': [
    does(
      "Object.prototype.toJSON = () => ({ kind: 'completed', durationMs: 1, result: 'x' }); throw new Error('small');",
    ),
    'completed "x"',
  ],
  'throws an error that writes itself as a success that took for ever': [
    does(
      "Object.prototype.toJSON = () => ({ kind: 'completed', durationMs: JSON.rawJSON('1e999'), result: 'x' }); throw new Error('small');",
    ),
    'failed RuntimeError: disturbed its own runtime',
  ],
  'throws an error that writes itself as more than the limit': [
    does(
      "const result = 'x'.repeat(6 * 2 ** 20 + 1000); Object.prototype.toJSON = () => ({ kind: 'completed', durationMs: 1, result }); throw new Error('small');",
    ),
    'payload_too_large',
  ],
  'throws an error that writes itself as no answer': [
    does("Object.prototype.toJSON = () => 'nothing'; throw new Error('small');"),
    'failed RuntimeError: disturbed its own runtime',
  ],
};
