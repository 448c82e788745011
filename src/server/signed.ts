import type { FastifyInstance, FastifyRequest } from 'fastify';
import { checkSize } from '../connectors/file/content.ts';
import { ConnectorError } from '../errors/error.ts';
import { fileRead, fileStat, fileWrite } from '../operations/file.ts';
import type { Operation } from '../operations/operation.ts';
import type { ConnectorRegistry, SignedFile } from '../registry/registry.ts';
import { SIGNED_PREFIX } from '../registry/signed-addresses.ts';
import type { LookUps } from './look-ups.ts';
import { headersOf, runRequest } from './routes.ts';

const ANY_ORIGIN = {
  'access-control-allow-origin': '*',
  'access-control-expose-headers': 'content-length, content-range, etag',
  'cross-origin-resource-policy': 'cross-origin',
};
const PREFLIGHT = {
  'access-control-allow-methods': 'GET, HEAD, PUT',
  'access-control-allow-headers': 'content-type, if-none-match, range',
  'access-control-max-age': '600',
};

type Parameters = { readonly connector_id: string; readonly sealed: string };

/**
 * Answers signed addresses: whoever holds one reads or writes its one file, as the operations do and with nothing more.
 */
export function mountSignedAddresses(
  app: FastifyInstance,
  registry: ConnectorRegistry,
  lookUps: LookUps,
): void {
  void app.register(async (files) => {
    files.removeAllContentTypeParsers();
    files.addContentTypeParser('*', (_request, _payload, done) => done(null));
    // A page of any origin may use what it holds: the address is the whole permission, and no cookie goes with it.
    files.addHook('onRequest', async (_request, reply) => void reply.headers(ANY_ORIGIN));
    const url = `${SIGNED_PREFIX}/:connector_id/:sealed`;
    const answer = (operation: Operation, method: 'GET' | 'PUT') =>
      files.route<{ Params: Parameters }>({
        method: operation.method,
        url,
        exposeHeadRoute: false,
        async handler(request, reply) {
          const { connector_id, sealed } = request.params;
          const file = await lookUps.run(request.ip, () => registry.signedFile(connector_id, sealed, method));
          const caller = { tenantId: file.tenantId, role: operation.role };
          const input = { ...headersOf(operation, request), connector_id, path: file.path };
          if (method === 'GET') return runRequest(operation, { request, reply, registry, caller, input });
          checkType(request, file);
          const content = limited(request.raw, file);
          return runRequest(operation, { request, reply, registry, caller, input, content });
        },
      });
    files.options(url, (_request, reply) => reply.code(204).headers(PREFLIGHT).send());
    answer(fileRead, 'GET');
    answer(fileStat, 'GET');
    answer(fileWrite, 'PUT');
  });
}

function checkType(
  { headers }: FastifyRequest<{ Params: Parameters }>,
  { contentType, maxBytes }: SignedFile,
): void {
  if (contentType !== undefined && headers['content-type'] !== contentType)
    throw new ConnectorError(
      'permission_denied',
      `the signed address is for the content type ${contentType}`,
    );
  // Said before anything is read, where the sender says how much it is going to be.
  if (maxBytes !== undefined) checkSize(Number(headers['content-length'] ?? 0), maxBytes);
}

/** The body, which fails where it gets longer than the address allows; a write that fails leaves what was there. */
async function* limited(
  body: AsyncIterable<Uint8Array>,
  { maxBytes = Number.POSITIVE_INFINITY }: SignedFile,
): AsyncGenerator<Uint8Array> {
  let bytes = 0;
  for await (const chunk of body) {
    bytes += chunk.byteLength;
    checkSize(bytes, maxBytes);
    yield chunk;
  }
}
