import { Miniflare } from 'miniflare';

/** Workers in a real workerd, each at `URL/functions/NAME`, and three real Workflows. */
export type RealWorkers = {
  /** Without a slash at its end. */
  readonly url: string;
  readonly close: () => Promise<void>;
};

/**
 * What a Worker needs so that its errors are told: Cloudflare itself says of one that throws only that it did. It is
 * the one of the README.
 */
const TELLING = `
  const telling = (handler) => ({
    async fetch(request, env) {
      try {
        return Response.json((await handler(await request.json(), request, env)) ?? null);
      } catch ({ name, message, stack }) {
        return Response.json({ error: { name, message, stack } }, { status: 500 });
      }
    },
  });`;

/** The functions of the conformance suite, as Workers, and some more. */
const FUNCTIONS: Readonly<Record<string, string>> = {
  echo: `${TELLING} export default telling((event) => event);`,
  fails: `${TELLING} export default telling(() => { throw new TypeError('on purpose'); });`,
  endless: `${TELLING} export default telling(() => new Promise((resolve) => setTimeout(resolve, 1e9)));`,
  large: `${TELLING} export default telling((length) => 'x'.repeat(length));`,
  random: `${TELLING} export default telling(() => String(Math.random()));`,
  // Answers what it was sent.
  request: `${TELLING} export default telling((event, request) =>
    ({ event, method: request.method, headers: Object.fromEntries(request.headers) }));`,
  // Answers as it is told to: its payload is a response.
  answers: `export default { async fetch(request) {
    const { status = 200, headers = {}, body = null } = await request.json();
    return new Response(body, { status, headers });
  } };`,
  throws: `export default { async fetch() { throw new TypeError('on purpose,\\nand on two lines'); } };`,
  // Answers a body without an end, whose length nobody knows.
  floods: `export default { async fetch() {
    const chunk = new Uint8Array(2 ** 20).fill(32);
    return new Response(new ReadableStream({ type: 'bytes', pull: (sink) => sink.enqueue(chunk.slice()) }));
  } };`,
  'knows-me': `export default { async fetch(request) {
    const isKnown = request.headers.get('authorization') === 'Bearer open sesame';
    return isKnown ? Response.json('welcome') : new Response('who are you?', { status: 401 });
  } };`,
};

const WORKFLOWS = `
  import { WorkflowEntrypoint } from 'cloudflare:workers';
  export class Echo extends WorkflowEntrypoint {
    async run(event, step) { return await step.do('echo', async () => event.payload ?? null); }
  }
  export class Fails extends WorkflowEntrypoint {
    async run(event, step) {
      await step.do('fail', { retries: { limit: 0, delay: 0 } }, async () => { throw new TypeError('on purpose'); });
    }
  }
  export class Endless extends WorkflowEntrypoint {
    async run(event, step) { await step.waitForEvent('never', { type: 'never', timeout: '1 day' }); }
  }
  export default {
    async fetch(request, env) {
      const { act, workflow, id, params } = await request.json();
      try {
        if (act === 'create') await env[workflow].create({ id, params });
        const instance = await env[workflow].get(id);
        if (act === 'terminate') await instance.terminate();
        const { status, output = null, error = null } = await instance.status();
        return Response.json({ status, output, error });
      } catch ({ message }) {
        return Response.json({ refused: message });
      }
    },
  };`;

/** Names of the Workflows that are there. */
export const REAL_WORKFLOWS = ['flow-echo', 'flow-endless', 'flow-fails'] as const;

/** Starts one workerd at a free port of loopback. */
export async function realWorkers(): Promise<RealWorkers> {
  const shared = { modules: true, compatibilityDate: '2026-07-01' } as const;
  const miniflare = new Miniflare({
    host: '127.0.0.1',
    port: 0,
    // What Workers throw is expected here.
    handleUncaughtError: () => {},
    workers: [
      {
        ...shared,
        name: 'nobody',
        // What Cloudflare answers for a name that no Worker has.
        script: `export default { fetch: () => new Response('error code: 1042\\n', { status: 404 }) };`,
      },
      ...Object.entries(FUNCTIONS).map(([name, script]) => ({
        ...shared,
        name,
        script,
        routes: [`*/functions/${name}`],
      })),
      {
        ...shared,
        name: 'flows',
        script: WORKFLOWS,
        routes: ['*/control'],
        workflows: {
          'flow-echo': { name: 'flow-echo', className: 'Echo' },
          'flow-fails': { name: 'flow-fails', className: 'Fails' },
          'flow-endless': { name: 'flow-endless', className: 'Endless' },
        },
      },
    ],
  });
  const url = (await miniflare.ready).origin;
  return { url, close: () => miniflare.dispose() };
}

/** The names of the functions above. */
export const REAL_FUNCTIONS = Object.keys(FUNCTIONS);
