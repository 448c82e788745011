import type { IncomingHttpHeaders } from 'node:http';
import { expect, it, vi } from 'vitest';
import { NEVER } from '../../../policies/pipeline.ts';
import { selfSigned } from '../../../testing/faulty-servers.fixture.ts';
import { openContext } from '../../../testing/open-context.ts';
import { managedIdentity } from '../../../clouds/azure/authority.fixture.ts';
import driver from './index.ts';

// In a file of its own: the identity library keeps where it found the host's identity first, for the whole process.
it('asks the service of a virtual machine for the identity of the host', async () => {
  const double = await managedIdentity();
  const heard: IncomingHttpHeaders[] = [];
  const storage = await selfSigned((request, response) => {
    heard.push(request.headers);
    const blob = { etag: '"1"', 'last-modified': new Date().toUTCString(), 'x-ms-request-id': 'x' };
    if (request.method === 'HEAD') return response.writeHead(200, { ...blob, 'content-length': '5' }).end();
    if (request.method === 'PUT') return response.writeHead(202, blob).end();
    response.writeHead(200, { 'content-type': 'application/xml', 'x-ms-request-id': 'x' });
    return response.end('<EnumerationResults><Blobs/><NextMarker/></EnumerationResults>');
  });
  vi.stubEnv('AZURE_POD_IDENTITY_AUTHORITY_HOST', double.url);
  try {
    const { url: endpoint, certificate: ca } = storage;
    const options = driver.options.parse({ account: 'acme', container: 'files', endpoint, ca });
    const client = await driver.open(options, openContext({ folder: '/nowhere', authType: 'iam' }));
    await client.copy?.('a', 'b', NEVER);
    await client.close();
    expect(double.requests).toMatchObject([
      {
        method: 'GET',
        path: expect.stringMatching(/^\/metadata\/identity\/oauth2\/token\/?$/),
        query: { resource: expect.stringMatching(/^https:\/\/storage\.azure\.com\/?$/) },
        headers: { metadata: 'true' },
      },
    ]);
    const { authorization } = heard.at(-1) ?? {};
    expect(authorization).toMatch(/^Bearer \S+\.\S+\.\S+$/);
    // Azure reads the source by itself, and as us.
    expect(heard.at(-1)?.['x-ms-copy-source-authorization']).toBe(authorization);
    expect(heard.at(-1)?.['x-ms-copy-source']).toBe(`${endpoint}/files/a`);
  } finally {
    vi.unstubAllEnvs();
    await storage.close();
    await double.close();
  }
});
