import { mkdirSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { ServerlessClient } from '../../../driver.ts';
import { openLocal, runOnce, scratchFolder } from './local.fixture.ts';

/**
 * Programs that try to reach something outside. Each is a body of a function that answers what it got hold of; the
 * right outcome is the failure that is named beside it.
 */
const PROGRAMS: Readonly<Record<string, readonly [body: string, failure: RegExp]>> = {
  'reads a file of the host': ['return Deno.readTextFileSync(secret)', /NotCapable/],
  'reads a file through node:fs': [
    "return (await import('node:fs')).readFileSync(secret, 'utf8')",
    /NotCapable/,
  ],
  'reads a file through a stream': [
    "return await new Promise((ok, no) => import('node:fs').then((fs) => fs.createReadStream(secret).on('data', ok).on('error', no)))",
    /NotCapable/,
  ],
  'reads the function of a rival tenant': ['return Deno.readTextFileSync(rival)', /NotCapable/],
  'lists the root of the host': ["return [...Deno.readDirSync('/')].length", /NotCapable/],
  'asks whether a file exists': ['return Deno.statSync(secret).size', /NotCapable/],
  'resolves a path': ['return Deno.realPathSync(secret)', /NotCapable/],
  'reads the environment of its parent': [
    'return Deno.readTextFileSync(`/proc/${Deno.ppid}/environ`)',
    /NotCapable/,
  ],
  'reads its own environment': ["return Deno.readTextFileSync('/proc/self/environ')", /NotCapable/],
  'opens its own descriptors': ["return Deno.openSync('/proc/self/fd/0').readable", /NotCapable/],
  'fetches a file': ['return await (await fetch(`file://${secret}`)).text()', /NotCapable/],
  'imports a file of the host': ['return Object.keys(await import(`file://${secret}.mjs`))', /read access/],
  'requires a file of the host': [
    "return (await import('node:module')).createRequire('/')(`${secret}.cjs`)",
    /NotCapable/,
  ],
  'imports JSON of the host': [
    "return (await import(`file://${secret}.json`, { with: { type: 'json' } })).default",
    /read access/,
  ],
  'imports a module from the network': [
    'return await import(`http://127.0.0.1:${port}/x.js`)',
    /import access/,
  ],
  'imports a package of npm': [
    "const name = 'npm:left-pad'; return await import(name)",
    /--no-npm|--no-remote/,
  ],
  'imports a package of jsr': [
    "const name = 'jsr:@std/assert'; return await import(name)",
    /--no-npm|--no-remote/,
  ],
  'writes a file': ["Deno.writeTextFileSync('/srv/written-by-a-function', 'x')", /NotCapable/],
  'writes through node:fs': [
    "(await import('node:fs')).writeFileSync('/srv/written-by-a-function', 'x')",
    /NotCapable/,
  ],
  'makes a temporary file': ['return Deno.makeTempFileSync()', /NotCapable/],
  'makes a link': ["Deno.symlinkSync(secret, '/srv/linked-by-a-function')", /NotCapable/],
  'removes a file': ['Deno.removeSync(secret)', /NotCapable/],
  'opens a database file': [
    "return new (await import('node:sqlite')).DatabaseSync('/srv/by-a-function.db')",
    /NotCapable/,
  ],
  'writes a heap snapshot': [
    "return (await import('node:v8')).writeHeapSnapshot('/srv/by-a-function.heap')",
    /NotCapable/,
  ],
  'changes its folder': ["Deno.chdir('/srv')", /NotCapable/],
  'keeps things in localStorage': ["localStorage.setItem('a', 'b')", /NotADirectory/],
  'keeps things in caches': ["await caches.open('shared')", /cache storage/],
  'keeps things in KV': ['await Deno.openKv()', /not a function/],
  'starts a process': ["return new Deno.Command('/bin/true').outputSync().code", /NotCapable/],
  'starts a process through node': [
    "return await new Promise((ok, no) => import('node:child_process').then((c) => c.spawn('/usr/bin/id').on('error', no).on('exit', ok)))",
    /NotCapable/,
  ],
  'signals its parent': ["Deno.kill(Deno.ppid, 'SIGTERM')", /NotCapable/],
  'signals its parent through node': [
    "const { default: p } = await import('node:process'); return p.kill(p.ppid, 0)",
    /NotCapable/,
  ],
  'opens the inspector of its parent': [
    "const { default: p } = await import('node:process'); return p._debugProcess(p.ppid)",
    /NotCapable/,
  ],
  'opens an inspector': ["const i = await import('node:inspector'); i.open(0); return i.url()", /NotCapable/],
  'attaches to itself': [
    "const s = new (await import('node:inspector')).Session(); s.connect(); return 'attached'",
    /NotCapable/,
  ],
  'loads a native library': ["return Deno.dlopen('libc.so.6', {})", /NotCapable/],
  'loads a native addon': ["process.dlopen({ exports: {} }, '/srv/addon.node')", /NotCapable/],
  'asks for the name of the host': ['return Deno.hostname()', /NotCapable/],
  'asks for the network interfaces': ['return Deno.networkInterfaces()', /NotCapable/],
  'asks who runs it': ["return (await import('node:os')).userInfo()", /NotCapable/],
  'fetches from this machine': ['return (await fetch(`http://127.0.0.1:${port}/`)).status', /NotCapable/],
  'fetches from localhost': ['return (await fetch(`http://localhost:${port}/`)).status', /NotCapable/],
  'fetches over IPv6': ['return (await fetch(`http://[::1]:${port}/`)).status', /NotCapable/],
  'fetches from a number': ['return (await fetch(`http://2130706433:${port}/`)).status', /NotCapable/],
  'fetches from a private address': ["return (await fetch('http://10.0.0.1/')).status", /NotCapable/],
  'fetches the metadata of a cloud': [
    "return (await fetch('http://169.254.169.254/latest/')).status",
    /NotCapable/,
  ],
  'fetches from the internet': ["return (await fetch('http://example.com/')).status", /NotCapable/],
  'connects by TCP': ['return (await Deno.connect({ port })).localAddr', /NotCapable/],
  'connects through node:net': [
    "return await new Promise((ok, no) => import('node:net').then((n) => n.connect(port, '127.0.0.1').on('connect', () => ok('open')).on('error', no)))",
    /NotCapable/,
  ],
  'calls through node:http': [
    "return await new Promise((ok, no) => import('node:http').then((h) => h.get({ port }, (r) => ok(r.statusCode)).on('error', no)))",
    /EPERM/,
  ],
  'opens a WebSocket': [
    'return await new Promise((ok, no) => { const w = new WebSocket(`ws://127.0.0.1:${port}`); w.onopen = ok; w.onerror = (e) => no(e.error ?? new Error(e.message)); })',
    /NotCapable/,
  ],
  'listens on a port': ['return Deno.listen({ port: 0 }).addr', /NotCapable/],
  'serves HTTP': ["return await Deno.serve({ port: 0 }, () => new Response('')).finished", /NotCapable/],
  'sends a datagram': [
    "return await new Promise((ok, no) => import('node:dgram').then((d) => d.createSocket('udp4').on('error', no).send('x', port, '127.0.0.1', (e) => (e ? no(e) : ok('sent')))))",
    /NotCapable/,
  ],
  'opens a Unix socket': [
    "return await Deno.connect({ transport: 'unix', path: '/srv/x.sock' })",
    /NotCapable/,
  ],
  'resolves a name': ["return await Deno.resolveDns('example.com', 'A')", /NotCapable/],
  'gives a worker all permissions': [
    "return await new Promise((ok, no) => { const w = new Worker(URL.createObjectURL(new Blob(['postMessage(1)'])), { type: 'module', deno: { permissions: 'inherit' } }); w.onmessage = ok; w.onerror = no; })",
    /ExitError/,
  ],
  'reads a file in a worker': [
    "const code = `try { postMessage(Deno.readTextFileSync('${secret}')) } catch (e) { postMessage(e.name) }`; const worker = new Worker(URL.createObjectURL(new Blob([code])), { type: 'module' }); throw new Error(await new Promise((ok) => (worker.onmessage = (e) => ok(e.data))))",
    /^Error NotCapable$/,
  ],
  'runs a file of the host as a worker': [
    "return await new Promise((ok, no) => { const w = new Worker(`file://${secret}.mjs`, { type: 'module' }); w.onmessage = ok; w.onerror = (e) => { e.preventDefault(); no(new Error(e.message)); }; })",
    /read access/,
  ],
};

const CANARY = 'canary-7f3a';
const scratch = scratchFolder();
let client: ServerlessClient;
let server: Server;
let requests = 0;
let event: { readonly secret: string; readonly rival: string; readonly port: number };

beforeAll(async () => {
  process.env['HOST_CANARY'] = CANARY;
  server = createServer((_request, response) => {
    requests++;
    response.end(CANARY);
  });
  await new Promise<void>((listening) => server.listen(0, listening));
  const secret = join(scratch(), 'secret');
  for (const end of ['', '.mjs', '.cjs', '.json']) writeFileSync(secret + end, JSON.stringify(CANARY));
  const rivalFolder = join(scratch(), 'rival', 'c9', 'functions');
  mkdirSync(rivalFolder, { recursive: true });
  const rival = join(rivalFolder, 'own.ts');
  writeFileSync(rival, `export const handler = () => '${CANARY}';`);
  // The server's type is of a listening TCP server here.
  event = { secret, rival, port: (server.address() as AddressInfo).port };
  client = await openLocal(scratch(), { options: { env: { OWN: 'yes' } } });
});
afterAll(async () => {
  delete process.env['HOST_CANARY'];
  await client.close();
  server.close();
});

function program(body: string): string {
  return `export const handler = async ({ secret, rival, port }) => { ${body} };`;
}

describe('a function that', () => {
  for (const [what, [body, failure]] of Object.entries(PROGRAMS)) {
    it(`${what} is denied`, async () => {
      const outcome = await runOnce(client, program(body), { event });
      expect(JSON.stringify(outcome)).not.toContain(CANARY);
      expect(outcome.status).toBe('failed');
      expect(`${outcome.error?.name} ${outcome.error?.message}`).toMatch(failure);
      expect(requests).toBe(0);
    });
  }

  it('asks for more permissions is given none', async () => {
    const body =
      "return [(await Deno.permissions.request({ name: 'read' })).state, (await Deno.permissions.query({ name: 'net' })).state, prompt('?')]";
    expect((await runOnce(client, program(body), { event })).result).toEqual(['denied', 'denied', null]);
  });

  it("reads the environment sees its own variables and none of the host's", async () => {
    const body =
      'return [Deno.env.toObject(), { ...process.env }, process.env.HOST_CANARY ?? null, Deno.env.get("PATH") ?? null]';
    const { result } = await runOnce(client, program(body), { event });
    expect(result).toEqual([{ OWN: 'yes' }, { OWN: 'yes' }, null, null]);
  });

  it('looks at its arguments and folder finds nothing of the host', async () => {
    const { result } = await runOnce(client, program('return [Deno.args, Deno.cwd(), process.argv.length]'), {
      event,
    });
    expect(result).toEqual([[], '/', 2]);
  });

  it('is imported by another function of the connector is not found', async () => {
    const outside = runOnce(client, "import './own.ts'; export const handler = () => 1;");
    await expect(outside).rejects.toMatchObject({ code: 'invalid_argument' });
  });
});

describe('a function that an administrator gave the network', () => {
  const TARGETS: Readonly<Record<string, string>> = {
    'an address of this machine': 'http://127.0.0.1:${port}/',
    'a name of this machine': 'http://localhost:${port}/',
    'another address of this machine': 'http://127.9.9.9:${port}/',
    'the address of any machine': 'http://0.0.0.0:${port}/',
    'a number for an address': 'http://2130706433:${port}/',
    'an IPv4 address written as IPv6': 'http://[::ffff:127.0.0.1]:${port}/',
    'this machine over IPv6': 'http://[::1]:${port}/',
    'a private network': 'http://10.0.0.1/',
    'another private network': 'http://192.168.0.1/',
    'the metadata of a cloud': 'http://169.254.169.254/',
    'a shared address space': 'http://100.64.0.1/',
  };
  let open: ServerlessClient;
  beforeAll(async () => {
    open = await openLocal(scratch(), { connectorId: 'open', options: { allow_net: true } });
  });
  afterAll(() => open.close());

  for (const [what, url] of Object.entries(TARGETS)) {
    it(`does not reach ${what}`, async () => {
      const outcome = await runOnce(open, program(`return await (await fetch(\`${url}\`)).text()`), {
        event,
      });
      expect(outcome.status).toBe('failed');
      expect(requests).toBe(0);
    });
  }

  it.each(['localhost', '127.0.0.1', '::1'])(
    'does not connect to %s by TCP, whatever the name resolves to',
    async (hostname) => {
      const body = `return (await Deno.connect({ hostname: '${hostname}', port })).remoteAddr`;
      const outcome = await runOnce(open, program(body), { event });
      expect(outcome).toMatchObject({ status: 'failed', error: { name: 'NotCapable' } });
    },
  );
});
