import type { Command } from 'commander';
import { join } from 'node:path';
import { ConnectorError } from '../../errors/error.ts';
import { keyringList, keyringRotate } from '../../operations/keyring.ts';
import type { Answer } from '../../operations/operation.ts';
import { addKey, dropKey, promoteKey } from '../../secrets/key-file-edits.ts';
import { KEY_FILE } from '../../secrets/key-file.ts';
import { MASTER_KEY_VARIABLE, readKeyRing } from '../../secrets/key-ring.ts';
import { type CommandSession, globalOptions, inSession, targetFor } from '../command-session.ts';
import { example } from '../help.ts';
import { printAnswer, say, table } from '../print.ts';
import { count, withProgress } from '../progress.ts';
import type { Settings } from '../settings.ts';
import type { Terminal } from '../terminal.ts';

/** A master key as the registry lists it. */
type KeyAnswer = Answer<typeof keyringList>['keys'][number];

/** What all the steps of a rotation did. */
type Rotated = Omit<Answer<typeof keyringRotate>, 'next'>;

/** Adds the commands about master keys. */
export function addKeyringCommands(program: Command, terminal: Terminal, settings: Settings): void {
  const keyring = program
    .command('keyring')
    .summary('list, add and rotate master keys')
    .description(
      'Manage the master keys that credentials are sealed with: add one, make it current, seal everything anew, drop the old one.',
    );

  keyring
    .command('list')
    .summary('list master keys and what needs them')
    .description(
      'List the master keys by their ids: how many credentials each sealed, which servers seal with it, and which do not have it.',
    )
    .addHelpText('after', example('connectors keyring list'))
    .action(
      inSession(terminal, settings, async (session) => {
        const answer = await session.transport.run(keyringList, { input: {} });
        await session.answer(answer, () =>
          table(
            ['KEY', 'CURRENT', 'CREDENTIALS', 'CURRENT ON', 'MISSING ON'],
            answer.keys.map((key) => [
              key.key_id,
              key.current ? 'yes' : 'no',
              count(key.credentials),
              key.current_on.join(', ') || null,
              key.missing_on.join(', ') || null,
            ]),
          ),
        );
      }),
    );

  keyring
    .command('rotate')
    .summary('seal all credentials anew with the current master key')
    .description(
      'Seal all credentials anew with the current master key, while servers serve. Interrupt it and start it again as you like.',
    )
    .addHelpText(
      'after',
      example('connectors keyring rotate', 'connectors keyring rotate --url https://connectors.example.com'),
    )
    .action(
      inSession(terminal, settings, async (session) => {
        const done = await rotate(session);
        await session.answer(done, () => [
          `sealed ${count(done.resealed)} credentials anew with master key ${done.key_id}; ${count(done.remaining)} remain`,
          ...done.unreadable_connectors.map((id) => `does not open: a credential of connector ${id}`),
        ]);
        if (done.remaining > 0) throw unfinished(done);
      }),
    );

  addFileCommands(keyring, terminal, settings);
}

/** Adds the commands that change the key file of the data directory. */
function addFileCommands(keyring: Command, terminal: Terminal, settings: Settings): void {
  keyring
    .command('add')
    .summary('add a master key to the file of the data directory')
    .description(
      `Add a fresh key to ${KEY_FILE} in the data directory, behind the current one: what it seals can be opened, and nothing is sealed with it yet.`,
    )
    .addHelpText('after', example('connectors keyring add'))
    .action(async (_flags: unknown, command: Command) => {
      const { json = false } = globalOptions(command, settings);
      const file = keyFile(command, terminal, settings);
      const keyId = await addKey(file);
      await printAnswer(terminal, json, { key_id: keyId }, () => keyId);
      say(
        terminal,
        `added master key ${keyId} to ${file}; once every server has it: connectors keyring promote ${keyId}`,
      );
    });

  keyring
    .command('promote <key-id>')
    .summary('make a master key of that file the current one')
    .description(
      `Make a key of ${KEY_FILE} in the data directory the current one. A server seals with it from its next start.`,
    )
    .addHelpText('after', example('connectors keyring promote 3f2a91c0d4e5b607'))
    .action(async (keyId: string, _flags: unknown, command: Command) => {
      const { json = false } = globalOptions(command, settings);
      const file = keyFile(command, terminal, settings);
      await promoteKey(file, keyId);
      await printAnswer(terminal, json, { key_id: keyId }, () => keyId);
      say(
        terminal,
        `master key ${keyId} is the first of ${file}; restart every server, then: connectors keyring rotate`,
      );
    });

  keyring
    .command('drop <key-id>')
    .summary('take an old master key out of that file')
    .description(
      `Take a key out of ${KEY_FILE} in the data directory. Refused while a credential needs it or a server seals with it.`,
    )
    .addHelpText('after', example('connectors keyring drop 3f2a91c0d4e5b607'))
    .action(async (keyId: string, _flags: unknown, command: Command) => {
      const file = keyFile(command, terminal, settings, { mayAskServer: true });
      const drop = inSession(terminal, settings, async (session: CommandSession) => {
        const { keys } = await session.transport.run(keyringList, { input: {} });
        await refuseOthers(file, keys);
        refuseNeeded(keyId, keys);
        await dropKey(file, keyId);
        await session.answer({ key_id: keyId }, () => `dropped master key ${keyId} from ${file}`);
      });
      await drop(command);
    });
}

