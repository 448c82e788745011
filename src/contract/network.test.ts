import { inspect } from 'node:util';
import { afterEach, describe, expect, it } from 'vitest';
import { egressPolicy } from '../egress/addresses.ts';
import type { Resolve } from '../egress/dialer.ts';
import { network } from '../egress/network.ts';
import { ConnectorError } from '../errors/error.ts';
import {
  blackHole,
  closedPort,
  garbage,
  selfSigned,
  statusServer,
  type FaultyServer,
} from '../testing/faulty-servers.fixture.ts';
import { openContext } from '../testing/open-context.ts';
import type { OpenContext } from './driver.ts';
import { reach, targetOf } from './network.ts';

const servers: FaultyServer[] = [];
afterEach(async () => {
  for (const server of servers.splice(0)) await server.close();
});
async function using<S extends FaultyServer>(opening: Promise<S>): Promise<S> {
  const server = await opening;
  servers.push(server);
  return server;
}

/** A context that notes the stages as they end. */
function staged(own: Partial<OpenContext> = {}) {
  const stages: string[] = [];
  const context = openContext({
    folder: 'unused',
    stage: async (name, step) => {
      try {
        const answer = await step();
        stages.push(`${name} ok`);
        return answer;
      } catch (error) {
        stages.push(`${name} ${error instanceof ConnectorError ? error.code : String(error)}`);
        throw error;
      }
    },
    ...own,
  });
  return { context, stages };
}

describe('targetOf', () => {
  it.each([
    ['http://db.example', { host: 'db.example', port: 80 }],
    ['https://db.example', { host: 'db.example', port: 443, tls: { ca: undefined } }],
    ['https://db.example/base/path?x=1', { host: 'db.example', port: 443, tls: { ca: undefined } }],
    ['http://db.example:6333/', { host: 'db.example', port: 6333 }],
    ['https://user:word@db.example:80', { host: 'db.example', port: 80, tls: { ca: undefined } }],
    ['http://[::1]:8000', { host: '::1', port: 8000 }],
    ['https://[2606:4700::1111]', { host: '2606:4700::1111', port: 443, tls: { ca: undefined } }],
    ['http://127.1:1', { host: '127.0.0.1', port: 1 }],
    ['http://BÜCHER.example', { host: 'xn--bcher-kva.example', port: 80 }],
  ])('reads %s', (url, target) => {
    expect(targetOf(url)).toEqual(target);
    expect('tls' in targetOf(url)).toBe('tls' in target);
  });

  it('passes the certificates on', () => {
    expect(targetOf('https://db.example', 'PEM')).toMatchObject({ tls: { ca: 'PEM' } });
    expect(targetOf('http://db.example', 'PEM')).not.toHaveProperty('tls');
  });
});

