import { createHash, randomUUID } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { describe, expect, it } from 'vitest';
import { NEVER } from '../../../policies/pipeline.ts';
import { statusServer } from '../../../testing/faulty-servers.fixture.ts';
import { challengesIn } from './challenge.ts';
import { bytes, describeLive, failureOf, liveBench, openAt, textOf } from './clients.fixture.ts';
import { DigestChallenge } from './digest.ts';
import { startWebdav, USER } from './webdav.fixture.ts';

describe('an answer to a digest challenge', () => {
  // The example of RFC 7616, section 3.9.1, as the tests of other clients have it as well.
  const user = { username: 'Mufasa', password: 'Circle of Life' };
  const request = { method: 'GET', target: '/dir/index.html' };
  const cnonce = 'f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ';
  const common =
    'realm="http-auth@example.org", qop="auth, auth-int", nonce="7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v", opaque="FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS"';
  const sha = `Digest ${common}, algorithm=SHA-256`;
  const md5 = `Digest ${common}, algorithm=MD5`;

  it('is that of RFC 7616, and the best hash that is offered', () => {
    const answer = (header: string) =>
      DigestChallenge.among(challengesIn(header))?.answer(user, request, cnonce);
    expect(answer(md5)).toContain('response="8ca523f5e9506fed4657c9700eebdbec"');
    const best = answer(`${md5}, Basic realm="x", ${sha}`);
    expect(best).toContain('response="753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"');
    expect(best).toMatch(
      /^Digest username="Mufasa", realm="http-auth@example.org", .*, nc=00000001, cnonce=/,
    );
  });

  it('counts the uses of a nonce', () => {
    const challenge = DigestChallenge.among(challengesIn(md5));
    expect(challenge?.answer(user, request)).toContain('nc=00000001');
    expect(challenge?.answer(user, request)).toContain('nc=00000002');
  });

  it('is that of RFC 2617 without qop, and of a session', () => {
    const old = DigestChallenge.among(challengesIn('Digest realm="r", nonce="n"'));
    const md5 = (text: string) => createHash('md5').update(text).digest('hex');
    const secret = md5('Mufasa:r:Circle of Life');
    const action = md5('GET:/dir/index.html');
    expect(old?.answer(user, request)).toBe(
      `Digest username="Mufasa", realm="r", nonce="n", uri="/dir/index.html", response="${md5(`${secret}:n:${action}`)}"`,
    );
    const session = DigestChallenge.among(
      challengesIn('digest realm=r, nonce=n, qop=auth, algorithm=MD5-sess'),
    );
    expect(session?.answer(user, request, 'c')).toContain(
      `response="${md5(`${md5(`${secret}:n:c`)}:n:00000001:c:auth:${action}`)}"`,
    );
  });

  it('is not given where the hash or the quality is unknown', () => {
    const unknown = [
      'Digest realm="r", nonce="n", algorithm=SHA-1024',
      'Digest realm="r", nonce="n", qop="auth-int"',
    ];
    for (const header of [...unknown, 'Digest realm="r"', 'Negotiate', ''])
      expect(DigestChallenge.among(challengesIn(header))).toBeUndefined();
  });

  it('names users beyond ASCII, and quotes what needs it', () => {
    const challenge = DigestChallenge.among(challengesIn(String.raw`Digest realm="a \"b\"", nonce="n"`));
    expect(challenge?.answer({ ...user, username: "jürgen'" }, request)).toMatch(
      /^Digest username\*=UTF-8''j%C3%BCrgen%27, realm="a \\"b\\"", /,
    );
  });
});

