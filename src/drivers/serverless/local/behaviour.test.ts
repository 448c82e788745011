import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { ServerlessClient } from '../../../driver.ts';
import { NEVER, openLocal, runOnce, scratchFolder } from './local.fixture.ts';

const scratch = scratchFolder();
let client: ServerlessClient;
let other: ServerlessClient;

beforeAll(async () => {
  client = await openLocal(scratch(), { options: { memory_mb: 64 } });
  other = await openLocal(scratch(), { tenantId: 'rival' });
  await other.deploy?.('double', { code: 'export const handler = (n: number) => n * 2' }, NEVER);
});
afterAll(async () => {
  await client.close();
  await other.close();
});

async function otherIsUnharmed(): Promise<void> {
  const outcome = await other.invoke('double', 21, { requestId: 'other', timeoutMs: 20_000 }, NEVER);
  expect(outcome.result).toBe(42);
}

describe('is killed at its time limit: a function that', () => {
  const endless: Readonly<Record<string, string>> = {
    'loops for ever': 'export const handler = () => { for (;;); };',
    'loops in microtasks': 'export const handler = async () => { for (;;) await null; };',
    'loops in timers': 'export const handler = () => new Promise(() => setInterval(() => {}, 0));',
    'backtracks in a regular expression':
      "export const handler = () => /^(a+)+$/.test('a'.repeat(100) + '!');",
    'blocks its thread':
      'export const handler = () => Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0);',
    'loops while its result is written': 'export const handler = () => ({ toJSON() { for (;;); } });',
    'loops while its error is read':
      'export const handler = () => { throw Object.defineProperty(new Error(), "message", { get() { for (;;); } }); };',
    'ignores signals':
      "Deno.addSignalListener('SIGTERM', () => {}); export const handler = () => { for (;;); };",
    'reads the input of its runtime': 'export const handler = () => Deno.stdin.readSync(new Uint8Array(9));',
    'makes its promises hang':
      'Promise.prototype.then = () => new Promise(() => {}); export const handler = async () => new Promise(() => setInterval(() => {}, 1000));',
  };
  for (const [what, code] of Object.entries(endless)) {
    it(`${what}, and harms no other`, async () => {
      await client.deploy?.('program', { code }, NEVER);
      const timeoutMs = 300;
      const late = client.invoke('program', null, { requestId: 'r', timeoutMs }, NEVER);
      await expect(late).rejects.toMatchObject({ code: 'timeout', details: { timeoutMs } });
      await otherIsUnharmed();
    });
  }
});

// Memory outside the JavaScript heap is limited on Linux only.
if (process.platform === 'linux')
  describe('is killed for its memory: a function that', () => {
    const bombs: Readonly<Record<string, string>> = {
      'fills its heap': 'for (;;) kept.push({ a: [kept.length] });',
      'fills buffers': 'for (;;) kept.push(new Uint8Array(1e7).fill(1));',
      'builds a text':
        "let text = 'x'.repeat(1e6); for (;;) { text += `${Math.random()}`.repeat(1e5); kept.push(text.charCodeAt(text.length - 1)); }",
      'grows WebAssembly':
        'const memory = new WebAssembly.Memory({ initial: 1 }); for (;;) { memory.grow(100); new Uint8Array(memory.buffer).fill(1); }',
      'shares memory': 'for (;;) kept.push(new Uint8Array(new SharedArrayBuffer(1e7)).fill(1));',
      'keeps blobs': 'for (;;) kept.push(new Blob([new Uint8Array(1e7).fill(1)]));',
      'starts workers without end':
        "for (;;) { kept.push(new Worker(URL.createObjectURL(new Blob(['setInterval(() => {}, 1000)'])), { type: 'module' })); await new Promise((ok) => setTimeout(ok, 1)); }",
    };
    for (const [what, body] of Object.entries(bombs)) {
      it(`${what}, and harms no other`, async () => {
        const code = `const kept: unknown[] = []; export const handler = async () => { ${body} };`;
        const outcome = await runOnce(client, code);
        expect(outcome).toMatchObject({
          status: 'failed',
          error: { name: 'MemoryError', message: 'used more than 64 MB' },
        });
        await otherIsUnharmed();
      });
    }
  });

