import { type Command, Option } from 'commander';
import { ConnectorError } from '../../errors/error.ts';
import {
  connectorCreate,
  connectorDelete,
  connectorList,
  connectorTest,
  connectorUpdate,
} from '../../operations/connector.ts';
import { providerList, statsGet } from '../../operations/admin.ts';
import { type ConnectorAnswer, inSession } from '../command-session.ts';
import { addConfigFlags, type ConfigFlags, configOf } from '../config-flags.ts';
import { number } from '../flag-values.ts';
import { example } from '../help.ts';
import { facts, table } from '../print.ts';
import type { Settings } from '../settings.ts';
import type { Terminal } from '../terminal.ts';

/** Adds the commands about connectors themselves. */
export function addConnectorCommands(program: Command, terminal: Terminal, settings: Settings): void {
  program
    .command('list')
    .summary('list connectors')
    .description('List connectors, sorted by name; those of all tenants where none is named.')
    .addOption(
      new Option('--type <type>', 'only connectors of this type').choices(['vector', 'file', 'serverless']),
    )
    .option('--status <status>', 'only connectors with this status')
    .option('--limit <n>', 'connectors at most', number, 100)
    .option('--offset <n>', 'how many to skip', number, 0)
    .addHelpText('after', example('connectors list --tenant demo', 'connectors list --type vector --json'))
    .action(
      inSession(terminal, settings, async (session, { type, status, limit, offset }: ListFlags) => {
        const answer = await session.run(connectorList, { connector_type: type, status, limit, offset });
        await session.answer(answer, () => {
          if (answer.connectors.length === 0) return 'no connectors';
          return table(
            ['NAME', 'TYPE', 'PROVIDER', 'STATUS', 'TENANT', 'ID'],
            answer.connectors.map((c) => [
              c.name,
              c.connector_type,
              c.provider,
              c.status,
              c.tenant_id,
              c.connector_id,
            ]),
          );
        });
      }),
    );

  program
    .command('show <connector>')
    .summary('show a connector')
    .description(
      'Show a connector, by its name or id: configuration, status and figures. Credentials are masked.',
    )
    .addHelpText('after', example('connectors show demo-files', 'connectors show demo-files --json'))
    .action(
      inSession(terminal, settings, async (session, reference: string) => {
        const connector = await session.find(reference);
        await session.answer(connector, () => shown(connector));
      }),
    );

  const create = program
    .command('create <name>')
    .summary('register a connector')
    .description('Register a connector for the tenant named by --tenant.')
    .addOption(
      new Option('--type <type>', 'what it is')
        .choices(['vector', 'file', 'serverless'])
        .makeOptionMandatory(),
    )
    .option('--provider <id>', 'which backend within the type; see `connectors providers`')
    .option('--dimension <n>', 'vector: numbers in each vector (1536)', number)
    .addOption(
      new Option('--metric <metric>', 'vector: how distance is measured').choices([
        'cosine',
        'euclidean',
        'dot',
      ]),
    )
    .option('--base-path <path>', 'file: a folder inside the root that all paths are relative to')
    .option('--region <region>', 'serverless: where the platform runs')
    .option('--max-concurrency <n>', 'serverless: asynchronous invocations at once, at most (10)', number)
    .option(
      '--idempotent-function <name>',
      'serverless: a function that may run twice for one request id, or `*`; may be given again',
      (name: string, before: readonly string[] = []) => [...before, name],
    )
    .option(
      '--result-ttl-seconds <s>',
      'serverless: how long results are known after they ended (a day)',
      number,
    );
  addConfigFlags(create)
    .addHelpText(
      'after',
      example(
        'connectors create notes --type file --tenant acme',
        'connectors create passages --type vector --dimension 384 --metric cosine --tenant acme',
        'connectors create store --type vector --provider <id> --credential api_key=@key.txt --tenant acme',
      ),
    )
    .action(
      inSession(terminal, settings, async (session, name: string, flags: CreateFlags) => {
        if (session.tenantId === undefined)
          throw new ConnectorError(
            'invalid_argument',
            'a connector belongs to a tenant; name it with --tenant',
          );
        const made = await session.run(connectorCreate, {
          name,
          connector_type: flags.type,
          provider: flags.provider,
          vector_dimension: flags.dimension,
          distance_metric: flags.metric,
          base_path: flags.basePath,
          region: flags.region,
          max_concurrency: flags.maxConcurrency,
          idempotent_functions: flags.idempotentFunction,
          result_ttl_seconds: flags.resultTtlSeconds,
          metadata: flags.metadata,
          config: await configOf(flags, terminal),
        });
        await session.answer(made, () => `created ${made.name} (${made.connector_id}), ${made.status}`);
      }),
    );

  const update = program
    .command('update <connector>')
    .summary('change a connector')
    .description(
      'Change a connector. What is not named stays as it is; --option and --credential add to what is there.',
    )
    .option('--rename <name>', 'its new name')
    .addOption(
      new Option('--status <status>', 'take it out of use, or back into it').choices([
        'deprecated',
        'disconnected',
      ]),
    );
  addConfigFlags(update)
    .addHelpText(
      'after',
      example('connectors update notes --timeout-seconds 5', 'connectors update notes --rename old-notes'),
    )
    .action(
      inSession(terminal, settings, async (session, reference: string, flags: UpdateFlags) => {
        const connector = await session.find(reference);
        const changes = await configOf(flags, terminal, connector);
        const changed = await session.run(
          connectorUpdate,
          {
            name: flags.rename,
            status: flags.status,
            metadata: flags.metadata,
            ...(Object.keys(changes).length > 0 && { config: changes }),
            // Options are read, added to and written back, so nobody else's change may lie between.
            version: connector.version,
          },
          { connector },
        );
        await session.answer(changed, () => `updated ${changed.name}, now version ${changed.version}`);
      }),
    );

  program
    .command('test <connector>')
    .summary('find out whether a connector works')
    .description('Find out, stage by stage, whether a connector works. Exit code 1 where it does not.')
    .addHelpText('after', example('connectors test demo-passages'))
    .action(
      inSession(terminal, settings, async (session, reference: string) => {
        const connector = await session.find(reference);
        const report = await session.run(connectorTest, {}, { connector });
        await session.answer(report, () =>
          table(
            ['STAGE', 'RESULT', 'MS', 'MESSAGE'],
            report.stages.map((s) => [
              s.name,
              s.status,
              s.ms.toFixed(1),
              [s.message, s.remedy].filter((part) => part !== undefined).join('; '),
            ]),
          ),
        );
        if (report.ok) return;
        const failed = report.stages.find(({ status }) => status === 'failed');
        throw new ConnectorError(
          failed?.code ?? 'unavailable',
          `${connector.name} does not work: ${failed?.message ?? 'a stage failed'}`,
        );
      }),
    );

  program
    .command('delete <connector>')
    .summary('remove a connector')
    .description('Remove a connector, and what an embedded engine stored for it.')
    .addHelpText('after', example('connectors delete notes --tenant acme'))
    .action(
      inSession(terminal, settings, async (session, reference: string) => {
        const connector = await session.find(reference);
        const answer = await session.run(connectorDelete, {}, { connector });
        await session.answer(answer, () => `deleted ${connector.name} (${connector.connector_id})`);
      }),
    );

  program
    .command('stats')
    .summary('show how many connectors there are and what happened')
    .description('Show the figures of a tenant, or of all where none is named.')
    .addHelpText('after', example('connectors stats', 'connectors stats --tenant demo --json'))
    .action(
      inSession(terminal, settings, async (session) => {
        const stats = await session.run(statsGet);
        await session.answer(stats, () => statistics(stats));
      }),
    );

  program
    .command('providers')
    .summary('list the backends that connectors can be made for')
    .description('List the backends that connectors can be made for; --json also shows limits and options.')
    .addHelpText('after', example('connectors providers', 'connectors providers --json'))
    .action(
      inSession(terminal, settings, async (session) => {
        const { providers } = await session.transport.run(providerList, { input: {} });
        await session.answer({ providers }, () =>
          table(
            ['TYPE', 'PROVIDER', 'TITLE', 'OPTIONS', 'PACKAGES'],
            providers.map((p) => [
              p.connector_type,
              p.provider,
              p.title,
              Object.keys((p.options['properties'] as object | undefined) ?? {}).join(', '),
              Object.entries(p.peers)
                .map(([name, range]) => `${name}@${range}`)
                .join(', '),
            ]),
          ),
        );
      }),
    );
}

