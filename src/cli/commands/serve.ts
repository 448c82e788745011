import { type Command, Option } from 'commander';
import { readFile } from 'node:fs/promises';
import { once } from 'node:events';
import { invalidField } from '../../errors/error.ts';
import type { ConnectorRegistry } from '../../registry/registry.ts';
import type { RunningServer } from '../../server/serve.ts';
import { docsFolder, DOCS_SOURCE, tourOf } from '../../tour/folder-tour.ts';
import { DEMO_NAMES, DEMO_TENANT } from '../../tour/names.ts';
import { walk, walkedSoFar } from '../../tour/walk.ts';
import { targetFor } from '../command-session.ts';
import { number } from '../flag-values.ts';
import { example } from '../help.ts';
import { print, say } from '../print.ts';
import type { Settings } from '../settings.ts';
import { openServedRegistry, type Target } from '../target.ts';
import type { Terminal } from '../terminal.ts';
import { tourView } from '../tour-view.ts';
import { nextCommands } from './tour.ts';

/** Of the ten seconds that stopping takes at most: for what was accepted. Then the rest is ended, or handed over. */
const FINISH_MS = 6_000;

type ServeFlags = {
  readonly host?: string;
  readonly port?: number;
  readonly tlsCert?: string;
  readonly tlsKey?: string;
  readonly insecureHttp?: boolean;
};

/** Adds the commands that run a server. */
export function addServeCommands(program: Command, terminal: Terminal, settings: Settings): void {
  addServerFlags(program.command('serve'), settings)
    .summary('run the server')
    .description(
      'Open the data directory and answer REST until Ctrl-C. Logs go to stderr, one JSON object a line.',
    )
    .addHelpText(
      'after',
      example('connectors serve', 'connectors serve --port 8080 --data-dir /var/lib/connectors'),
    )
    .action(async (flags: ServeFlags, command: Command) => {
      await serving(flags, command, settings.CONNECTORS_LOG_LEVEL, async (registry, { url }) => {
        await announceFirstKey(registry, terminal, targetFor(command, settings));
        say(terminal, `listening on ${url}; Ctrl-C stops`);
      });
    });

  addServerFlags(program.command('start'), settings)
    .summary('run the server, and show a first-time user around')
    .description(
      'What `npm start` runs: the server and, where the registry is empty, a walk of the tenant demo through the whole ' +
        'product. Ctrl-C stops.',
    )
    .addHelpText('after', example('connectors start'))
    .action(async (flags: ServeFlags, command: Command) => {
      const level = terminal.env['CONNECTORS_LOG_LEVEL'] ? settings.CONNECTORS_LOG_LEVEL : 'warn';
      await serving(flags, command, level, async (registry, { url }) => {
        const { dataDir } = targetFor(command, settings);
        await print(terminal, `connector-registry is running at ${url}, its data in ${dataDir}`, '');
        const key = await announceFirstKey(registry, terminal, targetFor(command, settings));
        const hasFunctions = await firstWalk(registry);
        await print(terminal, ...addresses(url), '', ...next(url, key, hasFunctions), '', 'Ctrl-C stops.');
      });
    });

  async function serving(
    flags: ServeFlags,
    command: Command,
    level: string,
    ready: (registry: ConnectorRegistry, server: RunningServer) => Promise<void>,
  ): Promise<void> {
    // Not at the top: no other command needs the server's packages.
    const { registryLog, serverLogger, startServer } = await import('../../server/index.ts');
    const { pino } = await import('pino');
    const logger = serverLogger({ level }, pino.destination({ fd: 2, sync: true }));
    const target = { ...targetFor(command, settings), url: undefined };
    const tls = await certificate(flags);
    await using registry = await openServedRegistry(target, terminal, {
      log: registryLog(logger),
      graceMs: FINISH_MS,
    });
    const server = await startServer({
      registry,
      host: flags.host ?? settings.CONNECTORS_HOST,
      port: flags.port ?? settings.CONNECTORS_PORT,
      tls,
      insecureHttp: flags.insecureHttp ?? settings.CONNECTORS_INSECURE_HTTP,
      logger,
    });
    try {
      await ready(registry, server);
      if (!terminal.signal.aborted) await once(terminal.signal, 'abort');
    } catch (error) {
      // Ctrl-C is how a server is ended, also one that is still showing somebody around.
      if (!terminal.signal.aborted) throw error;
    } finally {
      say(terminal, 'stopping: finishing what was accepted');
      registry.leave();
      await server.close({ graceMs: FINISH_MS });
    }
  }

  /**
   * Walks where the registry is empty, or goes on with an interrupted walk; false where functions cannot run here, undefined
   * where there is nothing to walk through, or none of the embedded engines that it leads to.
   */
  async function firstWalk(registry: ConnectorRegistry): Promise<boolean | undefined> {
    if (docsFolder() === undefined || !settings.CONNECTORS_EMBEDDED) return undefined;
    const tenant = registry.forTenant(DEMO_TENANT, { admin: true });
    const before = await walkedSoFar(tenant, DEMO_NAMES, DOCS_SOURCE);
    const isEmpty = (await registry.getStatistics()).totalConnectors === 0;
    if (before === 'done') {
      await print(
        terminal,
        `Everything is still there from an earlier start: ${await summary(registry)}`,
        '',
      );
    } else if (before === 'begun' || isEmpty) {
      await print(terminal, `A walk of tenant ${DEMO_TENANT} through the project's own documentation`, '');
      const walked = await walk(await tourOf(tenant, undefined), tourView(terminal), terminal.signal);
      await print(terminal, '');
      return walked.hasFunctions;
    } else {
      await print(terminal, await summary(registry), '');
    }
    return true;
  }

  function next(url: string, key: string | undefined, hasFunctions: boolean | undefined): readonly string[] {
    const shownKey = key ?? '<your API key>';
    return [
      'Try next, in another terminal:',
      `  export CONNECTORS_URL=${url} CONNECTORS_API_KEY=${key === undefined ? `'${shownKey}'` : shownKey}`,
      ...(hasFunctions === undefined
        ? [`  ${terminal.command} create --help`]
        : nextCommands(terminal, { tenant: DEMO_TENANT, names: DEMO_NAMES, hasFunctions })),
    ];
  }
}