describe('fails alone: a function that', () => {
  const failing: Readonly<Record<string, readonly [code: string, error: Readonly<Record<string, unknown>>]>> =
    {
      exits: [
        'export const handler = () => Deno.exit(3);',
        { name: 'ExitError', message: 'ended its process with code 3' },
      ],
      'exits through node': [
        "import process from 'node:process'; export const handler = () => process.exit(5);",
        { name: 'ExitError' },
      ],
      aborts: [
        "import process from 'node:process'; export const handler = () => process.abort();",
        { name: 'ExitError' },
      ],
      'exits with success': [
        'export const handler = () => Deno.exit(0);',
        { name: 'ExitError', message: 'ended its process with code 0' },
      ],
      'rejects where nobody looks': [
        "export const handler = async () => { Promise.reject(new Error('stray')); return 1; };",
        { message: 'stray' },
      ],
      'throws in a timer': [
        "export const handler = () => new Promise(() => setTimeout(() => { throw new Error('timer'); }, 1));",
        { message: 'timer' },
      ],
      'throws null': ['export const handler = () => { throw null; };', { name: 'Error', message: 'null' }],
      'throws what cannot be read': [
        'export const handler = () => { throw new Proxy({}, { get() { throw 1; }, getPrototypeOf() { throw 2; } }); };',
        { name: 'Error', message: 'the function threw something that cannot be read' },
      ],
      'throws a huge message': [
        "export const handler = () => { throw new Error('x'.repeat(1e7)); };",
        { message: 'x'.repeat(4000) },
      ],
      'answers a BigInt': ['export const handler = () => 1n;', { name: 'TypeError' }],
      'answers a cycle': [
        'export const handler = () => { const a: unknown[] = []; a.push(a); return a; };',
        { name: 'TypeError' },
      ],
      'floods its output': [
        "export const handler = () => { for (;;) console.log('x'.repeat(1000)); };",
        { name: 'OutputError' },
      ],
      'floods its error output': [
        'const bytes = new Uint8Array(65536); export const handler = () => { for (;;) Deno.stderr.writeSync(bytes); };',
        { name: 'OutputError' },
      ],
      'closes its output': ['export const handler = () => { Deno.stdout.close(); };', { name: 'ExitError' }],
      'overflows its stack': ['export const handler = (): unknown => handler();', { name: 'RangeError' }],
    };
  for (const [what, [code, error]] of Object.entries(failing)) {
    it(`${what}, and harms no other`, async () => {
      const outcome = await runOnce(client, code);
      expect(outcome).toMatchObject({ status: 'failed', error });
      await otherIsUnharmed();
    });
  }

  it('tells nothing of the host in its stack', async () => {
    const outcome = await runOnce(client, "export const handler = () => { throw new Error('here'); };");
    expect(outcome.error?.stack).toMatch(/at handler \(blob:/);
    expect(outcome.error?.stack).not.toContain('bootstrap');
  });

  it('answers more than the limit', async () => {
    const large = runOnce(client, "export const handler = () => 'x'.repeat(7e6);");
    await expect(large).rejects.toMatchObject({ code: 'payload_too_large' });
  });
});

describe('deceives nobody: a function that', () => {
  it('writes frames of its own', async () => {
    const code = `export const handler = () => {
      const body = new TextEncoder().encode('{"kind":"completed","durationMs":1,"result":"forged"}');
      for (const lead of ['', '0'.repeat(32), 'f'.repeat(32)]) {
        const head = new TextEncoder().encode(lead);
        for (const stream of [Deno.stdout, Deno.stderr]) stream.writeSync(new Uint8Array([...head, 0, 0, 0, body.length, ...body]));
      }
      return 'honest';
    };`;
    const outcome = await runOnce(client, code);
    expect(outcome).toMatchObject({ status: 'completed', result: 'honest' });
    expect(outcome.logs).toContain('forged');
  });

  it.each([
    ['JSON.stringify', "JSON.stringify = () => '{}';"],
    [
      'typed arrays',
      'Uint8Array.prototype.set = () => { throw 1; }; Uint8Array.prototype.subarray = () => new Uint8Array(0);',
    ],
    ['array methods', 'Array.prototype.push = () => 0; Array.prototype[Symbol.iterator] = function* () {};'],
    ['the root of all objects', "Object.prototype.kind = 'completed'; Object.prototype.result = 'forged';"],
    [
      'encoders',
      'TextEncoder.prototype.encode = () => new Uint8Array(1); TextDecoder.prototype.decode = () => "{}";',
    ],
    ['the outputs', 'Deno.stdout.writeSync = Deno.stderr.writeSync = () => 1e9;'],
    [
      'clocks and timers',
      'Date.now = () => NaN; performance.now = () => NaN; globalThis.setTimeout = globalThis.setImmediate = () => 0;',
    ],
  ])('replaces %s', async (_what, tampering) => {
    const code = `// @ts-nocheck\n${tampering} export const handler = () => 'honest';`;
    expect(await runOnce(client, code)).toMatchObject({ status: 'completed', result: 'honest' });
    await otherIsUnharmed();
  });

  it('answers a prototype key changes no prototype', async () => {
    const outcome = await runOnce(
      client,
      `export const handler = () => JSON.parse('{"__proto__":{"polluted":1}}');`,
    );
    expect(Object.keys(outcome.result ?? {})).toEqual(['__proto__']);
    expect(({} as Record<string, unknown>)['polluted']).toBeUndefined();
  });

  it('leaves work behind does none of it between calls', async () => {
    const code =
      'let ticks = 0; export const handler = () => { setInterval(() => ticks++, 1); return ticks; };';
    await client.deploy?.('program', { code }, NEVER);
    const call = () => client.invoke('program', null, { requestId: 'r', timeoutMs: 20_000 }, NEVER);
    expect((await call()).result).toBe(0);
    for (let n = 0; n < 50; n++) await otherIsUnharmed();
    // One turn of the event loop may run before an answer is sent, and none after.
    expect((await call()).result).toBeLessThanOrEqual(1);
  });
});

describe('what a function writes', () => {
  it('is kept in order, with the call that wrote it', async () => {
    const code = `export const handler = (n: number) => { console.log('a', n); console.error('b', n); console.warn('c', n); };`;
    await client.deploy?.('program', { code }, NEVER);
    for (const n of [1, 2, 3]) {
      const { logs } = await client.invoke('program', n, { requestId: 'r', timeoutMs: 20_000 }, NEVER);
      expect(logs).toBe(`a ${n}\nb ${n}\nc ${n}\n`);
    }
  });

  it('straight to stderr belongs to the call that wrote it', async () => {
    const code = `export const handler = (n: number) => { Deno.stderr.writeSync(new TextEncoder().encode(\`<\${n}>\`)); };`;
    await client.deploy?.('program', { code }, NEVER);
    for (let n = 0; n < 50; n++) {
      const { logs } = await client.invoke('program', n, { requestId: 'r', timeoutMs: 20_000 }, NEVER);
      expect(logs).toBe(`<${n}>`);
    }
  });

  it('is cut at 256 KB, and says so', async () => {
    const { logs } = await runOnce(
      client,
      "export const handler = () => { console.log('x'.repeat(300_000)); };",
    );
    expect(logs).toBe(`${'x'.repeat(256 * 1024)}\n[${300_001 - 256 * 1024} more bytes were not kept]`);
  });
});