/** The figures of a registry or of a tenant, for people. */
export function statistics(stats: {
  readonly total_connectors: number;
  readonly connectors_by_type: Readonly<Record<string, number>>;
  readonly ready_connectors: number;
  readonly connected_connectors: number;
  readonly error_connectors: number;
  readonly total_connections: number;
  readonly total_errors: number;
}): string {
  const types = Object.entries(stats.connectors_by_type).map(([type, count]) => `${count} ${type}`);
  return facts([
    ['connectors', `${stats.total_connectors}${types.length > 0 ? ` (${types.join(', ')})` : ''}`],
    ['connected', stats.connected_connectors],
    ['ready', stats.ready_connectors],
    ['in error', stats.error_connectors],
    ['connections made', stats.total_connections],
    ['errors', stats.total_errors],
  ]);
}

type ListFlags = {
  readonly type?: string;
  readonly status?: string;
  readonly limit: number;
  readonly offset: number;
};
type CreateFlags = ConfigFlags & {
  readonly type: string;
  readonly provider?: string;
  readonly dimension?: number;
  readonly metric?: string;
  readonly basePath?: string;
  readonly region?: string;
  readonly maxConcurrency?: number;
  readonly idempotentFunction?: readonly string[];
  readonly resultTtlSeconds?: number;
};
type UpdateFlags = ConfigFlags & { readonly rename?: string; readonly status?: string };

function shown(connector: ConnectorAnswer): string {
  const { config, capabilities, last_error, ...rest } = connector;
  const { credentials, options, ...scalars } = config;
  const text = (value: object = {}) => (Object.keys(value).length === 0 ? undefined : JSON.stringify(value));
  return facts([
    ...Object.entries(rest).map(
      ([name, value]) => [name, typeof value === 'object' && value ? text(value) : value] as const,
    ),
    ['capabilities', capabilities.join(', ')],
    ['last_error', last_error && `${last_error.message} (${last_error.code}, ${last_error.at})`],
    ...Object.entries(scalars).map(([name, value]) => [`config.${name}`, value] as const),
    ['config.options', text(options)],
    ['config.credentials', text(credentials)],
  ]);
}
