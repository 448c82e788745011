import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { selfSignedCertificate } from '../../../testing/certificate.fixture.ts';
import { testServerlessDriver } from '../../../testing/serverless.ts';
import { call, opened, startFunctions, TABLE, type FunctionServer } from './functions.fixture.ts';
import driver from './index.ts';

const ROUTED = {
  functions: Object.fromEntries(Object.keys(TABLE).map((name) => [name, '/'])),
  host_template: '{name}.default.example.com',
};
/** An ingress as Knative's: one address, and the function is known by the host that is asked for. */
const ingress = (certificate?: { readonly cert: string; readonly key: string }) =>
  startFunctions({
    ...(certificate && { certificate }),
    nameOf: ({ headers }) =>
      /^([a-z0-9-]+)\.default\.example\.com$/.exec(headers.host ?? '')?.[1] ?? 'absent',
  });

let server: FunctionServer;
beforeAll(async () => void (server = await ingress()));
afterAll(() => server.close());

testServerlessDriver({ driver, open: () => opened({ endpoint: server.url, ...ROUTED }) });

describe('functions behind an ingress', () => {
  it('are asked for by their hosts, with the path behind the endpoint', async () => {
    const client = await opened({
      endpoint: `${server.url}/base/`,
      functions: { echo: '/run?x=1' },
      host_template: '{name}.default.example.com',
    });
    expect(await call(client, 'echo', 7)).toEqual({ status: 'completed', result: 7 });
    expect(server.seen.at(-1)).toMatchObject({
      path: '/base/run?x=1',
      headers: { host: 'echo.default.example.com' },
    });
    await client.close();
  });

  it('that the ingress does not know are not found', async () => {
    const client = await opened({ endpoint: server.url, ...ROUTED, functions: { gone: '/' } });
    await expect(call(client, 'gone')).rejects.toMatchObject({ code: 'not_found' });
    await client.close();
  });

  it('have to have the certificate of the host by TLS, whatever the address is', async () => {
    const certificate = selfSignedCertificate(); // for 127.0.0.1 and localhost
    const secure = await ingress(certificate);
    const options = { endpoint: secure.url, ...ROUTED, ca: certificate.cert };
    const client = await opened(options);
    await expect(call(client, 'echo')).rejects.toMatchObject({
      code: 'unavailable',
      details: { backend_code: 'ERR_TLS_CERT_ALTNAME_INVALID', sent: false },
    });
    expect(secure.seen).toEqual([]);
    await client.close();
    await secure.close();
  });
});
