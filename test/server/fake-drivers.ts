import { z } from 'zod';
import {
  ConnectorError,
  defineFileDriver,
  defineServerlessDriver,
  defineVectorDriver,
  invalidField,
  secret,
  type FileInfo,
  type FunctionInfo,
  type JsonValue,
  type Metadata,
  type VectorRecord,
} from '../../src/driver.ts';
import type { DriverLoaders } from '../../src/registry/catalog.ts';

/** How the fake backend behaves; its errors quote the credentials, as careless backends do. */
const options = z.strictObject({
  api_key: secret().optional().describe('Key of the fake backend.'),
  login: z.strictObject({ password: secret().optional() }).optional(),
  mode: z.enum(['well', 'auth', 'crash', 'down']).default('well'),
});
type Options = z.output<typeof options>;

function behave({ mode, api_key, login }: Options): void {
  const quoted = `refused key=${api_key} password=${login?.password} url=https://x:${login?.password}@h/?k=${api_key}`;
  if (mode === 'auth')
    throw new ConnectorError('auth_failed', quoted, {
      cause: new Error(quoted),
      details: { answer: quoted },
    });
  if (mode === 'crash') throw new TypeError(quoted);
  if (mode === 'down') throw new ConnectorError('unavailable', quoted, { cause: new Error(quoted) });
}

/** All records in a map, searched one by one; enough to see what the layers above make of it. */
export const fakeVector = defineVectorDriver({
  kind: 'vector',
  id: 'fake',
  title: 'Fake vectors',
  options,
  capabilities: {
    metrics: ['cosine', 'dot'],
    filter: ['eq', 'and'],
    deleteByFilter: false,
    countByFilter: false,
    orderedStrings: true,
    visibleAfterMs: 0,
    limits: { dimension: 4096, upsertBatch: 500, topK: 100 },
  },
  open: async (given) => {
    const records = new Map<string, VectorRecord>();
    const plain = ({ id, values, metadata, text }: VectorRecord) => ({
      id,
      values: [...values],
      ...(metadata && { metadata }),
      ...(text !== undefined && { text }),
    });
    return {
      async upsert(batch) {
        behave(given);
        for (const record of batch) records.set(record.id, record);
        return [];
      },
      async search(vector, { topK, includeValues, includeMetadata, filter }) {
        behave(given);
        const has = (metadata: Metadata | undefined) =>
          Object.entries(filter ?? {}).every(([field, value]) => metadata?.[field] === value);
        return [...records.values()]
          .filter(({ metadata }) => has(metadata))
          .map((record) => ({ ...plain(record), rawScore: cosine(vector, record.values) }))
          .sort((a, b) => b.rawScore - a.rawScore || (a.id < b.id ? -1 : 1))
          .slice(0, topK)
          .map(({ values, metadata, ...rest }) => ({
            ...rest,
            ...(includeValues && { values }),
            ...(includeMetadata && metadata && { metadata }),
          }));
      },
      async delete(selector) {
        behave(given);
        const ids = 'ids' in selector ? selector.ids : [...records.keys()];
        return ids.filter((id) => records.delete(id)).length;
      },
      async fetch(ids) {
        behave(given);
        return ids.flatMap((id) => records.get(id) ?? []).map(plain);
      },
      async count() {
        behave(given);
        return records.size;
      },
      async list({ limit, cursor = '0', includeValues }) {
        behave(given);
        const start = Number(cursor);
        if (!Number.isInteger(start)) throw invalidField('cursor', 'is what the page before answered');
        const page = [...records.values()].slice(start, start + limit).map(plain);
        return {
          records: includeValues ? page : page.map(({ values: _values, ...rest }) => rest),
          ...(start + limit < records.size && { nextCursor: String(start + limit) }),
        };
      },
      async check() {
        behave(given);
        return [];
      },
      async close() {},
    };
  },
});

