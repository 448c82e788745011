import { type Command, Option } from 'commander';
import { keyCreate, keyList, keyRevoke } from '../../operations/admin.ts';
import { inSession } from '../command-session.ts';
import { example } from '../help.ts';
import { say, table } from '../print.ts';
import type { Settings } from '../settings.ts';
import type { Terminal } from '../terminal.ts';

/** Adds the commands about API keys. */
export function addKeyCommands(program: Command, terminal: Terminal, settings: Settings): void {
  const keys = program
    .command('keys')
    .summary('make, list and revoke API keys')
    .description('Manage API keys.');

  keys
    .command('create')
    .summary('make an API key; it is shown this once')
    .description('Make an API key for --tenant, or for all tenants without one. Only its hash is kept.')
    .addOption(
      new Option(
        '--role <role>',
        '`reader` looks, `operator` also changes and invokes, `admin` also manages keys',
      )
        .choices(['reader', 'operator', 'admin'])
        .makeOptionMandatory(),
    )
    .option('--label <text>', 'what the key is for', '')
    .addHelpText(
      'after',
      example(
        'connectors keys create --role operator --tenant acme --label ci',
        'connectors keys create --role admin',
      ),
    )
    .action(
      inSession(
        terminal,
        settings,
        async (session, { role, label }: { readonly role: string; readonly label: string }) => {
          const made = await session.run(keyCreate, { role, label });
          if (!session.json)
            say(
              terminal,
              `key ${made.key_id}: ${made.role} of ${made.tenant_id ?? 'all tenants'}; shown this once`,
            );
          await session.answer(made, () => made.key);
        },
      ),
    );

  keys
    .command('list')
    .summary('list API keys')
    .description('List API keys, revoked ones among them; the keys themselves are not kept.')
    .addHelpText('after', example('connectors keys list'))
    .action(
      inSession(terminal, settings, async (session) => {
        const answer = await session.run(keyList);
        await session.answer(answer, () => {
          if (answer.keys.length === 0) return 'no keys';
          return table(
            ['ID', 'ROLE', 'TENANT', 'LABEL', 'CREATED', 'REVOKED'],
            answer.keys.map((k) => [
              k.key_id,
              k.role,
              k.tenant_id ?? '(all)',
              k.label,
              k.created_at,
              k.revoked_at,
            ]),
          );
        });
      }),
    );

  keys
    .command('revoke <key-id>')
    .summary('end an API key at once')
    .description('End an API key at once; give its id, not the key.')
    .addHelpText('after', example('connectors keys revoke 3f2a91c0d4e5'))
    .action(
      inSession(terminal, settings, async (session, keyId: string) => {
        const answer = await session.run(keyRevoke, { key_id: keyId });
        await session.answer(answer, () => `revoked ${keyId}`);
      }),
    );
}
