import swagger from '@fastify/swagger';
import swaggerUi from '@fastify/swagger-ui';
import type { FastifyInstance } from 'fastify';
import type { Operation } from '../operations/operation.ts';
import { openApiDocument } from './openapi.ts';

/** Everything the page needs comes from this server; nothing is inlined, framed or sent elsewhere. */
const DOCS_CSP =
  "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; " +
  "font-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/** In place of the framework's own: the reference is the product's. */
const LOGO = `<svg xmlns="http://www.w3.org/2000/svg" width="240" height="32"><text x="0" y="22" fill="#fff"
  font-family="sans-serif" font-size="20">connector-registry</text></svg>`;

/** Serves the OpenAPI document at `/openapi.json` and a page to read and try it at `/docs`. */
export async function mountDocs(app: FastifyInstance, operations: readonly Operation[]): Promise<void> {
  const document = openApiDocument(operations);
  const text = JSON.stringify(document);
  app.get('/openapi.json', (_request, reply) =>
    reply.header('content-type', 'application/json; charset=utf-8').send(text),
  );
  // The plugin's type is that of OpenAPI 3.0; it passes a static document on as it is.
  await app.register(swagger, { mode: 'static', specification: { document: document as never } });
  await app.register(swaggerUi, {
    routePrefix: '/docs',
    staticCSP: DOCS_CSP,
    theme: { title: 'connector-registry API' },
    logo: { type: 'image/svg+xml', content: LOGO, href: '/docs', target: '_self' },
    uiConfig: { docExpansion: 'list', tryItOutEnabled: true, persistAuthorization: false },
  });
}
