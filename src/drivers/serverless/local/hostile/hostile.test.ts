import { mkdirSync, readdirSync, readFileSync, readlinkSync, writeFileSync } from 'node:fs';
import { lookup } from 'node:dns/promises';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { esbuild } from '../bundle.ts';
import { asConnectorError, type InvocationOutcome, type ServerlessClient } from '../../../../driver.ts';
import driver from '../index.ts';
import { checkedOutcome } from '../../../../connectors/serverless/json.ts';
import { NEVER, openLocal, scratchFolder } from '../local.fixture.ts';
import { DECEIT_PROGRAMS } from './deceit.fixture.ts';
import { ENDLESS_PROGRAMS, EXIT_PROGRAMS, MEMORY_PROGRAMS } from './exhaustion.fixture.ts';
import { FILE_PROGRAMS } from './files.fixture.ts';
import { HOST_PROGRAMS } from './host.fixture.ts';
import { NETWORK_PROGRAMS, OPEN_NETWORK_PROGRAMS } from './network.fixture.ts';
import type { Programs, Targets } from './program.fixture.ts';

const CANARY = 'canary-7f3a';
/** A neighbour's call takes a millisecond; with this it is not in time even on a machine that others use as well. */
const NEIGHBOUR_MS = 2_000;
const isLinux = process.platform === 'linux';

const scratch = scratchFolder();
let targets: Targets;
let server: Server;
let requests = 0;
let neighbour: Neighbour;
let openAtFirst: number;

/** The function processes of this one. */
function functionProcesses(): readonly string[] {
  return readdirSync('/proc').filter((pid) => {
    try {
      if (!/^\d+$/.test(pid) || !readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes('--deny-ffi'))
        return false;
      return readFileSync(`/proc/${pid}/status`, 'utf8').includes(`\nPPid:\t${process.pid}\n`);
    } catch {
      // It has just ended.
      return false;
    }
  });
}

/** How many sockets and pipes this process has open. */
function openEnds(): number {
  return readdirSync('/proc/self/fd').filter((fd) => {
    try {
      return /^(?:socket|pipe):/.test(readlinkSync(`/proc/self/fd/${fd}`));
    } catch {
      // The descriptor that the folder was read through.
      return false;
    }
  }).length;
}

/** Another tenant, who calls a function all along. */
class Neighbour {
  readonly #client: ServerlessClient;
  readonly #calling: Promise<void>;
  #isOver = false;
  readonly wrong: unknown[] = [];
  calls = 0;

  constructor(client: ServerlessClient) {
    this.#client = client;
    this.#calling = this.#callOnAndOn();
  }

  async end(): Promise<void> {
    this.#isOver = true;
    await this.#calling;
    await this.#client.close();
  }

  async #callOnAndOn(): Promise<void> {
    for (let n = 0; !this.#isOver; n++) {
      const outcome = await this.#client
        .invoke('double', n, { requestId: `n${n}`, timeoutMs: NEIGHBOUR_MS }, NEVER)
        .catch(asConnectorError);
      if (!('result' in outcome) || outcome.result !== n * 2) this.wrong.push(outcome);
      this.calls++;
      await new Promise((done) => setTimeout(done, 5));
    }
  }
}

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
  const outside = join(scratch(), 'outside');
  for (const folder of [rivalFolder, outside]) mkdirSync(folder, { recursive: true });
  const rival = join(rivalFolder, 'own.ts');
  writeFileSync(rival, `export const handler = () => '${CANARY}';`);
  // A listening TCP server's address is never a pipe's name.
  const { port } = server.address() as AddressInfo;
  // Where nothing leads to the machine's own name, another name of it is as good.
  const host = await lookup(hostname()).then(hostname, () => 'localhost');
  targets = { secret, rival, outside, port, host };
  if (isLinux) {
    // The compiler stays once it was started; what it has open is none of a function's.
    await (await esbuild()).transform('');
    openAtFirst = openEnds();
  }
  const client = await openLocal(scratch(), { tenantId: 'neighbour' });
  await client.deploy?.('double', { code: 'export const handler = (n: number) => n * 2' }, NEVER);
  neighbour = new Neighbour(client);
});

