import { settings } from '../../src/cli/settings.ts';

/** Those of these variables that no setting has. */
export function unknownSettings(names: readonly string[]): readonly string[] {
  return names.filter((name) => !Object.hasOwn(settings.shape, name));
}
