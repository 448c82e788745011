import { readFileSync } from 'node:fs';

const root = new URL('../../', import.meta.url);

export const text = readFileSync(new URL('Dockerfile', root), 'utf8');

/** Its instructions, one a line, without comments. */
export const lines = text
  .replaceAll(/^\s*#.*\n/gm, '')
  .replaceAll(/\\\n\s*/g, '')
  .split('\n');

/** Those of the image itself. */
export const last = lines.slice(lines.findLastIndex((line) => line.startsWith('FROM ')));

/** The optional packages that are in it unless told. */
export const peers = (/^ARG PEERS="(.*)"$/m.exec(text)?.[1] ?? '').split(' ');

/** The arguments of a `node` that finds out whether the server is well. */
export function healthCheck(): readonly string[] {
  return command('HEALTHCHECK').slice(1);
}

/** What a container runs. */
export function entry(): readonly string[] {
  return [...command('ENTRYPOINT'), ...command('CMD')];
}

/** The variables that the image sets. */
export function variables(): Readonly<Record<string, string>> {
  const set = last.find((line) => line.startsWith('ENV ')) ?? '';
  return Object.fromEntries(
    [...set.matchAll(/(\w+)=(\S+)/g)].map(([, name = '', value = '']) => [name, value]),
  );
}

/** Whether the build gets a path, given from the root on. Of the patterns that .dockerignore may hold, ours need two. */
export function isSent(path: string): boolean {
  const patterns = readFileSync(new URL('.dockerignore', root), 'utf8').split('\n');
  return !patterns.some((pattern) => {
    if (pattern === '' || pattern.startsWith('#')) return false;
    const suffix = /^\*\*\/(?:\*)?(\.[^*]+)(\*?)$/.exec(pattern);
    if (!suffix) return path === pattern || path.startsWith(`${pattern}/`);
    const [, end = '', isPrefix] = suffix;
    const name = path.split('/').at(-1) ?? '';
    return isPrefix ? name.startsWith(end) : name.endsWith(end);
  });
}

function command(instruction: string): readonly string[] {
  const line = last.find((one) => one.startsWith(`${instruction} `)) ?? '';
  return JSON.parse(line.slice(line.indexOf('["'))) as readonly string[];
}
