import { expect, it, vi } from 'vitest';
import { selfSigned } from '../../../testing/faulty-servers.fixture.ts';
import { openContext } from '../../../testing/open-context.ts';
import { managedIdentity } from './authority.fixture.ts';
import driver from './index.ts';

// In a file of its own: the identity library keeps where it found the host's identity first, for the whole process.
it('asks the service of a virtual machine for the identity of the host', async () => {
  const double = await managedIdentity();
  const heard: (string | undefined)[] = [];
  const storage = await selfSigned((request, response) => {
    heard.push(request.headers.authorization);
    response.writeHead(200, { 'content-type': 'application/xml', 'x-ms-request-id': 'x' });
    response.end('<EnumerationResults><Blobs/><NextMarker/></EnumerationResults>');
  });
  vi.stubEnv('AZURE_POD_IDENTITY_AUTHORITY_HOST', double.url);
  try {
    const { url: endpoint, certificate: ca } = storage;
    const options = driver.options.parse({ account: 'acme', container: 'files', endpoint, ca });
    const client = await driver.open(options, openContext({ folder: '/nowhere', authType: 'iam' }));
    await client.close();
    expect(double.requests).toMatchObject([
      {
        method: 'GET',
        path: expect.stringMatching(/^\/metadata\/identity\/oauth2\/token\/?$/),
        query: { resource: expect.stringMatching(/^https:\/\/storage\.azure\.com\/?$/) },
        headers: { metadata: 'true' },
      },
    ]);
    expect(heard[0]).toMatch(/^Bearer \S+\.\S+\.\S+$/);
  } finally {
    vi.unstubAllEnvs();
    await storage.close();
    await double.close();
  }
});
