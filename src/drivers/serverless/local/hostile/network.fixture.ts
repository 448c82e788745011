import { denied, does, type Program, type Programs } from './program.fixture.ts';

const node = (module: string, call: string) =>
  `return await new Promise((ok, no) => import('node:${module}').then((m) => ${call}))`;

/** Networks, for a function that has none. */
export const NETWORK_PROGRAMS: Programs = {
  ...denied({
    'fetches from this machine': 'return (await fetch(`http://127.0.0.1:${port}/`)).status',
    'fetches from localhost': 'return (await fetch(`http://localhost:${port}/`)).status',
    'fetches over IPv6': 'return (await fetch(`http://[::1]:${port}/`)).status',
    'fetches from a number': 'return (await fetch(`http://2130706433:${port}/`)).status',
    'fetches from a private address': "return (await fetch('http://10.0.0.1/')).status",
    'fetches the metadata of a cloud': "return (await fetch('http://169.254.169.254/latest/')).status",
    'fetches from the internet': "return (await fetch('http://example.com/')).status",
    'fetches through a proxy':
      "const client = Deno.createHttpClient({ proxy: { url: `http://127.0.0.1:${port}` } }); return (await fetch('http://example.com/', { client })).status",
    'fetches through a Unix socket':
      "const client = Deno.createHttpClient({ proxy: { transport: 'unix', path: '/run/docker.sock' } }); return (await fetch('http://example.com/', { client })).status",
    'fetches through the socket of a hypervisor':
      "const client = Deno.createHttpClient({ proxy: { transport: 'vsock', cid: 2, port: 1024 } }); return (await fetch('http://example.com/', { client })).status",
    'connects by TCP': 'return (await Deno.connect({ port })).localAddr',
    'connects by TLS': "return await Deno.connectTls({ hostname: '127.0.0.1', port })",
    'connects through node:net': node(
      'net',
      "m.connect(port, '127.0.0.1').on('connect', () => ok('open')).on('error', no)",
    ),
    'connects through node:tls': node(
      'tls',
      "m.connect(port, '127.0.0.1').on('secureConnect', () => ok('open')).on('error', no)",
    ),
    'connects through node:http2': node(
      'http2',
      "m.connect(`http://127.0.0.1:${port}`).on('connect', () => ok('open')).on('error', no)",
    ),
    'connects to a Unix socket': "return await Deno.connect({ transport: 'unix', path: '/run/docker.sock' })",
    'connects to a Unix socket through node:net': node(
      'net',
      "m.connect('/run/docker.sock').on('connect', () => ok('open')).on('error', no)",
    ),
    'connects to a Unix socket without a file': node(
      'net',
      "m.connect('\\0abstract').on('connect', () => ok('open')).on('error', no)",
    ),
    'opens a WebSocket':
      'return await new Promise((ok, no) => { const w = new WebSocket(`ws://127.0.0.1:${port}`); w.onopen = ok; w.onerror = (e) => no(e.error ?? new Error(e.message)); })',
    'listens on a port': 'return Deno.listen({ port: 0 }).addr',
    'listens on a port through node:net': node(
      'net',
      "m.createServer().on('error', no).listen(0, () => ok('open'))",
    ),
    'listens on a Unix socket': 'return Deno.listen({ transport: "unix", path: `${outside}/x` }).addr',
    'serves HTTP': "return await Deno.serve({ port: 0 }, () => new Response('')).finished",
    'sends a datagram': node(
      'dgram',
      "m.createSocket('udp4').on('error', no).send('x', port, '127.0.0.1', (e) => (e ? no(e) : ok('sent')))",
    ),
    'asks for an address': "return await Deno.resolveDns('example.com', 'A')",
    'asks a name server of its own for an address':
      "return await Deno.resolveDns('example.com', 'A', { nameServer: { ipAddr: '127.0.0.1', port } })",
  }),
  ...denied(
    {
      'calls through node:http': node('http', "m.get({ port }, (r) => ok(r.statusCode)).on('error', no)"),
      'looks a name up': "return await (await import('node:dns/promises')).lookup(host)",
    },
    /^failed \w+: .*EPERM/,
  ),
  'waits for events of a server': [
    does(
      'return await new Promise((ok, no) => { const e = new EventSource(`http://127.0.0.1:${port}`); e.onopen = () => ok("open"); e.onerror = () => no(new Error("refused")); })',
    ),
    'failed Error: refused',
  ],
};