describe('reach', () => {
  it('answers the addresses of a backend that takes connections, and hangs up', async () => {
    const server = await using(statusServer(200));
    const { context, stages } = staged();
    expect(await reach(context, targetOf(server.url))).toEqual(['127.0.0.1']);
    expect(stages).toEqual(['address ok', 'connect ok']);
    await server.connected();
    await server.idle();
  });

  it('shakes hands by TLS where the certificate is trusted', async () => {
    const server = await using(selfSigned());
    const { context, stages } = staged();
    await reach(context, targetOf(server.url, server.certificate));
    expect(await reach(context, targetOf(`https://localhost:${server.port}`, server.certificate))).toContain(
      '127.0.0.1',
    );
    expect(stages).toEqual(['address ok', 'connect ok', 'address ok', 'connect ok']);
    await server.idle();
  });

  it('names TLS where the certificate vouches for itself', async () => {
    const server = await using(selfSigned());
    const { context, stages } = staged();
    await expect(reach(context, targetOf(server.url))).rejects.toMatchObject({
      code: 'unavailable',
      message: expect.stringContaining('TLS'),
      details: { backend_code: 'DEPTH_ZERO_SELF_SIGNED_CERT' },
    });
    expect(stages).toEqual(['address ok', 'connect unavailable']);
    await server.idle();
  });

  it('names TLS where the port does not speak it', async () => {
    for (const opening of [statusServer(200), garbage()]) {
      const { host, port } = await using(opening);
      const attempt = reach(staged().context, { host, port, tls: {} });
      await expect(attempt).rejects.toMatchObject({
        code: 'unavailable',
        message: expect.stringContaining('TLS'),
      });
    }
  });

  it('finds nobody at a closed port, by TLS or without', async () => {
    const { host, port } = await closedPort();
    for (const target of [
      { host, port },
      { host, port, tls: {} },
    ]) {
      const { context, stages } = staged();
      await expect(reach(context, target)).rejects.toMatchObject({
        code: 'unavailable',
        details: { backend_code: 'ECONNREFUSED' },
      });
      expect(stages).toEqual(['address ok', 'connect unavailable']);
    }
  });

  it('ends with the reason of its signal while a handshake is never answered, and hangs up', async () => {
    const { host, port, connected, idle } = await using(blackHole());
    const attempt = new AbortController();
    const { context, stages } = staged({ signal: attempt.signal });
    const reached = reach(context, { host, port, tls: {} });
    await connected();
    attempt.abort(new ConnectorError('timeout', 'the attempt took too long'));
    await expect(reached).rejects.toMatchObject({ code: 'timeout', message: 'the attempt took too long' });
    expect(stages).toEqual(['address ok', 'connect timeout']);
    await idle();
  });

  it('ends with its signal while a name is looked up for ever', async () => {
    const silent: Resolve = () => {};
    const attempt = new AbortController();
    const { context, stages } = staged({
      signal: attempt.signal,
      network: network(egressPolicy({ allowPrivate: true }), silent),
    });
    const reached = reach(context, { host: 'db.example', port: 80 });
    attempt.abort();
    await expect(reached).rejects.toMatchObject({ code: 'cancelled' });
    expect(stages).toEqual(['address cancelled']);
  });

  it('does not connect for a caller who has given up before', async () => {
    const server = await using(statusServer(200));
    const { context } = staged({ signal: AbortSignal.abort() });
    await expect(reach(context, targetOf(server.url))).rejects.toMatchObject({ code: 'cancelled' });
    expect(server.connections()).toBe(0);
  });

  it('stops at the address where that is not allowed, and connects to nothing', async () => {
    const server = await using(statusServer(200));
    const { context, stages } = staged({ network: network(egressPolicy({ allowPrivate: false })) });
    await expect(reach(context, targetOf(server.url))).rejects.toMatchObject({ code: 'egress_denied' });
    expect(stages).toEqual(['address egress_denied']);
    expect(server.connections()).toBe(0);
  });

  it('stops at the connection where the name has moved to an address that is not allowed', async () => {
    const answers = ['93.184.216.34', '127.0.0.1'];
    const moving: Resolve = (_host, _options, done) =>
      done(null, [{ address: answers.shift() ?? '', family: 4 }]);
    const server = await using(statusServer(200));
    const { context, stages } = staged({ network: network(egressPolicy({ allowPrivate: false }), moving) });
    const attempt = reach(context, { host: 'db.example', port: server.port });
    await expect(attempt).rejects.toMatchObject({ code: 'egress_denied' });
    expect(stages).toEqual(['address ok', 'connect egress_denied']);
    expect(server.connections()).toBe(0);
  });

  it('says nothing of the user and the password in a URL', async () => {
    const { port } = await closedPort();
    const target = targetOf(`http://user:hunter2@127.0.0.1:${port}`);
    const error: unknown = await reach(staged().context, target).catch((failure: unknown) => failure);
    expect(inspect(error, { depth: 9, showHidden: true })).not.toContain('hunter2');
  });
});