async function rotate(session: CommandSession): Promise<Rotated> {
  const { keys } = await session.transport.run(keyringList, { input: {} });
  const total = keys.reduce((sum, { current, credentials }) => sum + (current ? 0 : credentials), 0);
  return withProgress(session.terminal, { label: 'sealing anew', total }, async (advance) => {
    let resealed = 0;
    for (;;) {
      const pass = await rotateOnce(session, advance);
      resealed += pass.resealed;
      // What was stepped over because somebody was changing it is found by another walk.
      if (pass.remaining <= pass.unreadable || pass.resealed === 0) return { ...pass, resealed };
    }
  });
}

/** One walk over all credentials. */
async function rotateOnce(session: CommandSession, advance: (steps: number) => void): Promise<Rotated> {
  let resealed = 0;
  let unreadable = 0;
  const named = new Set<string>();
  let after: string | undefined;
  for (;;) {
    const step = await session.transport.run(keyringRotate, {
      input: { ...(after !== undefined && { after }) },
    });
    const { next, ...done } = step;
    resealed += done.resealed;
    unreadable += done.unreadable;
    for (const id of done.unreadable_connectors) named.add(id);
    advance(done.resealed);
    if (next === null) return { ...done, resealed, unreadable, unreadable_connectors: [...named] };
    after = next;
  }
}

function unfinished({ remaining, unreadable }: Rotated): ConnectorError {
  const why =
    unreadable > 0
      ? `${count(unreadable)} of them do not open with any key; give their connectors new credentials, or delete them`
      : 'they were being changed; run it again';
  return new ConnectorError(
    'invalid_state',
    `${count(remaining)} credentials still need an old master key: ${why}`,
  );
}

/** @throws ConnectorError `invalid_state` where the keys that were listed are not those of a server with this file. */
async function refuseOthers(file: string, keys: readonly KeyAnswer[]): Promise<void> {
  const ring = await readKeyRing({ env: {}, file });
  const theirs = keys.find(({ current }) => current)?.key_id;
  if (!ring || ring.current.id === theirs) return;
  throw new ConnectorError(
    'invalid_state',
    `the first key of ${file} is ${ring.current.id}, and the registry that was asked seals with ${theirs ?? 'none'}: ` +
      'it is another one, or its server has not been started again since; nothing was dropped',
  );
}

function refuseNeeded(id: string, keys: readonly KeyAnswer[]): void {
  const key = keys.find(({ key_id }) => key_id === id);
  if (!key)
    throw new ConnectorError(
      'invalid_state',
      `the registry that was asked knows no master key ${id.slice(0, 64)}, so it cannot say whether one needs it; ` +
        'ask the one that this file belongs to',
    );
  const { credentials, current, current_on: servers } = key;
  if (credentials > 0)
    throw new ConnectorError(
      'invalid_state',
      `${count(credentials)} credentials need master key ${id}; first: connectors keyring rotate`,
    );
  if (current || servers.length > 0)
    throw new ConnectorError(
      'invalid_state',
      `master key ${id} is current${servers.length > 0 ? ` on ${servers.join(', ')}` : ''}`,
    );
}

/** @throws ConnectorError `invalid_state` where the keys are in the environment, `unsupported` for those of a server elsewhere. */
function keyFile(
  command: Command,
  { env }: Terminal,
  settings: Settings,
  { mayAskServer = false }: { readonly mayAskServer?: boolean } = {},
): string {
  if (globalOptions(command, settings).url !== undefined && !mayAskServer)
    throw new ConnectorError(
      'unsupported',
      'this changes the key file of a data directory; leave out --url, and run it on each machine',
    );
  if (env[MASTER_KEY_VARIABLE])
    throw new ConnectorError(
      'invalid_state',
      `the master keys are in ${MASTER_KEY_VARIABLE}, not in a file; change them there`,
    );
  return join(targetFor(command, settings).dataDir, KEY_FILE);
}
