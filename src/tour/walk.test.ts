import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { drivers } from '../drivers.generated.ts';
import { ConnectorRegistry } from '../registry/registry.ts';
import type { TenantView } from '../registry/tenant.ts';
import { docsFolder, tourOf } from './folder-tour.ts';
import { handler } from './functions/summarize.ts';
import { readState } from './state.ts';
import { type TourEvent, type TourWatcher, walk, walkedSoFar } from './walk.ts';

const NEVER = new AbortController().signal;

let folder: string;
let registry: ConnectorRegistry;
let tenant: TenantView;

beforeEach(async () => {
  folder = join(await mkdtemp(join(tmpdir(), 'connectors-tour-')), 'My Notes');
  await mkdir(join(folder, 'deep'), { recursive: true });
  await writeFile(
    join(folder, 'bread.md'),
    '# Sourdough bread\n\nFlour, water and salt rise slowly in a warm oven.\n',
  );
  await writeFile(
    join(folder, 'deep', 'bees.txt'),
    'Bees carry pollen between flowers and store honey in the hive.\n',
  );
  await writeFile(join(folder, 'photo.jpg'), 'not text');
  registry = await ConnectorRegistry.open({ drivers });
  tenant = registry.forTenant('me', { admin: true });
});
afterEach(async () => {
  await registry.close();
  await rm(join(folder, '..'), { recursive: true });
});

function recorder(onEvent: (event: TourEvent) => void = () => {}) {
  const events: TourEvent[] = [];
  const watcher: TourWatcher = {
    progress: (_label, _total, work) => work(() => {}),
    async tell(event) {
      events.push(event);
      onEvent(event);
    },
  };
  const of = <Kind extends TourEvent['kind']>(kind: Kind) =>
    events.filter((event): event is Extract<TourEvent, { kind: Kind }> => event.kind === kind);
  return { watcher, of };
}

async function walked() {
  const { watcher, of } = recorder();
  await walk(await tourOf(tenant, folder), watcher, NEVER);
  return of;
}

it('fills connectors named after the folder and asks what the texts themselves suggest', async () => {
  const of = await walked();
  expect(of('files')).toMatchObject([{ connector: 'my-notes-files', files: 2, done: 2 }]);
  expect(of('passages')).toMatchObject([{ connector: 'my-notes-passages', passages: 2, done: 2 }]);
  expect(of('function')).toMatchObject([{ name: 'summarize', deployed: true }]);
  const answers = of('answer').map(({ question, matches }) => [question, matches[0]?.metadata?.['file']]);
  expect(answers[0]).toEqual(['Sourdough bread', 'bread.md']);
  expect(answers[1]?.[1]).toBe('deep/bees.txt');
  expect(of('invoked').map(({ way, invocation }) => [way, invocation.status])).toEqual([
    ['sync', 'completed'],
    ['async', 'completed'],
  ]);
});

it('does nothing twice', async () => {
  await walked();
  const of = await walked();
  expect(of('files')).toMatchObject([{ done: 0 }]);
  expect(of('passages')).toMatchObject([{ passages: 2, done: 0 }]);
  expect(of('function')).toMatchObject([{ deployed: false }]);
});

it('takes up what changed, and forgets what is gone', async () => {
  await walked();
  await writeFile(join(folder, 'bread.md'), '# Rye bread\n\nRye flour needs a sour dough and a long rest.\n');
  await rm(join(folder, 'deep'), { recursive: true });
  const of = await walked();
  expect(of('files')).toMatchObject([{ files: 1, done: 2 }]);
  expect(of('passages')).toMatchObject([{ passages: 1, done: 1 }]);
  const vectors = await tenant.vector((await tenant.getByName('my-notes-passages')).connectorId);
  expect(await vectors.countVectors()).toBe(1);
  const files = await tenant.file((await tenant.getByName('my-notes-files')).connectorId);
  expect((await files.listFiles('/', { recursive: true })).files.map(({ path }) => path)).not.toContain(
    'deep/bees.txt',
  );
});

it('leaves vectors alone that somebody else put there', async () => {
  await walked();
  const vectors = await tenant.vector((await tenant.getByName('my-notes-passages')).connectorId);
  const values = Array.from({ length: vectors.vectorDimension }, () => 1);
  await vectors.upsertVectors([{ id: 'mine', values }]);
  await writeFile(join(folder, 'new.md'), '# Rye bread\n\nRye flour needs a sour dough.\n');
  await walked();
  expect(await vectors.fetchVectors(['mine'])).toHaveLength(1);
});

describe('a walk that is interrupted', () => {
  it.each(['files', 'passages', 'function', 'answer'] as const)('is taken up after its %s', async (kind) => {
    const interruption = new AbortController();
    const { watcher } = recorder((event) => event.kind === kind && interruption.abort());
    const tour = await tourOf(tenant, folder);
    await expect(walk(tour, watcher, interruption.signal)).rejects.toMatchObject({ code: 'cancelled' });
    expect(await walkedSoFar(tenant, tour.names, tour.source)).toBe('begun');
    const of = await walked();
    expect(of('files')).toMatchObject([{ done: 0 }]);
    expect(of('answer')).toHaveLength(2);
    expect(await walkedSoFar(tenant, tour.names, tour.source)).toBe('done');
  });
});

it('does not touch connectors of the same name that are not its own', async () => {
  await tenant.createFileConnector({ name: 'my-notes-files' });
  const of = await walked();
  expect(of('files')[0]?.connector).toMatch(/^my-notes-[0-9a-f]{6}-files$/);
});

it.each([
  ['that does not exist', 'nowhere', /nowhere is not a folder that can be read/],
  ['without text', 'empty', /holds no text; the walk reads/],
])('refuses a folder %s', async (_, name, message) => {
  await mkdir(join(folder, 'empty'));
  const { watcher } = recorder();
  const attempt = tourOf(tenant, join(folder, name)).then((tour) => walk(tour, watcher, NEVER));
  await expect(attempt).rejects.toThrow(message);
  expect(await tenant.list()).toEqual([]);
});

it("finds the answers in the project's own documentation", { timeout: 60_000 }, async () => {
  const { watcher, of } = recorder();
  const tour = await tourOf(tenant, docsFolder());
  await walk(tour, watcher, NEVER);
  const answers = of('answer').map(({ matches: [best] }) => best?.text?.replace(/\s+/g, ' ') ?? '');
  expect(answers).toEqual([
    expect.stringMatching(/retry, rate limit, circuit breaker, timeout/),
    expect.stringMatching(/a write goes to a temporary file .* and takes the target's place by a rename/),
    expect.stringMatching(/A second one is refused with the first one's process id/),
  ]);
  const files = await tenant.file((await tenant.getByName(tour.names.files)).connectorId);
  expect((await readState(files)).walked).toBe(true);
});

describe('summarize', () => {
  it('keeps the sentences that share most with the question, in their order', () => {
    const text = 'A cat sleeps. Dogs bark at cars. The river is wide. Cars have wheels.';
    expect(handler({ text, question: 'Do cars have wheels?' })).toMatchObject({
      summary: 'Dogs bark at cars. Cars have wheels.',
      sentences: 4,
      words: 14,
    });
  });
});