describeLive('credentials', () => {
  const { front } = liveBench();
  const secret = { ...USER };

  /** Has the front ask for a digest of the user's password, with a nonce that is good for so many requests. */
  function askForDigest(uses: number, { staleTold = true } = {}) {
    const left = new Map<string, number>();
    const refusals: string[] = [];
    front().intercept((request: IncomingMessage, response: ServerResponse) => {
      const sent = request.headers.authorization ?? '';
      const field = (name: string) => new RegExp(`\\b${name}="?([^",]*)`).exec(sent)?.[1] ?? '';
      const hash = (text: string) => createHash('sha256').update(text).digest('hex');
      const proof = hash(
        [
          hash(`${USER.username}:realm:${USER.password}`),
          ...[field('nonce'), field('nc'), field('cnonce'), 'auth'],
          hash(`${request.method}:${request.url}`),
        ].join(':'),
      );
      const isRight = field('response') === proof && field('uri') === request.url;
      const usesLeft = left.get(field('nonce')) ?? 0;
      if (isRight && usesLeft > 0) {
        left.set(field('nonce'), usesLeft - 1);
        return false;
      }
      const nonce = randomUUID();
      left.set(nonce, uses);
      refusals.push(sent);
      request.resume();
      const stale = isRight && staleTold ? ', stale=true' : '';
      const challenge = `Digest realm="realm", qop="auth", algorithm=SHA-256, nonce="${nonce}"${stale}`;
      response.writeHead(401, { 'www-authenticate': [challenge, 'Basic realm="realm"'] }).end();
      return true;
    });
    return refusals;
  }

  for (const staleTold of [true, false])
    it(`are a digest where it is offered, a new one when its time is over, ${staleTold ? 'told' : 'or not told'} so`, async () => {
      const refusals = askForDigest(3, { staleTold });
      const client = await openAt({ endpoint: front().url, ...secret });
      for (let i = 0; i < 4; i += 1)
        await client.write(`digest/${staleTold}`, bytes(`content ${i}`), {}, NEVER);
      expect(await textOf(client, `digest/${staleTold}`)).toBe('content 3');
      expect(refusals.length).toBeGreaterThan(4);
      expect(refusals.every((sent) => sent === '' || sent.startsWith('Digest '))).toBe(true);
    });

  it('are proven again by many calls at once', async () => {
    askForDigest(2);
    const client = await openAt({ endpoint: front().url, ...secret });
    await client.write('digest/many', bytes('many'), {}, NEVER);
    askForDigest(1000);
    const texts = await Promise.all(Array.from({ length: 10 }, () => textOf(client, 'digest/many')));
    expect(new Set(texts)).toEqual(new Set(['many']));
  });

  it('are tried once where the password is wrong', async () => {
    const refusals = askForDigest(1000);
    const opening = openAt({ endpoint: front().url, ...secret, password: 'wrong-1f2e' });
    expect(await failureOf(opening, 'wrong-1f2e')).toMatchObject({ code: 'auth_failed' });
    expect(refusals).toEqual(['', expect.stringMatching(/^Digest /)]);
  });

  it('are not given away by a server that asks for a digest first', async () => {
    askForDigest(1000);
    const client = await openAt({ endpoint: front().url, ...secret });
    front().intercept((request, response) => {
      request.resume();
      response.writeHead(401, { 'www-authenticate': 'Basic realm="realm"' }).end();
      return true;
    });
    front().requests.length = 0;
    expect(await failureOf(client.stat('a', NEVER))).toMatchObject({ code: 'auth_failed' });
    expect(front().requests.map(({ headers }) => headers.authorization)).toEqual([
      expect.stringMatching(/^Digest /),
    ]);
  });

  it('are basic where the server offers nothing else, and not sent before it has asked', async () => {
    const server = await startWebdav();
    try {
      const client = await openAt({ endpoint: server.url, ...secret });
      await client.write('basic', bytes('basic'), {}, NEVER);
      expect(await textOf(client, 'basic')).toBe('basic');
      const wrong = openAt({ endpoint: server.url, ...secret, password: 'wrong-1f2e' });
      expect(await failureOf(wrong, 'wrong-1f2e')).toMatchObject({ code: 'auth_failed' });
      expect(await failureOf(openAt({ endpoint: server.url }))).toMatchObject({ code: 'auth_failed' });
    } finally {
      await server.close();
    }
  });

  it('are asked for at the start where anybody may read', async () => {
    const basic = `Basic ${Buffer.from(`${USER.username}:${USER.password}`).toString('base64')}`;
    front().intercept((request, response) => {
      const isAllowed = request.method === 'PROPFIND' || request.headers.authorization === basic;
      if (!isAllowed) {
        request.resume();
        response.writeHead(401, { 'www-authenticate': 'Basic realm="realm"' }).end();
      }
      return !isAllowed;
    });
    const client = await openAt({ endpoint: front().url, ...secret });
    const stream = async function* () {
      for (let i = 0; i < 10; i += 1) yield Buffer.alloc(100_000, i);
    };
    expect(await client.write('readable', stream(), {}, NEVER)).toMatchObject({ size: 1_000_000 });
    const wrong = openAt({ endpoint: front().url, ...secret, password: 'wrong-1f2e' });
    expect(await failureOf(wrong, 'wrong-1f2e')).toMatchObject({ code: 'auth_failed' });
  });

  it('are a bearer token with every request', async () => {
    front().intercept((request, response) => {
      const isAllowed = request.headers.authorization === 'Bearer token-77aa';
      if (!isAllowed) {
        request.resume();
        response.writeHead(401, { 'www-authenticate': 'Bearer' }).end();
      }
      return !isAllowed;
    });
    const client = await openAt({ endpoint: front().url, token: 'token-77aa' });
    await client.write('bearer', bytes('bearer'), {}, NEVER);
    const wrong = openAt({ endpoint: front().url, token: 'token-88bb' });
    expect(await failureOf(wrong, 'token-88bb')).toMatchObject({ code: 'auth_failed' });
  });
});

it('are in no error of a server that says them back', async () => {
  const basic = Buffer.from(`${USER.username}:${USER.password}`).toString('base64');
  const server = await statusServer(403, `no ${USER.password} ${basic}`, { 'x-echo': basic });
  try {
    expect(await failureOf(openAt({ endpoint: server.url, ...USER }))).toMatchObject({
      code: 'permission_denied',
    });
  } finally {
    await server.close();
  }
});