afterAll(async () => {
  delete process.env['HOST_CANARY'];
  server.close();
});

/** Neither the neighbour nor this host was touched. */
function expectNobodyHarmed(): void {
  expect(neighbour.wrong).toEqual([]);
  expect(requests).toBe(0);
  expect(process.env['HOST_CANARY']).toBe(CANARY);
  expect(Object.keys(Object.prototype)).toEqual([]);
  expect(readFileSync(targets.secret, 'utf8')).toBe(JSON.stringify(CANARY));
  expect(readFileSync(targets.rival, 'utf8')).toContain(CANARY);
  expect(readdirSync(targets.outside)).toEqual([]);
}

/** What became of a call in one line. */
async function ended(call: Promise<InvocationOutcome>): Promise<string> {
  try {
    // As the connector hands it on.
    const { status, result, error } = checkedOutcome(await call, driver.capabilities.limits.payloadBytes);
    return status === 'completed'
      ? `completed ${JSON.stringify(result)}`
      : `failed ${error?.name}: ${error?.message}`;
  } catch (error) {
    const { code, message } = asConnectorError(error);
    return code === 'invalid_argument' ? `${code}: ${message}` : code;
  }
}

/** A test for each program: its outcome is the right one, whatever it holds of the host is not in it, and nobody is harmed. */
function contains(
  programs: Programs,
  { timeoutMs = 20_000, options = {} }: { readonly timeoutMs?: number; readonly options?: object } = {},
): void {
  let client: ServerlessClient;
  let folder: string;
  beforeAll(async () => {
    const connectorId = `c-${Object.keys(options).join('-')}-${timeoutMs}`;
    client = await openLocal(scratch(), {
      connectorId,
      options: { env: { OWN: 'yes' }, ...options },
    });
    folder = join(scratch(), 'acme', connectorId, 'functions');
    writeFileSync(join(folder, 'rival.ts'), `export const handler = () => '${CANARY}';`);
  });
  afterAll(() => client.close());

  const cases = Object.entries(programs).map(([what, [code, right]], at) => ({ what, code, right, at }));
  it.each(cases)('$what', async ({ code, right, at }) => {
    const name = `program-${at}`;
    // By hand: a deploy would refuse those that misbehave when they are loaded.
    writeFileSync(join(folder, `${name}.ts`), code);
    const outcome = await ended(client.invoke(name, targets, { requestId: 'r', timeoutMs }, NEVER));
    if (typeof right === 'string') expect(outcome).toBe(right);
    else expect(outcome).toMatch(right);
    expect(outcome).not.toContain(CANARY);
    expectNobodyHarmed();
  });
}

describe('a function is denied what it', () => {
  contains(FILE_PROGRAMS);
});
describe('a function is denied the network when it', () => {
  contains(NETWORK_PROGRAMS);
});
describe('a function that an administrator gave the network is denied this machine and private networks when it', () => {
  contains(OPEN_NETWORK_PROGRAMS, { options: { allow_net: true } });
});
describe('a function gets nothing of the host when it', () => {
  contains(HOST_PROGRAMS);
});
describe('a function is killed at its time limit when it', () => {
  contains(ENDLESS_PROGRAMS, { timeoutMs: 300 });
});
if (isLinux)
  describe('a function is killed for its memory when it', () => {
    contains(MEMORY_PROGRAMS, { options: { memory_mb: 64 } });
  });
describe('a function fails alone when it', () => {
  contains(EXIT_PROGRAMS);
});
describe('a function deceives nobody when it', () => {
  contains(DECEIT_PROGRAMS, { options: { memory_mb: 512 } });
});

describe('after all that', () => {
  it('the neighbour has been served all along', async () => {
    await neighbour.end();
    expect(neighbour.calls).toBeGreaterThan(100);
    expect(neighbour.wrong).toEqual([]);
  });

  // What a process has is looked up in the kernel's own files.
  if (isLinux)
    it('no process and no socket of a function is left', async () => {
      await expect.poll(functionProcesses, { timeout: 10_000 }).toEqual([]);
      await expect.poll(openEnds, { timeout: 10_000 }).toBe(openAtFirst);
    });
});
