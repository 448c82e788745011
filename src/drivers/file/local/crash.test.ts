import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, it, vi } from 'vitest';
import { Root } from './root.ts';
import { clientOver, litterBelow, signal, temporaryFolder, treeOf } from './local.fixture.ts';
import { sweep } from './sweep.ts';
import { temporaryName } from './temporary.ts';

const BYTES = 64 * 2 ** 20;
/** `CRASH_ROUNDS=50 npx vitest run src/drivers/file/local/crash.test.ts` is the long run. */
const ROUNDS = Number(process.env['CRASH_ROUNDS'] ?? 6);

/** Replaces one file again and again, each time by another byte, and says what was acknowledged. */
const WRITER = `
  const { openLocal } = await import(process.argv[1]);
  const log = { debug() {}, info() {}, warn() {}, error() {} };
  const client = await openLocal({}, { folder: process.argv[2], log });
  const { signal } = new AbortController();
  const chunk = new Uint8Array(2 ** 20);
  for (let round = Number(process.argv[3]); ; round++) {
    chunk.fill(round % 256);
    const source = async function* () {
      for (let i = 0; i < ${BYTES} / chunk.length; i++) { if (i === 8) process.stdout.write('half '); yield chunk; }
    };
    await client.write('deep/file', source(), {}, signal);
    process.stdout.write('acknowledged:' + (round % 256) + ' ');
  }
`;

it('holds a whole file of an acknowledged write or a later one after SIGKILL, and no litter once it is opened', async () => {
  const root = join(await temporaryFolder(), 'root');
  const module = new URL('./client.ts', import.meta.url).href;
  let acknowledged = -1;
  for (let i = 0; i < ROUNDS; i++) {
    const args = ['--input-type=module', '-e', WRITER, module, root, String(acknowledged + 1)];
    const writer = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] });
    let output = '';
    let halves = 0;
    writer.stdout.setEncoding('utf8').on('data', (text: string) => {
      output += text;
      halves += text.split('half').length - 1;
      // In the middle of a write, a different one each time.
      if (halves > 1 + (i % 3)) writer.kill('SIGKILL');
    });
    await once(writer, 'close');
    const found = [...output.matchAll(/acknowledged:(\d+)/g)].map(([, round]) => Number(round));
    acknowledged = found.at(-1) ?? acknowledged;

    const client = await clientOver(root);
    await vi.waitFor(async () => expect(await litterBelow(root)).toEqual([]));
    const content = await client.readBytes('deep/file', undefined, signal);
    const [byte = -1] = content;
    expect(content.length).toBe(BYTES);
    expect([acknowledged, acknowledged + 1]).toContain(byte);
    expect(Buffer.compare(content, new Uint8Array(BYTES).fill(byte))).toBe(0);
    acknowledged = byte;
  }
  expect(await treeOf(root)).toEqual(['deep', 'deep/file']);
}, 300_000);

it('sweeps what ended processes left, and neither what is being written nor what users named', async () => {
  const root = await temporaryFolder();
  await mkdir(join(root, 'a/b'), { recursive: true });
  // No process has this number: it is above the kernel's largest.
  const abandoned = '.~write-9999999-0123abcd-0123456789abcdef';
  const reused = `.~write-${process.pid}-0123abcd-0123456789abcdef`;
  const running = temporaryName();
  const named = [
    '.~write-',
    '.~write-1',
    '.~write-9999999-0123abcd',
    'a.~write-9999999-0123abcd-0123456789abcdef',
  ];
  for (const name of [abandoned, reused, running, ...named]) {
    for (const folder of ['', 'a/b']) await writeFile(join(root, folder, name), 'x');
  }
  const opened = await Root.open(root, 'handles');
  expect(await sweep(opened, signal)).toBe(4);
  expect(await sweep(opened, signal)).toBe(0);
  await opened.close();
  expect(await treeOf(join(root, 'a/b'))).toEqual([running, ...named].sort());
});
