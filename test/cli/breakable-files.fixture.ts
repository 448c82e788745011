import {
  byteOrder,
  ConnectorError,
  defineFileDriver,
  type FileClient,
  type FileInfo,
} from '../../src/driver.ts';
import { fakeFile } from '../server/fake-drivers.ts';

/** What a test puts between a connector and its backend; a method that is absent is the backend's own. */
export type FileScript = Partial<Pick<FileClient, 'list' | 'write' | 'readStream' | 'delete'>>;

/** A backend that keeps its files while the registry is open, and does what a test's script says. */
export function breakableFiles(): {
  readonly driver: ReturnType<typeof defineFileDriver>;
  script: (client: FileClient) => FileScript;
} {
  const made = {
    script: (_client: FileClient): FileScript => ({}),
    driver: defineFileDriver({
      ...fakeFile,
      id: 'breakable',
      open: async (options, context) => {
        const client = await fakeFile.open(options, context);
        // The fake's own files have one date and lie in no order.
        const files = new Map<string, FileInfo>();
        const backend: FileClient = {
          ...client,
          async list(path, { limit, cursor = '' }) {
            const below = [...files.values()].filter(
              (file) => path === '' || file.path.startsWith(`${path}/`),
            );
            const sorted = below
              .sort((a, b) => byteOrder(a.path, b.path))
              .filter((file) => byteOrder(file.path, cursor) > 0);
            const page = sorted.slice(0, limit);
            const last = page.at(-1);
            return { files: page, ...(last && sorted.length > limit && { nextCursor: last.path }) };
          },
          async write(path, content, given, signal) {
            const result = await client.write(path, content, given, signal);
            files.set(path, { ...(await client.stat(path, signal)), lastModified: new Date() });
            return result;
          },
          async copy(from, to, signal) {
            if (!client.copy) throw new ConnectorError('unsupported', 'no copies');
            const result = await client.copy(from, to, signal);
            files.set(to, { ...(await client.stat(to, signal)), lastModified: new Date() });
            return result;
          },
          async delete(path, signal) {
            files.delete(path);
            return client.delete(path, signal);
          },
        };
        const scripted = (): FileClient => ({ ...backend, ...made.script(backend) });
        return {
          ...backend,
          list: (...args) => scripted().list(...args),
          write: (...args) => scripted().write(...args),
          readStream: (...args) => scripted().readStream(...args),
          delete: (...args) => scripted().delete(...args),
        };
      },
    }),
  };
  return made;
}