/** Files in a map. */
export const fakeFile = defineFileDriver({
  kind: 'file',
  id: 'fake',
  title: 'Fake files',
  options,
  capabilities: {
    ranges: true,
    createOnly: true,
    ifMatch: true,
    atomicReplace: true,
    copy: true,
    move: true,
    presignedBy: 'backend',
    presignConditions: ['contentType'],
    contentType: true,
    metadata: true,
    limits: { pathBytes: 1024, fileBytes: 2 ** 40 },
  },
  open: async (given) => {
    const files = new Map<string, { readonly bytes: Buffer; readonly info: FileInfo }>();
    const find = (path: string) => {
      behave(given);
      const found = files.get(path);
      if (found) return found;
      throw new ConnectorError('not_found', 'there is no such file');
    };
    const part = (bytes: Buffer, range: { readonly start: number; readonly end?: number } | undefined) => {
      if (range && range.start >= bytes.length) throw invalidField('range', 'starts before the end');
      return range ? bytes.subarray(range.start, range.end === undefined ? undefined : range.end + 1) : bytes;
    };
    let writes = 0;
    const put = (path: string, bytes: Buffer, facts: Pick<FileInfo, 'contentType' | 'metadata'>) => {
      const etag = `v${(writes += 1)}`;
      const name = path.split('/').at(-1) ?? path;
      const lastModified = new Date(1_700_000_000_000);
      const info = { name, path, size: bytes.length, lastModified, etag, isDirectory: false, ...facts };
      files.set(path, { bytes, info });
      return { path, size: info.size, etag };
    };
    return {
      async list(path, { limit }) {
        behave(given);
        const below = [...files.values()].filter(
          ({ info }) => path === '' || info.path.startsWith(`${path}/`),
        );
        return { files: below.slice(0, limit).map(({ info }) => info) };
      },
      stat: async (path) => find(path).info,
      readBytes: async (path, range) => part(find(path).bytes, range),
      async readStream(path, range) {
        const { bytes, info } = find(path);
        const wanted = part(bytes, range);
        async function* body() {
          for (let at = 0; at < wanted.length; at += 65_536) yield wanted.subarray(at, at + 65_536);
        }
        return { info, body: body() };
      },
      async write(path, content, { contentType, ifNoneMatch, ifMatch, metadata }) {
        behave(given);
        const parts: Uint8Array[] = [];
        if (content instanceof Uint8Array) parts.push(content);
        else for await (const chunk of content) parts.push(chunk);
        if (ifNoneMatch && files.has(path))
          throw new ConnectorError('already_exists', 'there is a file already');
        if (ifMatch !== undefined && files.get(path)?.info.etag !== ifMatch)
          throw new ConnectorError('conflict', 'the file has another etag');
        return put(path, Buffer.concat(parts), {
          ...(contentType !== undefined && { contentType }),
          ...(metadata && { metadata }),
        });
      },
      async copy(from, to) {
        const { bytes, info } = find(from);
        return put(to, bytes, info.contentType === undefined ? {} : { contentType: info.contentType });
      },
      async move(from, to) {
        const { bytes } = find(from);
        files.delete(from);
        return put(to, bytes, {});
      },
      presign: async (path, { method, expiresInSeconds, contentType }) => ({
        url: `https://files.example/${encodeURIComponent(path)}?signed`,
        method,
        headers: contentType === undefined ? {} : { 'Content-Type': contentType },
        expiresAt: new Date(expiresInSeconds * 1_000),
      }),
      async delete(path) {
        behave(given);
        return files.delete(path);
      },
      async check() {
        behave(given);
        return [];
      },
      async close() {},
    };
  },
});

/** Functions by name: what is deployed answers its payload, `throws` throws. */
export const fakeServerless = defineServerlessDriver({
  kind: 'serverless',
  id: 'fake',
  title: 'Fake functions',
  options,
  capabilities: {
    deploy: true,
    logs: true,
    native: false,
    limits: { payloadBytes: 1_000_000, timeoutSeconds: 60 },
  },
  open: async (given) => {
    const functions = new Map<string, FunctionInfo>([
      ['echo', { name: 'echo', runtime: 'fake', memoryMb: 1, lastModified: new Date(0) }],
      ['throws', { name: 'throws' }],
      ['slow', { name: 'slow' }],
    ]);
    return {
      async invoke(name, payload: JsonValue, _invocation, signal) {
        behave(given);
        if (!functions.has(name)) throw new ConnectorError('not_found', `there is no function ${name}`);
        if (name === 'throws')
          return {
            status: 'failed',
            error: { name: 'RangeError', message: 'too far' },
            logs: 'x',
            durationMs: 1,
          };
        if (name === 'slow')
          await new Promise((_resolve, reject) =>
            signal.addEventListener('abort', () => reject(signal.reason)),
          );
        return { status: 'completed', result: { echo: payload }, logs: '', durationMs: 1.5 };
      },
      listFunctions: async () => {
        behave(given);
        return [...functions.values()];
      },
      async deploy(name) {
        behave(given);
        const info = { name, runtime: 'fake' };
        functions.set(name, info);
        return info;
      },
      async remove(name) {
        behave(given);
        return functions.delete(name);
      },
      async logs(name, limit) {
        behave(given);
        if (!functions.has(name)) throw new ConnectorError('not_found', `there is no function ${name}`);
        const entries = [{ text: 'hello' }, { requestId: 'r1', text: 'there' }];
        return entries.map((entry) => ({ at: new Date(0), ...entry })).slice(-limit);
      },
      async check() {
        behave(given);
        return [];
      },
      async close() {},
    };
  },
});

export const fakeDrivers: DriverLoaders = {
  'vector/fake': async () => ({ default: fakeVector }),
  'file/fake': async () => ({ default: fakeFile }),
  'serverless/fake': async () => ({ default: fakeServerless }),
};

type Vector = readonly number[] | Float32Array;

function cosine(a: Vector, b: Vector): number {
  return dot(a, b) / Math.sqrt(dot(a, a) * dot(b, b));
}

function dot(a: Vector, b: Vector): number {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += (a[i] ?? 0) * (b[i] ?? 0);
  return sum;
}
