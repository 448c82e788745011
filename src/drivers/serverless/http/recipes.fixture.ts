import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Seen } from './functions.fixture.ts';

/** The Node recipe of the README: whether a request is genuine. */
export type IsGenuine = (request: Seen, secret: string, nowSeconds?: number) => boolean;

const readme = readFileSync(join(import.meta.dirname, 'README.md'), 'utf8');

/** The one block of code in this language, as it stands in the README. */
export function recipe(language: 'js' | 'python'): string {
  const [, code, ...more] = readme.split(`\n\`\`\`${language}\n`);
  if (code === undefined || more.length > 0) throw new Error(`the README has one block of ${language}`);
  return code.slice(0, code.indexOf('\n```'));
}

/** The Node recipe, as somebody runs it who copied it. */
export async function nodeRecipe(): Promise<IsGenuine> {
  const url = `data:text/javascript,${encodeURIComponent(recipe('js'))}`;
  const module = (await import(/* @vite-ignore */ url)) as { readonly isGenuine: IsGenuine }; // the README says so
  return module.isGenuine;
}
