import { answering, denied, does, type Programs } from './program.fixture.ts';

const ops = 'const { ops } = Deno[Deno.internal].core;';

/** Processes, signals, native code, the environment and facts of the host. */
export const HOST_PROGRAMS: Programs = {
  ...denied({
    'starts a process': "return new Deno.Command('/bin/true').outputSync().code",
    'starts a process through node':
      "return await new Promise((ok, no) => import('node:child_process').then((c) => c.spawn('/usr/bin/id').on('error', no).on('exit', ok)))",
    'signals its parent': "Deno.kill(Deno.ppid, 'SIGTERM')",
    'signals its parent through node':
      "const { default: p } = await import('node:process'); return p.kill(p.ppid, 0)",
    'signals all processes': "(await import('node:process')).default.kill(-1, 'SIGKILL')",
    'opens the inspector of its parent':
      "const { default: p } = await import('node:process'); return p._debugProcess(p.ppid)",
    'opens an inspector': "const i = await import('node:inspector'); i.open(0); return i.url()",
    'attaches to itself':
      "const s = new (await import('node:inspector')).Session(); s.connect(); return 'attached'",
    'loads a native library': "return Deno.dlopen('libc.so.6', {})",
    'loads a native addon': "process.dlopen({ exports: {} }, '/srv/addon.node')",
    'requires a native addon': "return (await import('node:module')).createRequire('/')('/srv/addon.node')",
    'loads an extension into a database':
      "new (await import('node:sqlite')).DatabaseSync(':memory:', { allowExtension: true }).loadExtension('libm.so.6')",
    'makes a pointer by an operation of the runtime itself': `${ops} return String(ops.op_ffi_ptr_create(4096n))`,
    'reads memory by an operation of the runtime itself': `${ops} return ops.op_ffi_read_u8(null, 0)`,
    'becomes another user': 'return process.setuid(0)',
    'raises its priority': "return (await import('node:os')).setPriority(-5)",
    'changes the mode of files to come': 'return Deno.umask(0)',
    'asks for the name of the host': 'return Deno.hostname()',
    'asks for the name of the host through node': "return (await import('node:os')).hostname()",
    'asks for the network interfaces': 'return Deno.networkInterfaces()',
    'asks who runs it': "return (await import('node:os')).userInfo()",
    'asks for the number of its user': 'return Deno.uid()',
    'asks for the memory of the host': 'return Deno.systemMemoryInfo()',
    'asks how busy the host is': 'return Deno.loadavg()',
    'asks how long the host runs': "return (await import('node:os')).uptime()",
    'asks for the version of the kernel': 'return Deno.osRelease()',
  }),
  // The runtime writes down what the child is to know before it asks whether there may be one.
  'forks through node': [
    does(
      "return await new Promise((ok, no) => import('node:child_process').then((c) => c.fork('/x.js').on('error', no).on('spawn', ok)))",
    ),
    'failed Error: File too large (os error 27)',
  ],
  'forks a cluster': [
    does("return (await import('node:cluster')).default.fork().id"),
    'failed Error: File too large (os error 27)',
  ],
  'loads an extension by SQL': [
    does(
      "return new (await import('node:sqlite')).DatabaseSync(':memory:').prepare(\"select load_extension('libm.so.6')\").get()",
    ),
    'failed Error: not authorized',
  ],
  // Each opens drivers of the host, native code that no permission is asked for.
  ...answering({
    'asks for a graphics processor': ['return await navigator.gpu.requestAdapter()', null],
    'asks for a graphics processor in a worker': [
      "return await new Promise((ok, no) => { const code = 'navigator.gpu.requestAdapter().then((a) => postMessage(String(a)))'; const w = new Worker(URL.createObjectURL(new Blob([code])), { type: 'module' }); w.onmessage = (e) => ok(e.data); w.onerror = no; })",
      'null',
    ],
    'asks for a graphics processor once it has named its drivers': [
      "Deno.env.set('DENO_WEBGPU_BACKEND', 'vulkan'); Deno[Deno.internal].core.ops.op_set_env('DENO_WEBGPU_BACKEND', 'vulkan'); return await navigator.gpu.requestAdapter()",
      null,
    ],
    'asks for more permissions': [
      "return [(await Deno.permissions.request({ name: 'read' })).state, (await Deno.permissions.query({ name: 'net' })).state, prompt('?'), confirm('?')]",
      ['denied', 'denied', null, false],
    ],
    "reads the host's environment": [
      'return [Deno.env.toObject(), { ...process.env }, process.env.HOST_CANARY ?? null, Deno.env.get("PATH") ?? null]',
      [{ OWN: 'yes' }, { OWN: 'yes' }, null, null],
    ],
    'reads the environment in a thread': [
      "const { Worker } = await import('node:worker_threads'); const code = 'require(`node:worker_threads`).parentPort.postMessage({ ...process.env })'; return await new Promise((ok, no) => new Worker(code, { eval: true }).on('message', ok).on('error', no))",
      { OWN: 'yes' },
    ],
    'sets variables of the runtime': [
      "for (const name of ['DENO_DIR', 'LD_PRELOAD', 'PATH', 'HTTP_PROXY']) { try { Deno.env.set(name, '/x'); process.env[name] = '/x'; } catch {} } return Deno.env.toObject()",
      { OWN: 'yes' },
    ],
    'looks at its arguments and folder': [
      'return [Deno.args, Deno.cwd(), process.argv.length, import.meta.filename ?? null]',
      [[], '/', 2, null],
    ],
    'looks for descriptors that it inherited': [
      "const fs = await import('node:fs'); return Array.from({ length: 64 }, (_, n) => n).filter((n) => { try { fs.fstatSync(n); return true; } catch { return false; } })",
      [0, 1, 2],
    ],
    'sets flags of the engine': [
      "const v8 = await import('node:v8'); v8.setFlagsFromString('--allow-natives-syntax'); try { return (0, eval)('%DebugPrint(1)'); } catch (error) { return error.name; }",
      'SyntaxError',
    ],
    'names its process': ["process.title = 'init'; return process.title", 'init'],
    'writes a report of its process': ["return process.report?.writeReport?.(`${outside}/x`) ?? ''", ''],
    'talks on a channel that others listen on': [
      "new BroadcastChannel('shared').postMessage(1); return 'heard by none'",
      'heard by none',
    ],
    'keeps things in sessionStorage, which goes with its process': [
      "sessionStorage.setItem('a', 'b'); return sessionStorage.length",
      1,
    ],
  }),
};
