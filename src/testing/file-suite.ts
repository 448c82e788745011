import { FileConnector } from '../connectors/file/connector.ts';
import type { FileCapabilities, FileClient } from '../connectors/file/driver.ts';
import type { ConnectorRecord } from '../connectors/base.ts';
import { ConnectorConfig } from '../connectors/config.ts';
import type { ClientSession } from '../connectors/session.ts';
import { NEVER } from '../policies/pipeline.ts';

/** What the cases of the file suite share. */
export type FileSuite = {
  readonly capabilities: FileCapabilities;
  /** A folder of one case alone, so that cases cannot see each other's files. */
  readonly folder: () => string;
  readonly files: () => FileConnector;
  readonly client: () => FileClient;
};

/** A session over an open client without any policy; `holds` counts the bodies that are not ended. */
export function plainSession(client: FileClient): ClientSession<FileClient> & { readonly holds: number } {
  let holds = 0;
  return {
    get holds() {
      return holds;
    },
    run: ({ operation, idempotent, signal = NEVER }, run) =>
      run(client, { operation, idempotent, attempt: 1, signal, progress: () => {} }),
    hold() {
      holds++;
      return () => void holds--;
    },
    connect: async () => {},
    disconnect: () => client.close(),
    async check({ signal = NEVER }) {
      await client.check(signal);
      return { ok: true, stages: [] };
    },
  };
}

/** A file connector over an open client, as a registry would make it. */
export function fileConnector({
  client,
  capabilities,
  basePath = '',
  session = plainSession(client),
}: {
  readonly client: FileClient;
  readonly capabilities: FileCapabilities;
  readonly basePath?: string;
  readonly session?: ClientSession<FileClient>;
}): FileConnector {
  return new FileConnector({ record: recordOf(basePath), session, capabilities });
}

/** A connector whose session fails the test as soon as anything is asked of it. */
export function untouchable(capabilities: FileCapabilities): FileConnector {
  const touched = () => {
    throw new Error('the session was touched');
  };
  const session = { run: touched, hold: touched, connect: touched, disconnect: touched, check: touched };
  return new FileConnector({ record: recordOf(''), session, capabilities });
}

/** The bytes of text. */
export function bytes(text: string): Uint8Array {
  return new Uint8Array(Buffer.from(text));
}

/** The text of bytes. */
export function text(content: Uint8Array): string {
  return Buffer.from(content).toString();
}

/** All chunks of a body as one. */
export async function collect(body: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of body) chunks.push(chunk);
  return Buffer.concat(chunks);
}

/** A source of the given chunks. */
export async function* chunksOf(
  ...chunks: readonly (string | Uint8Array)[]
): AsyncGenerator<string | Uint8Array> {
  yield* chunks;
}

/** A record of a file connector that no registry holds. */
export function recordOf(basePath: string): ConnectorRecord {
  return {
    connectorId: 'connector-1',
    tenantId: 'tenant-1',
    name: 'files',
    connectorType: 'file',
    provider: 'under-test',
    config: new ConnectorConfig(),
    settings: { base_path: basePath },
    capabilities: ['read', 'write', 'stream'],
    metadata: {},
    trusted: false,
    version: 1,
    createdAt: new Date(0),
    updatedAt: new Date(0),
  };
}
