import { createHash } from 'node:crypto';
import type { storage_v1 } from '@googleapis/storage';
import { type Content, HttpAnswer, sizeOf } from '../../../clouds/gcp/http-answer.fixture.ts';

/** A file as the double keeps it. */
export type Stored = {
  readonly name: string;
  readonly generation: string;
  readonly content: Content;
  readonly contentType: string;
  readonly contentEncoding?: string | undefined;
  readonly metadata?: Readonly<Record<string, string>> | undefined;
  readonly updated: string;
};
export type NewFile = Pick<Stored, 'name' | 'content'> & Partial<Stored>;

/** Files of this name hold zeros alone, however many there are, and take no memory. */
export const isOfZeros = (name: string): boolean => name.endsWith('.zeros');

/** One bucket, as documented, at its least comfortable: pages are shorter than asked for, and some are empty. */
export class Bucket {
  readonly #files = new Map<string, Stored>();
  #sorted: readonly string[] | undefined;
  #generation = 1_790_000_000_000_000n;
  #listings = 0;

  readonly name: string;

  constructor(name: string) {
    this.name = name;
  }

  get(name: string, generation?: string | null): Stored | undefined {
    const file = this.#files.get(name);
    return generation && file?.generation !== generation ? undefined : file;
  }

  /** @throws HttpAnswer 412 where the condition does not hold. */
  put(file: NewFile, ifGenerationMatch?: string | null): Stored {
    this.assertMatch(file.name, ifGenerationMatch);
    if (!this.#files.has(file.name)) this.#sorted = undefined;
    const stored = {
      contentType: 'application/octet-stream',
      ...file,
      generation: String((this.#generation += 1n)),
      updated: new Date().toISOString(),
    };
    this.#files.set(file.name, stored);
    return stored;
  }

  assertMatch(name: string, ifGenerationMatch?: string | null): void {
    if (ifGenerationMatch === undefined || ifGenerationMatch === null) return;
    const now = this.#files.get(name)?.generation ?? '0';
    // Compared as numbers, so that 00 means that there is none.
    if (BigInt(ifGenerationMatch) !== BigInt(now))
      throw HttpAnswer.failure(
        412,
        'conditionNotMet',
        'At least one of the pre-conditions you specified did not hold.',
      );
  }

  delete(name: string): boolean {
    this.#sorted = undefined;
    return this.#files.delete(name);
  }

  clear(): void {
    this.#files.clear();
    this.#sorted = undefined;
  }

  /** https://cloud.google.com/storage/docs/json_api/v1/objects/list */
  list(query: URLSearchParams): storage_v1.Schema$Objects {
    const prefix = query.get('prefix') ?? '';
    const delimiter = query.get('delimiter') ?? '';
    const asked = Math.min(1000, Number(query.get('maxResults') ?? 1000));
    const token = query.get('pageToken');
    const from = token === null ? undefined : Buffer.from(token, 'base64').toString();
    const items: Stored[] = [];
    const prefixes: string[] = [];
    // Every fifth page that could hold something holds nothing, and goes on; others have one less than asked for.
    const turn = ++this.#listings % 5;
    const room = turn === 0 ? 0 : turn === 3 ? Math.max(1, asked - 1) : asked;
    let next: string | undefined;
    let passed = from;
    for (const name of this.#from(from ?? '', query.get('startOffset') ?? '', prefix)) {
      if (!name.startsWith(prefix)) break;
      const cut = delimiter === '' ? -1 : name.indexOf(delimiter, prefix.length);
      const folder = cut < 0 ? undefined : name.slice(0, cut + delimiter.length);
      if (folder !== undefined && (folder === prefixes.at(-1) || folder === passed)) continue;
      if (items.length + prefixes.length >= room) {
        next = passed ?? '';
        break;
      }
      passed = folder ?? name;
      const file = this.#files.get(name);
      if (folder !== undefined) prefixes.push(folder);
      else if (file) items.push(file);
    }
    return {
      kind: 'storage#objects',
      ...(next !== undefined && { nextPageToken: Buffer.from(next).toString('base64') }),
      ...(items.length > 0 && { items: items.map((file) => resourceOf(this.name, file)) }),
      ...(prefixes.length > 0 && { prefixes }),
    };
  }

  /** The names from there on, in order of their bytes. */
  *#from(after: string, startOffset: string, prefix: string): Generator<string> {
    this.#sorted ??= [...this.#files.keys()].sort(byBytes);
    const sorted = this.#sorted;
    const first = [prefix, startOffset].sort(byBytes)[1] ?? '';
    let low = 0;
    for (let high = sorted.length; low < high;) {
      const middle = (low + high) >> 1;
      const name = sorted[middle] ?? '';
      const isBefore = byBytes(name, first) < 0 || (after !== '' && byBytes(name, after) <= 0);
      if (isBefore) low = middle + 1;
      else high = middle;
    }
    for (let i = low; i < sorted.length; i++) yield sorted[i] ?? '';
  }
}

function byBytes(a: string, b: string): number {
  return Buffer.compare(Buffer.from(a), Buffer.from(b));
}

/** https://cloud.google.com/storage/docs/json_api/v1/objects#resource */
export function resourceOf(bucket: string, file: Stored): storage_v1.Schema$Object {
  const { name, generation, content, contentType, contentEncoding, metadata, updated } = file;
  return {
    kind: 'storage#object',
    id: `${bucket}/${name}/${generation}`,
    ...{ name, bucket, generation, metageneration: '1', contentType },
    ...(contentEncoding !== undefined && { contentEncoding }),
    ...(metadata !== undefined && { metadata }),
    size: String(sizeOf(content)),
    ...(content instanceof Buffer && { md5Hash: md5(content) }),
    etag: Buffer.from(generation).toString('base64'),
    timeCreated: updated,
    updated,
  };
}

export function md5(content: Uint8Array): string {
  return createHash('md5').update(content).digest('base64');
}
