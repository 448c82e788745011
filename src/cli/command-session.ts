import type { Command } from 'commander';
import { ConnectorError, isConnectorError } from '../errors/error.ts';
import { connectorGet, connectorList } from '../operations/connector.ts';
import type { Answer, Operation } from '../operations/operation.ts';
import { printAnswer } from './print.ts';
import type { Settings } from './settings.ts';
import { openTransport, type Target, targetOf } from './target.ts';
import type { Terminal } from './terminal.ts';
import type { Transport } from './transport.ts';

/** The options that every command has. */
export type GlobalOptions = {
  readonly url?: string;
  readonly apiKey?: string;
  readonly dataDir?: string;
  readonly tenant?: string;
  readonly json?: boolean;
};

/** A connector as every answer shows it. */
export type ConnectorAnswer = Answer<typeof connectorGet>;

/** One run of one command: where it goes, whom it is about, and how it answers. */
export class CommandSession {
  readonly terminal: Terminal;
  readonly transport: Transport;
  /** The tenant that was named, if any. */
  readonly tenantId: string | undefined;
  readonly json: boolean;

  constructor(terminal: Terminal, transport: Transport, { tenant, json = false }: GlobalOptions) {
    this.terminal = terminal;
    this.transport = transport;
    this.tenantId = tenant;
    this.json = json;
  }

  /** Runs an operation about the tenant that was named, or about that of `connector`. */
  run<Op extends Operation>(
    operation: Op,
    input: Readonly<Record<string, unknown>> = {},
    {
      connector,
      content,
    }: { readonly connector?: ConnectorAnswer; readonly content?: AsyncIterable<Uint8Array> } = {},
  ): Promise<Answer<Op>> {
    return this.transport.run(operation, { input: this.inputFor(input, connector), content });
  }

  /** An operation's input with the connector and the tenant that it is about; absent fields are left out. */
  inputFor(input: Readonly<Record<string, unknown>>, connector?: ConnectorAnswer): Record<string, unknown> {
    const tenantId = connector?.tenant_id ?? this.tenantId;
    const given = Object.entries(input).filter(([, value]) => value !== undefined);
    return {
      ...Object.fromEntries(given),
      ...(connector && { connector_id: connector.connector_id }),
      ...(tenantId !== undefined && { tenant_id: tenantId }),
    };
  }

  /** Prints the answer: as it is for programs, or what `forPeople` makes of it. */
  answer(value: unknown, forPeople: () => string | readonly string[]): Promise<void> {
    return printAnswer(this.terminal, this.json, value, forPeople);
  }

  /**
   * The connector with this id, or else with this name.
   *
   * @throws ConnectorError `not_found`; `invalid_argument` when several tenants have one and none was named.
   */
  async find(reference: string): Promise<ConnectorAnswer> {
    try {
      return await this.run(connectorGet, { connector_id: reference });
    } catch (error) {
      if (!isConnectorError(error) || error.code !== 'not_found') throw error;
    }
    const { connectors: found } = await this.run(connectorList, { name: reference });
    const [first, ...others] = found;
    if (!first) {
      const where = this.tenantId === undefined ? '' : ` of tenant ${this.tenantId}`;
      throw new ConnectorError('not_found', `there is no connector "${reference}"${where}`);
    }
    if (others.length === 0) return first;
    const tenants = found
      .map(({ tenant_id }) => tenant_id)
      .sort()
      .join(', ');
    throw new ConnectorError(
      'invalid_argument',
      `several tenants have a "${reference}" (${tenants}); name one with --tenant`,
    );
  }
}

/** Makes a command's action: opens what it needs, runs `work`, and closes again whatever happens. */
export function inSession<Args extends readonly unknown[]>(
  terminal: Terminal,
  settings: Settings,
  work: (session: CommandSession, ...args: Args) => Promise<void>,
): (...args: [...Args, Command]) => Promise<void> {
  return async (...given) => {
    // Commander passes the command itself last.
    const command = given.at(-1) as Command;
    const args = given.slice(0, -1) as unknown as Args;
    const options = globalOptions(command, settings);
    const transport = await openTransport(targetFor(command, settings), terminal);
    try {
      await work(new CommandSession(terminal, transport, options), ...args);
    } finally {
      await transport.close();
    }
  };
}

/** The options that every command has, as they were given. */
export function globalOptions(command: Command, settings: Settings): GlobalOptions {
  const given = command.optsWithGlobals<GlobalOptions>();
  const tenant = given.tenant ?? settings.CONNECTORS_TENANT;
  return { ...given, ...(tenant !== undefined && { tenant }) };
}

/** Where a command's operations run. */
export function targetFor(command: Command, settings: Settings): Target {
  return targetOf(command.optsWithGlobals<GlobalOptions>(), settings);
}
