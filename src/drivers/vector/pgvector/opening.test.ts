import { inspect } from 'node:util';
import { afterEach, describe, expect, it } from 'vitest';
import type { VectorOpenContext } from '../../../driver.ts';
import { selfSignedCertificate } from '../../../testing/certificate.fixture.ts';
import { blackHole, closedPort, garbage, nonsense } from '../../../testing/faulty-servers.fixture.ts';
import { openContext } from '../../../testing/open-context.ts';
import driver from './index.ts';
import { BACKEND, startWire, type WireBehaviour } from './wire.fixture.ts';

const PASSWORD = 'correct horse battery staple';

let close: () => Promise<void> = async () => {};
afterEach(() => close());

async function serverOf<S extends { close(): Promise<void> }>(starting: Promise<S>): Promise<S> {
  const server = await starting;
  close = () => server.close();
  return server;
}

function contextOf(own: Partial<VectorOpenContext> = {}): VectorOpenContext {
  return { ...openContext({ folder: '/nowhere' }), dimension: 3, metric: 'cosine', ...own };
}

/** What opening failed with; neither it nor what it was caused by may hold the password. */
async function failureOf(options: Readonly<Record<string, unknown>>, context = contextOf()) {
  const parsed = driver.options.parse({ user: 'ada', password: PASSWORD, ...options });
  const error: unknown = await driver.open(parsed, context).then(
    () => expect.fail('it was opened'),
    (reason: unknown) => reason,
  );
  expect(inspect(error, { depth: 10, showHidden: true })).not.toContain(PASSWORD);
  return error;
}

/** The same against the double, which names the user in its URL. */
async function failureOn(behaviour: WireBehaviour, options: Readonly<Record<string, unknown>> = {}) {
  const { url } = await serverOf(startWire(behaviour));
  return failureOf({ endpoint: url, user: undefined, ssl: 'disable', ...options });
}

describe('opening fails', () => {
  it.each([
    ['28P01', 'password authentication failed for user "ada"', 'auth_failed'],
    ['28000', 'no pg_hba.conf entry for host', 'auth_failed'],
    ['3D000', 'database "books" does not exist', 'not_found'],
    ['53300', 'sorry, too many clients already', 'unavailable'],
    ['57P03', 'the database system is starting up', 'unavailable'],
  ])('on SQLSTATE %s, %s, with %s', async (code, message, expected) => {
    expect(await failureOn({ refuse: { code, message } })).toMatchObject({
      code: expected,
      message: `the database answered ${code}: ${message}`,
      details: { backend_code: code },
    });
  });

  it('with auth_failed where a password is asked for and there is none, whatever the environment holds', async () => {
    process.env['PGPASSWORD'] = 'of the host';
    try {
      // What pg says of an empty one, before it computes anything from it.
      expect(await failureOn({ scram: true }, { password: undefined })).toMatchObject({
        code: 'auth_failed',
        message: expect.stringContaining('password must be a non-empty string'),
      });
    } finally {
      delete process.env['PGPASSWORD'];
    }
  });

  it('with unavailable where nobody listens', async () => {
    const { host, port } = await serverOf(closedPort());
    expect(await failureOf({ host, port, ssl: 'disable' })).toMatchObject({ code: 'unavailable' });
  });

  it('with the reason of the signal where nobody answers, and leaves no connection', async () => {
    const { host, port } = await serverOf(blackHole());
    const control = new AbortController();
    const context = contextOf({
      signal: control.signal,
      async stage(name, step) {
        const running = step();
        if (name === 'credentials') control.abort();
        return running;
      },
    });
    expect(await failureOf({ host, port }, context)).toMatchObject({ code: 'cancelled' });
  });

  it('with unavailable that names TLS where the certificate is not trusted', async () => {
    const error = await failureOn({ tls: selfSignedCertificate() }, { ssl: 'verify-full' });
    expect(error).toMatchObject({ code: 'unavailable', message: expect.stringContaining('TLS') });
  });

  it('with unavailable that names TLS where the server has none', async () => {
    const error = await failureOn({}, { ssl: 'verify-full' });
    expect(error).toMatchObject({ code: 'unavailable', message: expect.stringContaining('TLS') });
  });

  it.each([
    ['a web server', nonsense],
    ['bytes of no protocol', garbage],
  ])('with backend_error on %s', async (_what, start) => {
    const { host, port } = await serverOf(start());
    for (const ssl of ['disable', 'verify-full'])
      expect(await failureOf({ host, port, ssl })).toMatchObject({ code: 'backend_error' });
  });
});

describe('a connection by TLS', () => {
  it.each([
    ['trusts the certificates of ca', { ssl: 'verify-full' }],
    ['takes any certificate where it is only required', { ssl: 'require', ca: undefined }],
  ])('%s', async (_what, options) => {
    const certificate = selfSignedCertificate();
    const refuse = { code: '28P01', message: 'got as far as the password' };
    const error = await failureOn({ tls: certificate, refuse }, { ca: certificate.cert, ...options });
    expect(error).toMatchObject({ code: 'auth_failed' });
  });
});

describe('a call that is given up', () => {
  it.each(['disable', 'require'])('is cancelled at the server, with ssl: %s', async (ssl) => {
    const server = await serverOf(startWire(ssl === 'disable' ? {} : { tls: selfSignedCertificate() }));
    const control = new AbortController();
    const opening = failureOf(
      { endpoint: server.url, user: undefined, ssl },
      contextOf({ signal: control.signal }),
    );
    await server.asked;
    control.abort();
    expect(await opening).toMatchObject({ code: 'cancelled' });
    expect(await server.cancelled).toEqual({ ...BACKEND, isSecure: ssl === 'require' });
  });
});

describe('the options', () => {
  const issuesOf = (options: Readonly<Record<string, unknown>>): readonly string[] =>
    driver.options
      .safeParse(options)
      .error?.issues.map(({ path, message }) => `${path.join('.')} ${message}`) ?? [];

  it.each([
    [{ endpoint: 'postgres://ada@db.example:6432/books' }],
    [{ endpoint: 'postgresql://db.example', user: 'ada' }],
    [{ host: 'db.example', user: 'ada', password: 'x', database: 'books' }],
  ])('take %j', (options) => {
    expect(issuesOf(options)).toEqual([]);
  });

  it.each([
    [
      { endpoint: 'postgres://ada:pw@db.example' },
      'endpoint holds a password; leave it out and put it into password',
    ],
    [{ endpoint: 'postgres://ada@db.example?sslmode=disable' }, 'endpoint has no parameters'],
    [{ endpoint: 'https://ada@db.example' }, 'endpoint is a URL such as postgres://'],
    [{ endpoint: 'postgres://db.example' }, 'user is missing'],
    [{ endpoint: 'postgres://ada@db.example', host: 'other.example' }, 'host is given twice'],
    [{ user: 'ada' }, 'host is missing'],
    [{ host: 'h', user: 'ada', table: 'x"; DROP TABLE y; --' }, 'table is a letter or _'],
    [{ host: 'h', user: 'ada', hnsw: { m: 40 } }, 'hnsw.ef_construction is at least twice m'],
    [{ host: 'h', user: 'ada', pool_size: 6 }, 'pool_size '],
  ])('refuse %j', (options, expected) => {
    const issues = issuesOf(options);
    expect(issues).toHaveLength(1);
    expect(issues[0]).toContain(expected);
    expect(issues[0]).not.toContain(':pw');
  });
});
