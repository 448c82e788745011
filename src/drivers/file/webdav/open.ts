import { networkFailure, reach, targetOf, type Note, type OpenContext } from '../../../driver.ts';
import { noSuchRoot, WebdavFiles } from './client.ts';
import { credentialsOf, type Credentials } from './credentials.ts';
import { refused } from './errors.ts';
import { Http } from './http.ts';
import type { WebdavOptions } from './options.ts';
import { look, type Entry, type Server } from './resources.ts';
import { Root } from './root.ts';

/** @throws ConnectorError `auth_failed`; `not_found` where the endpoint is no folder; `backend_error` for what is no WebDAV. */
export async function openWebdav(options: WebdavOptions, context: OpenContext): Promise<WebdavFiles> {
  const { network, clock, signal, folder, log } = context;
  const { endpoint, ca } = options;
  const agents = network.agents({ ca });
  try {
    await reach(context, targetOf(endpoint, ca));
    const credentials = credentialsOf(options);
    const server = { http: new Http({ endpoint, agents, credentials, clock }), root: new Root(endpoint) };
    const root = await context.stage('credentials', () => firstLook(server, credentials, signal));
    await context.stage('bucket', async () => {
      if (!root?.isCollection) throw noSuchRoot();
    });
    return new WebdavFiles({ server, folder, log, notes: notesOn(options) });
  } catch (error) {
    agents.close();
    throw networkFailure(error, signal);
  }
}

/** The root as it is seen with the credentials, which by then are known to be asked for or not. */
async function firstLook(
  server: Server,
  credentials: Credentials,
  signal: AbortSignal,
): Promise<Entry | undefined> {
  const root = await look(server, '', signal);
  if (!credentials.isUnasked) return root;
  // Anybody may read here. Making the folder that is there changes nothing, and asks as a write would: one that sends a
  // stream could not be repeated with the password.
  const { http } = server;
  const answer = await http.send({ method: 'MKCOL', target: server.root.folderTarget('') }, signal);
  http.discard(answer);
  if (answer.statusCode === 401) throw refused('MKCOL', answer, http.clock);
  return root;
}

function notesOn({ endpoint, password, token }: WebdavOptions): readonly Note[] {
  if (endpoint.startsWith('https:') || (password ?? token) === undefined) return [];
  const message =
    'the endpoint is http: whoever is on the way reads the files, and mostly the credentials too';
  return [{ level: 'warn', message }];
}
