import { CreateBucketCommand, S3Client } from '@aws-sdk/client-s3';
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { startFauxqs } from 'fauxqs';
import { freePorts } from '../../../testing/child-server.fixture.ts';

const SCRIPT = fileURLToPath(new URL('ceph-rgw.fixture.sh', import.meta.url));
const COMMANDS = ['radosgw', 'radosgw-admin', 'ceph', 'ceph-mon', 'ceph-osd', 'curl', 'setpriv'];
const TRIES = 3;

export type KeyPair = { readonly accessKeyId: string; readonly secretAccessKey: string };

/** A server that speaks S3. */
export type S3Server = {
  readonly kind: 'ceph' | 'fauxqs' | 'given';
  /** What it is, for people. */
  readonly name: string;
  readonly endpoint: string;
  readonly region: string;
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  /** Another user, who has no right to the first one's buckets; Ceph alone has one. */
  readonly stranger?: KeyPair;
  /** A role of Ceph's that the stranger may assume, and that reads. */
  readonly roleArn?: string;
  /** A bucket that nobody else uses; the given one, where a server was given. */
  bucket(): Promise<string>;
  /** The owner's own client, for what a driver has no method for. */
  readonly owner: S3Client;
  close(): Promise<void>;
};

/**
 * Starts Ceph's radosgw, or fauxqs where the machine has none. `CONNECTORS_TEST_S3_URL` (with `_BUCKET`,
 * `_ACCESS_KEY_ID`, `_SECRET_ACCESS_KEY` and `_REGION`) names another server instead.
 */
export async function startS3(): Promise<S3Server> {
  const { CONNECTORS_TEST_S3_URL: url } = process.env;
  if (url !== undefined) return given(url);
  return hasCeph() ? startCeph() : startDouble();
}

/** Whether this machine has all that Ceph's gateway needs. */
export function hasCeph(): boolean {
  return COMMANDS.every((command) => spawnSync('which', [command]).status === 0);
}

function given(endpoint: string): S3Server {
  const setting = (name: string) => process.env[`CONNECTORS_TEST_S3_${name}`];
  const access = {
    endpoint,
    region: setting('REGION') ?? 'us-east-1',
    accessKeyId: setting('ACCESS_KEY_ID') ?? '',
    secretAccessKey: setting('SECRET_ACCESS_KEY') ?? '',
  };
  const owner = clientOf(access);
  return {
    ...access,
    kind: 'given',
    name: endpoint,
    owner,
    bucket: async () => setting('BUCKET') ?? '',
    close: async () => owner.destroy(),
  };
}

async function startDouble(): Promise<S3Server> {
  const server = await startFauxqs({ port: 0, logger: false });
  const access = {
    endpoint: `http://127.0.0.1:${server.port}`,
    region: 'us-east-1',
    accessKeyId: 'any-key',
    secretAccessKey: 'any-worthless-secret',
  };
  return started(access, { kind: 'fauxqs', name: 'fauxqs 2.4', stop: () => server.stop() });
}

async function startCeph(): Promise<S3Server> {
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await cephIn(await mkdtemp(join(tmpdir(), 's3-ceph-')));
    } catch (error) {
      // A free port may be somebody else's by the time it is bound.
      if (attempt === TRIES) throw error;
    }
  }
}

async function cephIn(folder: string): Promise<S3Server> {
  const ports = await freePorts(3);
  const script = spawn('bash', [SCRIPT, folder, ...ports.map(String)], {
    // Its input is what keeps it alive: when this process ends, however it does, the pipe closes. It removes the folder.
    stdio: ['pipe', 'pipe', 'pipe'],
  });
  const ended = once(script, 'close');
  const stop = async () => {
    script.stdin.end();
    await ended;
  };
  let said = '';
  script.stderr.setEncoding('utf8').on('data', (text: string) => (said += text));
  const isReady = await Promise.race([
    once(createInterface({ input: script.stdout }), 'line'),
    ended.then(() => undefined),
  ]);
  if (isReady === undefined) throw new Error(`Ceph did not start: ${said.slice(-2000)}`);
  const access = {
    endpoint: `http://127.0.0.1:${ports[2]}`,
    region: 'us-east-1',
    accessKeyId: 'owner-key',
    secretAccessKey: 'owner-worthless-secret',
  };
  const server = started(access, { kind: 'ceph', name: cephVersion(), stop });
  return {
    ...server,
    stranger: { accessKeyId: 'stranger-key', secretAccessKey: 'stranger-worthless-secret' },
    roleArn: 'arn:aws:iam:::role/reader',
  };
}

type Access = Pick<S3Server, 'endpoint' | 'region' | 'accessKeyId' | 'secretAccessKey'>;

function started(
  access: Access,
  { kind, name, stop }: Pick<S3Server, 'kind' | 'name'> & { readonly stop: () => Promise<void> },
): S3Server {
  const owner = clientOf(access);
  let buckets = 0;
  return {
    ...access,
    kind,
    name,
    owner,
    async bucket() {
      const bucket = `bucket-${++buckets}`;
      await owner.send(new CreateBucketCommand({ Bucket: bucket }));
      return bucket;
    },
    async close() {
      owner.destroy();
      await stop();
    },
  };
}

/** A client of the SDK's own making. */
export function clientOf({ endpoint, region, ...credentials }: Access): S3Client {
  return new S3Client({
    ...{ endpoint, region, credentials, forcePathStyle: true, maxAttempts: 1 },
    ...{ requestChecksumCalculation: 'WHEN_REQUIRED', responseChecksumValidation: 'WHEN_REQUIRED' },
  });
}

/** Such as `Ceph 16.2.15 (radosgw)`. */
function cephVersion(): string {
  const { stdout } = spawnSync('radosgw', ['--version'], { encoding: 'utf8' });
  return `Ceph ${/ceph version (\S+)/.exec(stdout)?.[1] ?? 'of unknown version'} (radosgw)`;
}
