import type { Command } from 'commander';
import { z } from 'zod';
import { connectorConfig } from '../connectors/config.ts';
import type { ConnectorAnswer } from './command-session.ts';
import {
  type Assignment,
  assignment,
  credentialsOf,
  json,
  jsonObject,
  number,
  optionsOf,
} from './flag-values.ts';
import type { Terminal } from './terminal.ts';

/** What the flags of {@link addConfigFlags} hold; those of the single fields stand beside these. */
export type ConfigFlags = {
  readonly option?: readonly Assignment[];
  readonly credential?: readonly Assignment[];
  readonly metadata?: unknown;
  readonly config?: Readonly<Record<string, unknown>>;
} & Readonly<Record<string, unknown>>;

/** The fields of a configuration that are one value each: a flag is made for each, from its schema. */
const SCALAR_FIELDS = Object.entries(connectorConfig.shape).filter(
  ([name]) => !['options', 'credentials'].includes(name),
);

/** Adds a flag for each field of a configuration. */
export function addConfigFlags(command: Command): Command {
  for (const [name, schema] of SCALAR_FIELDS) {
    const { type, default: usual } = z.toJSONSchema(schema, { io: 'input' });
    const about = `${schema.description ?? ''}${usual === undefined ? '' : ` (${JSON.stringify(usual)})`}`;
    const flag = `--${name.replaceAll('_', '-')}`;
    if (type === 'boolean') command.option(flag, about).option(`--no-${flag.slice(2)}`, `without ${flag}`);
    else if (type === 'string') command.option(`${flag} <text>`, about);
    else command.option(`${flag} <n>`, about, number);
  }
  return command
    .option('--option <name=value>', "one of the provider's own options; JSON where it is some", assignment)
    .option(
      '--credential <name=source>',
      'name=@file, name=- (stdin) or name=env:NAME; name=value works, but other users see arguments',
      assignment,
    )
    .option('--config <json>', 'the whole configuration in wire names, under the flags above', jsonObject)
    .option('--metadata <json>', 'anything of yours to keep with the connector', json);
}

/** What the flags say about the configuration, in wire names; fields that none names are absent. */
export async function configOf(
  flags: ConfigFlags,
  terminal: Terminal,
  before?: ConnectorAnswer,
): Promise<Record<string, unknown>> {
  const scalars = SCALAR_FIELDS.flatMap(([name]) => {
    const value = flags[name.replace(/_([a-z])/g, (_, letter: string) => letter.toUpperCase())];
    return value === undefined ? [] : [[name, value] as const];
  });
  return {
    ...flags.config,
    ...Object.fromEntries(scalars),
    ...(flags.option && { options: { ...before?.config.options, ...optionsOf(flags.option) } }),
    // The masks of those that are there keep their stored values.
    ...(flags.credential && {
      credentials: { ...before?.config.credentials, ...(await credentialsOf(flags.credential, terminal)) },
    }),
  };
}