const DENIED = /^failed NotCapable: Requires net access to/;
/** Each spelling of an address of this machine or of a private network, as a URL has it. */
const ADDRESSES: Readonly<Record<string, string>> = {
  'this machine': '127.0.0.1',
  'another address of this machine': '127.9.9.9',
  'this machine, with zeros left out': '127.1',
  'this machine, in octal': '0177.0.0.1',
  'this machine, in hexadecimal': '0x7f.0.0.1',
  'this machine, as one number': '2130706433',
  'this machine, as one number in hexadecimal': '0x7f000001',
  'this machine, as one number in octal': '017700000001',
  'this machine, in other digits': '①②⑦.⓪.⓪.①',
  'this machine, with a dot at the end': '127.0.0.1.',
  'any address': '0.0.0.0',
  'any address, as one number': '0',
  'this machine over IPv6': '[::1]',
  'any address of IPv6': '[::]',
  'this machine, as IPv6': '[::ffff:127.0.0.1]',
  'this machine, as IPv6 in hexadecimal': '[::ffff:7f00:1]',
  'this machine, as IPv6 in full': '[0:0:0:0:0:ffff:7f00:0001]',
  'a private network': '10.0.0.1',
  'another private network': '172.16.0.1',
  'a third private network': '192.168.0.1',
  'a shared address space': '100.64.0.1',
  'the metadata of a cloud': '169.254.169.254',
  'the metadata of a cloud, as one number': '2852039166',
  'the metadata of a cloud, in hexadecimal': '0xa9fea9fe',
  'the metadata of a cloud, as IPv6': '[::ffff:a9fe:a9fe]',
  'the metadata of a cloud over IPv6': '[fd00:ec2::254]',
};

function reaching(): Programs {
  const programs = Object.entries(ADDRESSES).flatMap(([what, address]): [string, Program][] => [
    [`fetches from ${what}`, [does(`return (await fetch(\`http://${address}:\${port}/\`)).status`), DENIED]],
    [
      `connects to ${what}`,
      [
        does(
          `return (await Deno.connect({ hostname: new URL('http://${address}/').hostname.replace(/[[\\]]/g, ''), port })).remoteAddr`,
        ),
        DENIED,
      ],
    ],
  ]);
  return Object.fromEntries(programs);
}

/** This machine and private networks, for a function that an administrator gave the network. */
export const OPEN_NETWORK_PROGRAMS: Programs = {
  ...reaching(),
  ...denied(
    {
      'connects to a name of this machine':
        "return (await Deno.connect({ hostname: 'localhost', port })).remoteAddr",
      'connects to a name that leads to a private address':
        'return (await Deno.connect({ hostname: host, port })).remoteAddr',
      'connects to a name that it resolves by itself': node(
        'net',
        "m.connect({ host: 'example.com', port, lookup: (_name, { all }, done) => (all ? done(null, [{ address: '127.0.0.1', family: 4 }]) : done(null, '127.0.0.1', 4)) }).on('connect', () => ok('open')).on('error', no)",
      ),
      'calls a name that it resolves by itself': node(
        'http',
        "m.get({ host: 'example.com', port, lookup: (_name, { all }, done) => (all ? done(null, [{ address: '127.0.0.1', family: 4 }]) : done(null, '127.0.0.1', 4)) }, (r) => ok(r.statusCode)).on('error', no)",
      ),
      'connects through node:net': node(
        'net',
        "m.connect(port, '127.1').on('connect', () => ok('open')).on('error', no)",
      ),
      'fetches through a proxy on this machine':
        "const client = Deno.createHttpClient({ proxy: { url: `http://127.0.0.1:${port}` } }); return (await fetch('http://203.0.114.1/', { client })).status",
      'asks a name server on this machine':
        "return await Deno.resolveDns('example.com', 'A', { nameServer: { ipAddr: '127.0.0.1', port } })",
      'opens a WebSocket to this machine':
        'return await new Promise((ok, no) => { const w = new WebSocket(`ws://127.1:${port}`); w.onopen = ok; w.onerror = (e) => no(e.error ?? new Error(e.message)); })',
      'listens on a port': 'return Deno.listen({ port: 0 }).addr',
      'sends a datagram': node(
        'dgram',
        "m.createSocket('udp4').on('error', no).send('x', port, '127.0.0.1', (e) => (e ? no(e) : ok('sent')))",
      ),
    },
    DENIED,
  ),
  ...denied(
    {
      'fetches from a name of this machine': 'await fetch(`http://localhost:${port}/`)',
      'fetches from a name that leads to a private address': 'await fetch(`http://${host}:${port}/`)',
    },
    // The name was resolved, and every address that it has is denied.
    /^failed TypeError: fetch failed/,
  ),
  'connects to a Unix socket': [
    does("return await Deno.connect({ transport: 'unix', path: '/run/docker.sock' })"),
    /^failed NotCapable: Requires read access/,
  ],
};
