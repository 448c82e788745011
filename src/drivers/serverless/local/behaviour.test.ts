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

describe('a function', () => {
  it('tells nothing of the host in its stack', async () => {
    const outcome = await runOnce(client, "export const handler = () => { throw new Error('here'); };");
    expect(outcome.error?.stack).toMatch(/at handler \(blob:/);
    expect(outcome.error?.stack).not.toContain('bootstrap');
  });

  it('that writes frames of its own has written output', async () => {
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

  it('that leaves work behind does none of it between calls', async () => {
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
