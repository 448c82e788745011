import { mkdtemp, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { freePorts, startChildServer } from '../../../testing/child-server.fixture.ts';

const FRAMEWORK = path.join(
  path.dirname(createRequire(import.meta.url).resolve('@google-cloud/functions-framework')),
  'main.js',
);

/**
 * The functions of the suite and of our tests, written for the Functions Framework. An error that is to keep its name is
 * answered by the function itself: of one that is thrown the framework tells the message alone.
 */
const SOURCE = `
const payload = (req) => JSON.parse(req.rawBody);
exports.echo = (req, res) => res.json(payload(req));
exports.fails = (req, res) => {
  try {
    throw new TypeError('on purpose');
  } catch ({ name, message, stack }) {
    res.status(500).json({ name, message, stack });
  }
};
exports.endless = () => new Promise((resolve) => setTimeout(resolve, 1e9));
exports.large = (req, res) => res.json('x'.repeat(payload(req)));
exports.random = (req, res) => res.json(String(Math.random()));
exports.headers = (req, res) => res.json(req.headers);
exports.throws = async () => { throw new TypeError('thrown on purpose'); };
exports.event = (event) => event;
exports.event_throws = async () => { throw new TypeError('thrown by an event'); };
`;
const EVENTS = new Set(['event', 'event_throws']);

export type RunningFunctions = {
  /** Where each function listens, by name. */
  readonly ports: ReadonlyMap<string, number>;
  close(): Promise<void>;
};

/** Starts a process of the real Functions Framework for each function, as Cloud Run does. */
export async function startFunctions(
  names: readonly string[],
  env: Readonly<Record<string, string>> = {},
): Promise<RunningFunctions> {
  const free = await freePorts(names.length);
  const ports = new Map(names.map((name, i) => [name, free[i] ?? 0]));
  const started = await Promise.allSettled([...ports].map(([name, port]) => startFunction(name, port, env)));
  const close = async (): Promise<void> => {
    await Promise.all(started.map(async (one) => one.status === 'fulfilled' && one.value.close()));
  };
  const failed = started.find((one) => one.status === 'rejected');
  if (failed) {
    await close();
    throw failed.reason;
  }
  return { ports, close };
}

async function startFunction(name: string, port: number, env: Readonly<Record<string, string>>) {
  const folder = await mkdtemp(path.join(tmpdir(), 'functions-framework-'));
  await writeFile(path.join(folder, 'index.js'), SOURCE);
  const signature = EVENTS.has(name) ? 'cloudevent' : 'http';
  return startChildServer({
    command: process.execPath,
    args: [FRAMEWORK, `--target=${name}`, `--port=${port}`, `--signature-type=${signature}`],
    env: { PATH: process.env['PATH'], ...env },
    folder,
    isReady: async (output) =>
      env['NODE_ENV'] === 'production' ? answers(port) : output.includes('Serving function...'),
  });
}

/** In production the framework prints nothing. */
async function answers(port: number): Promise<boolean> {
  return fetch(`http://127.0.0.1:${port}/favicon.ico`).then(
    () => true,
    () => false,
  );
}
