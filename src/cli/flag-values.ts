import { InvalidArgumentError } from 'commander';
import { readFile } from 'node:fs/promises';
import { addAbortSignal } from 'node:stream';
import { text } from 'node:stream/consumers';
import { ConnectorError } from '../errors/error.ts';
import { isRecord } from './transport.ts';
import type { Terminal } from './terminal.ts';

/** Reads a flag's value as JSON. */
export function json(value: string): unknown {
  try {
    return JSON.parse(value);
  } catch {
    throw new InvalidArgumentError('it is not JSON.');
  }
}

/** Reads a flag's value as a JSON object. */
export function jsonObject(value: string): Readonly<Record<string, unknown>> {
  const parsed = json(value);
  if (!isRecord(parsed)) throw new InvalidArgumentError('it is not a JSON object.');
  return parsed;
}

/** Reads a flag's value as a number. */
export function number(value: string): number {
  const parsed = Number(value);
  if (value.trim() === '' || Number.isNaN(parsed)) throw new InvalidArgumentError('it is not a number.');
  return parsed;
}

/** Adds a `name=value` to those that were given before it. */
export function assignment(value: string, before: readonly Assignment[] = []): readonly Assignment[] {
  const at = value.indexOf('=');
  if (at < 1) throw new InvalidArgumentError('it is not name=value.');
  return [...before, { name: value.slice(0, at), value: value.slice(at + 1) }];
}

/** A `name=value` of the command line. */
export type Assignment = { readonly name: string; readonly value: string };

/** Options as the provider reads them: JSON where a value is some, text elsewhere; `a.b` is a field of `a`. */
export function optionsOf(given: readonly Assignment[]): Record<string, unknown> {
  const options: Record<string, unknown> = {};
  for (const { name, value } of given) {
    const path = name.split('.');
    const last = path.pop() ?? name;
    let place = options;
    for (const key of path) {
      const inner = Object.hasOwn(place, key) && isRecord(place[key]) ? { ...place[key] } : {};
      place[key] = inner;
      place = inner;
    }
    place[last] = jsonOrText(value);
  }
  return options;
}

function jsonOrText(value: string): unknown {
  try {
    return JSON.parse(value);
  } catch {
    return value;
  }
}

/**
 * Credentials without their values ever standing in the command line: `@file`, `-` for stdin, `env:NAME` for a
 * reference that the registry resolves each time. Anything else is the value itself.
 *
 * @throws ConnectorError `invalid_argument` when a file cannot be read or stdin is asked for twice.
 */
export async function credentialsOf(
  given: readonly Assignment[],
  terminal: Pick<Terminal, 'stdin' | 'signal'>,
): Promise<Record<string, unknown>> {
  if (given.filter(({ value }) => value === '-').length > 1)
    throw new ConnectorError(
      'invalid_argument',
      'stdin can hold one credential; give the others as name=@file',
    );
  const read = async (name: string, value: string): Promise<unknown> => {
    if (value === '-') return withoutLineEnd(await textOfStdin(terminal));
    if (value.startsWith('env:')) return { from_env: value.slice('env:'.length) };
    if (!value.startsWith('@')) return value;
    try {
      return withoutLineEnd(await readFile(value.slice(1), 'utf8'));
    } catch (cause) {
      throw new ConnectorError('invalid_argument', `the file for credential ${name} cannot be read`, {
        cause,
      });
    }
  };
  return Object.fromEntries(
    await Promise.all(given.map(async ({ name, value }) => [name, await read(name, value)] as const)),
  );
}

/** All of stdin; rejects as soon as the command is interrupted. */
export function textOfStdin({ stdin, signal }: Pick<Terminal, 'stdin' | 'signal'>): Promise<string> {
  return text(addAbortSignal(signal, stdin));
}

function withoutLineEnd(content: string): string {
  return content.replace(/\r?\n$/, '');
}
