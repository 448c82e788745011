import { copyFileSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { isConnectorError, type ConnectorError } from '../errors/error.ts';
import { invocation, secret, storeSuite } from '../testing/store-suite.ts';
import { SqlStore } from './sql-store.ts';
import type { Store } from './store.ts';

const folder = mkdtempSync(join(tmpdir(), 'damage-'));
const whole = join(folder, 'whole.db');
const file = join(folder, 'copy.db');
afterAll(() => rmSync(folder, { recursive: true }));

type Question = (store: Store) => Promise<unknown>;
const questions: Question[] = [
  (store) => store.listConnectors({ limit: 1_000, offset: 0 }),
  (store) => store.listConnectors({ connectorType: 'vector', limit: 1_000, offset: 0 }),
  (store) => store.listKeys(null),
  (store) => store.dueInvocations(new Date(), new Map()),
  (store) => store.getFact('check'),
  (store) => store.listTenants(),
];
let answers: readonly unknown[];

beforeAll(async () => {
  const store = await SqlStore.open({ file: whole });
  const { connector } = storeSuite(() => store);
  const some = Array.from({ length: 60 }, (_, i) =>
    connector({
      tenantId: `tenant-${i % 7}`,
      secrets: [secret('key', `sealed ${i}`)],
      metadata: { text: 'x'.repeat(300) },
    }),
  );
  await store.insertConnectors(some);
  for (const { record } of some) {
    const { tenantId, connectorId, name } = record;
    questions.push((store) => store.getConnector(tenantId, connectorId));
    questions.push((store) => store.getConnectorByName(tenantId, name));
    questions.push((store) => store.getSecrets(tenantId, connectorId));
    questions.push((store) => store.getConnectorWithSecrets(tenantId, connectorId));
  }
  const [{ record }] = some as [(typeof some)[number]];
  await store.addInvocation(invocation(record, { requestId: 'request' }));
  const { tenantId, connectorId } = record;
  questions.push((store) => store.getInvocation(tenantId, connectorId, 'request'));
  const key = { keyId: 'key', tenantId: null, role: 'admin', label: 'label', hash: 'hash' } as const;
  await store.insertKey({ ...key, createdAt: new Date(0), revokedAt: null });
  await store.setFact('check', 'value');
  answers = await Promise.all(questions.map((question) => question(store)));
  await store.close();
});

/** Asks everything of a damaged copy: each answer is right, or an error that names the damage. */
async function expectNoWrongAnswer(
  bytes: Buffer,
  { cleanStop }: { readonly cleanStop: boolean },
): Promise<void> {
  for (const end of ['', '-wal', '-shm', '.sum']) rmSync(file + end, { force: true });
  writeFileSync(file, bytes);
  if (cleanStop) copyFileSync(`${whole}.sum`, `${file}.sum`);
  let store: Store | undefined;
  try {
    store = await SqlStore.open({ file });
    const opened = store;
    const given = await Promise.allSettled(questions.map((question) => question(opened)));
    given.forEach((answer, i) => {
      if (answer.status === 'fulfilled') expect(answer.value).toEqual(answers[i]);
      else expectDamage(answer.reason);
    });
  } catch (error) {
    if (store) throw error;
    expect(error).toSatisfy(isConnectorError);
    // A damaged header may say that the file is of a kind that nobody may write.
    expect((error as ConnectorError).message).toMatch(/damaged|may not be written/);
  } finally {
    await store?.close();
  }
}

function expectDamage(error: unknown): void {
  expect(error).toSatisfy(isConnectorError);
  expect(error).toMatchObject({ code: 'internal', message: expect.stringContaining('damaged') });
}

const damage = fc.oneof(
  fc
    .array(fc.record({ at: fc.nat(), bit: fc.nat(7) }), { minLength: 1, maxLength: 64 })
    .map((flips) => (bytes: Buffer) => {
      for (const { at, bit } of flips)
        bytes.writeUInt8(bytes.readUInt8(at % bytes.length) ^ (1 << bit), at % bytes.length);
      return bytes;
    }),
  fc.nat().map((at) => (bytes: Buffer) => bytes.subarray(0, 1 + (at % (bytes.length - 1)))),
  fc
    .nat()
    .map(
      (at) => (bytes: Buffer) =>
        bytes.fill(0, at % bytes.length, Math.min((at % bytes.length) + 4_096, bytes.length)),
    ),
);

it.each([{ cleanStop: true }, { cleanStop: false }])(
  'never answers wrongly from a damaged file ($cleanStop: the stop before was clean)',
  async (stop) => {
    const bytes = readFileSync(whole);
    await fc.assert(
      fc.asyncProperty(damage, async (change) => {
        const changed = change(Buffer.from(bytes));
        fc.pre(!changed.equals(bytes));
        await expectNoWrongAnswer(changed, stop);
      }),
      { numRuns: Number(process.env['DAMAGE_RUNS'] ?? 60) },
    );
  },
  600_000,
);

it('refuses a file that lost its content after a clean stop', async () => {
  await expectNoWrongAnswer(Buffer.alloc(0), { cleanStop: true });
  await expect(SqlStore.open({ file })).rejects.toMatchObject({ code: 'internal' });
});

it('opens a sound file after a clean stop and after an unclean one', async () => {
  for (const cleanStop of [true, false]) {
    await expectNoWrongAnswer(readFileSync(whole), { cleanStop });
    expect(existsSync(`${file}.sum`)).toBe(true);
  }
});

it('refuses what is no database', async () => {
  const text = join(folder, 'text.db');
  writeFileSync(text, 'this is a text file, and nothing but a text file\n'.repeat(200));
  await expect(SqlStore.open({ file: text })).rejects.toMatchObject({
    code: 'internal',
    message: `the database file ${text} is damaged; restore it from a backup`,
  });
});