/** Makes the administrator's key of a new registry and shows it, this once. */
async function announceFirstKey(
  registry: ConnectorRegistry,
  terminal: Terminal,
  { databaseUrl }: Target,
): Promise<string | undefined> {
  const made = await registry.keys.createFirst('first start');
  if (!made) {
    const create = `${terminal.command} keys create --role admin`;
    // One process at a time has a data directory; a database has many.
    const how =
      databaseUrl === undefined
        ? `stop the server and run: ${create}`
        : `run: ${create} --data-dir <an empty folder>`;
    say(terminal, `The administrator's API key was shown at the first start. For another one, ${how}`);
    return undefined;
  }
  say(terminal, `The administrator's API key, shown this once (only its hash is kept):\n\n  ${made.key}\n`);
  return made.key;
}

async function summary(registry: ConnectorRegistry): Promise<string> {
  const { totalConnectors, connectorsByType } = await registry.getStatistics();
  const types = Object.entries(connectorsByType).map(([type, count]) => `${count} ${type}`);
  return `${totalConnectors} connectors (${types.join(', ')})`;
}

function addresses(url: string): readonly string[] {
  return [
    'Addresses',
    `  REST           ${url}/api/v1`,
    `  API reference  ${url}/docs`,
    `  OpenAPI        ${url}/openapi.json`,
    `  health         ${url}/healthz  ${url}/readyz`,
  ];
}

function addServerFlags(command: Command, settings: Settings): Command {
  return command
    .option('--host <host>', `the address to listen on (${settings.CONNECTORS_HOST})`)
    .option('--port <port>', `the port; 0 takes a free one (${settings.CONNECTORS_PORT})`, number)
    .option('--tls-cert <file>', 'certificate in PEM, with --tls-key')
    .option('--tls-key <file>', 'private key in PEM')
    .addOption(
      new Option(
        '--insecure-http',
        'allow plain HTTP on an address that other machines reach (CONNECTORS_INSECURE_HTTP)',
      ),
    );
}

async function certificate({ tlsCert, tlsKey }: ServeFlags) {
  if (tlsCert === undefined && tlsKey === undefined) return undefined;
  if (tlsCert === undefined || tlsKey === undefined)
    throw invalidField('--tls-cert', 'and --tls-key belong together');
  return { cert: await pem(tlsCert, '--tls-cert'), key: await pem(tlsKey, '--tls-key') };
}

function pem(file: string, flag: string): Promise<Buffer> {
  return readFile(file).catch(() => {
    throw invalidField(flag, 'names a file that can be read');
  });
}
