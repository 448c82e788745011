import type { FastifyInstance } from 'fastify';
import type { ConnectorRegistry } from '../registry/registry.ts';
import { CALLBACK_PREFIX } from '../registry/signed-addresses.ts';
import type { LookUps } from './look-ups.ts';

/** A result, and what stands around it. */
const MAX_BYTES = 16 * 2 ** 20;

type Parameters = { readonly connector_id: string; readonly sealed: string };

/**
 * Takes what platforms say of invocations that they carried on: the address is sealed for one invocation and is the whole
 * permission. 204 also for one that has ended, since a platform that is refused would only try again.
 */
export function mountCallbacks(app: FastifyInstance, registry: ConnectorRegistry, lookUps: LookUps): void {
  void app.register(async (callbacks) => {
    callbacks.removeAllContentTypeParsers();
    // The framework refuses a type that is none; a function may answer one, and its platform does not post twice.
    callbacks.addHook('onRequest', async ({ raw }) => void delete raw.headers['content-type']);
    callbacks.addContentTypeParser('*', { parseAs: 'buffer' }, (_request, body, done) => done(null, body));
    // Before the body: whoever has no address has nothing kept in memory for him.
    callbacks.addHook<{ Params: Parameters }>('onRequest', async ({ ip, params }) => {
      await lookUps.run(ip, () => registry.functionCallback(params.connector_id, params.sealed));
    });
    callbacks.post<{ Params: Parameters }>(
      `${CALLBACK_PREFIX}/:connector_id/:sealed`,
      { bodyLimit: MAX_BYTES },
      async (request, reply) => {
        const { connector_id, sealed } = request.params;
        const headers = Object.fromEntries(
          Object.entries(request.raw.headersDistinct).map(([name, values]) => [name, values?.join(', ')]),
        );
        // Without a body there is no parser to make one.
        const body = Buffer.isBuffer(request.body) ? request.body : Buffer.alloc(0);
        const take = await registry.functionCallback(connector_id, sealed);
        await take({ headers, body });
        return reply.code(204).send();
      },
    );
  });
}
