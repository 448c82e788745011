import { ConnectorError } from '../errors/error.ts';

/**
 * The module of an optional peer dependency, as `load` imports it.
 *
 * @throws ConnectorError `unavailable` naming the command that installs it, when it is not installed.
 */
export async function loadPeer<M>(name: string, range: string, load: () => Promise<M>): Promise<M> {
  try {
    return await load();
  } catch (cause) {
    throw new ConnectorError(
      'unavailable',
      `the package ${name} is not installed; run: npm install ${name}@${range}`,
      {
        cause,
        details: { peer: name, install: `npm install ${name}@${range}` },
      },
    );
  }
}
