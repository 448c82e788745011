import { readdirSync, readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { settings } from '../src/cli/settings.ts';
import { metricsText } from '../src/server/metrics.ts';
import { typing } from './cli/terminal.fixture.ts';

const docs = new URL('../docs/', import.meta.url);
const page = readFileSync(new URL('operations.md', docs), 'utf8');
const words = [...page.matchAll(/`([^`\n]+)`/g)].map(([, text = '']) => text);
const blocks = [...page.matchAll(/```sh\n([^]*?)```/g)].flatMap(([, text = '']) => text.split('\n'));

it('names settings that there are', () => {
  const named = new Set(page.match(/CONNECTORS_[A-Z]+(_[A-Z]+)*/g));
  expect(named.size).toBeGreaterThan(10);
  for (const name of named) expect(Object.keys(settings.shape)).toContain(name);
});

it('names gauges that there are', () => {
  const there = metricsText({ limitsDegraded: false, servers: 1, openClients: 0, storeCurrent: true });
  for (const name of new Set(page.match(/connector_registry_[a-z_]+/g)))
    expect(there).toContain(`\n${name} `);
});

it('names commands and flags that there are', async () => {
  const lines = [...blocks, ...words].filter((line) => line.startsWith('connectors '));
  const commands = new Set(
    lines.map((line) => /^connectors((?: [a-z]+){1,2})/.exec(line)?.[1]?.trim() ?? ''),
  );
  expect(commands.size).toBeGreaterThan(5);
  for (const command of commands) {
    const { code, stdout, stderr } = await typing()([...command.split(' '), '--help']);
    expect({ command, code, stderr }).toEqual({ command, code: 0, stderr: '' });
    const used = lines
      .filter((line) => line.startsWith(`connectors ${command} `))
      .flatMap((line) => line.replace(/#.*/, '').match(/--[a-z-]+/g) ?? []);
    for (const flag of used) expect(stdout, `connectors ${command}`).toContain(flag);
  }
});

it('leads to headings and files that there are', () => {
  const headings = [...page.matchAll(/^#+ (.+)$/gm)].map(
    ([, text = '']) => `#${text.toLowerCase().replaceAll(' ', '-')}`,
  );
  const files = readdirSync(docs);
  for (const [, link = ''] of page.matchAll(/\]\((?!https?:)([^)]+)\)/g))
    expect(link.startsWith('#') ? headings : files).toContain(
      link.startsWith('#') ? link : link.split('#')[0],
    );
});
