import fc from 'fast-check';
import { execFile } from 'node:child_process';
import { copyFileSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { promisify } from 'node:util';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { isConnectorError } from '../../../driver.ts';
import { Database } from './database.ts';
import { DATABASE_FILE, databaseError } from './database-error.ts';

const DAMAGED = new Set(['internal', 'invalid_state', 'unavailable']);

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(path.join(tmpdir(), 'database-'));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const rowOf = (i: number) => ({
  id: `id-${i}`,
  values: new Uint8Array(Float32Array.of(i, 1, -i).buffer),
  metadata: i % 2 === 0 ? JSON.stringify({ n: i, s: 'x'.repeat(i) }) : null,
  text: i % 3 === 0 ? `text ${i}` : null,
});

function fill(rows: number): void {
  const database = new Database(folder, 3, 'dot');
  database.transaction(() => {
    for (let i = 0; i < rows; i++) database.write(i, i + 1, rowOf(i));
    database.setState({ change: rows, count: rows });
  });
  database.close();
}

/** What somebody else does to the file. */
function change(sql: string): void {
  const plain = new DatabaseSync(path.join(folder, DATABASE_FILE));
  plain.exec(sql);
  plain.close();
}

describe('Database', () => {
  it('keeps rows as they were written, and remembers what was removed', () => {
    fill(5);
    const database = new Database(folder, 3, 'dot');
    expect(database.summary()).toEqual({ count: 5, maxSlot: 4, change: 5 });
    expect(database.row(4)).toMatchObject({ slot: 4, change: 5, ...rowOf(4) });
    database.remove(2, 6);
    expect(database.row(2)).toBeUndefined();
    expect(database.removed(6)).toEqual([2]);
    expect(database.removed(5)).toEqual([]);
    expect([...database.vectorsSince(3)].map(({ slot }) => slot)).toEqual([3, 4]);
    database.close();
  });

  it('writes all of a transaction or nothing', () => {
    fill(1);
    const database = new Database(folder, 3, 'dot');
    const failing = () =>
      database.transaction(() => {
        database.write(1, 2, rowOf(1));
        database.write(2, 2, rowOf(2));
      });
    expect(failing).toThrow(expect.objectContaining({ code: 'internal' }));
    expect(database.slots()).toEqual([0]);
    database.transaction(() => database.write(1, 2, rowOf(1)));
    expect(database.slots()).toEqual([0, 1]);
    database.close();
  });

  it('writes ahead to a log, which survives its own closing', () => {
    const database = new Database(folder, 3, 'dot');
    database.close();
    const plain = new DatabaseSync(path.join(folder, DATABASE_FILE));
    expect(plain.prepare('PRAGMA journal_mode').get()).toEqual({ journal_mode: 'wal' });
    plain.close();
  });

  it('refuses another process while it is open, naming the first', async () => {
    const database = new Database(folder, 3, 'dot');
    const module = new URL('./database.ts', import.meta.url).href;
    const script = `
      const { Database } = await import(${JSON.stringify(module)});
      try { new Database(${JSON.stringify(folder)}, 3, 'dot'); console.log('opened'); }
      catch (error) { console.log(JSON.stringify({ code: error.code, message: error.message })); }`;
    const attempt = () =>
      promisify(execFile)(process.execPath, ['--input-type=module', '--eval', script]).then(({ stdout }) =>
        stdout.trim(),
      );
    const refused = JSON.parse(await attempt());
    expect(refused).toEqual({
      code: 'invalid_state',
      message: `vectors.db is open already, in the process ${process.pid}; stop that one or use another data directory`,
    });
    database.close();
    expect(await attempt()).toBe('opened');
  });

  it('refuses a database of a newer version, of another kind, or with other vectors', () => {
    fill(1);
    const open = (dimension = 3, metric: 'dot' | 'cosine' = 'dot') => new Database(folder, dimension, metric);
    expect(() => open(4)).toThrow(expect.objectContaining({ code: 'invalid_state' }));
    expect(() => open(3, 'cosine')).toThrow(expect.objectContaining({ code: 'invalid_state' }));
    change('PRAGMA user_version = 2');
    expect(() => open()).toThrow(
      expect.objectContaining({ code: 'invalid_state', message: expect.stringContaining('version 2') }),
    );
    change('PRAGMA user_version = 1; PRAGMA application_id = 7');
    expect(() => open()).toThrow(expect.objectContaining({ code: 'internal' }));
  });

  it('refuses a sound database of another shape, or with fewer rows than were left', () => {
    fill(3);
    change('DELETE FROM records WHERE slot = 1');
    const short = new Database(folder, 3, 'dot');
    expect(() => short.summary()).toThrow(expect.objectContaining({ code: 'internal' }));
    short.close();
    change('ALTER TABLE records RENAME COLUMN text TO texts');
    expect(() => new Database(folder, 3, 'dot')).toThrow(expect.objectContaining({ code: 'internal' }));
  });

  it('answers rightly or says that it is damaged, whichever bytes of the file changed', () => {
    fill(60);
    const file = path.join(folder, DATABASE_FILE);
    const whole = path.join(folder, 'whole');
    copyFileSync(file, whole);
    const damage = fc.oneof(
      fc.record({
        kind: fc.constant('flip' as const),
        at: fc.array(fc.nat(), { minLength: 1, maxLength: 64 }),
        bit: fc.nat(7),
      }),
      fc.record({ kind: fc.constant('cut' as const), at: fc.tuple(fc.nat()), bit: fc.constant(0) }),
      fc.record({ kind: fc.constant('zero' as const), at: fc.tuple(fc.nat()), bit: fc.constant(0) }),
    );
    fc.assert(
      fc.property(damage, ({ kind, at, bit }) => {
        for (const rest of ['-wal', '-shm']) rmSync(file + rest, { force: true });
        const bytes = readFileSync(whole);
        if (kind === 'flip')
          for (const place of at)
            bytes[place % bytes.length] = (bytes[place % bytes.length] ?? 0) ^ (1 << bit);
        const place = (at[0] ?? 0) % bytes.length;
        if (kind === 'zero') bytes.fill(0, place & ~4095, (place & ~4095) + 4096);
        writeFileSync(file, kind === 'cut' ? bytes.subarray(0, place) : bytes);
        const wrong = readAll();
        expect(wrong).toEqual([]);
      }),
      { numRuns: 300 },
    );
    expect(statSync(whole).size).toBeGreaterThan(0);
  });

  /** The rows that are there but are not what was written; an error of ours is a right answer. */
  function readAll(): readonly string[] {
    let database: Database | undefined;
    const wrong: string[] = [];
    try {
      database = new Database(folder, 3, 'dot');
      database.summary();
      for (let i = 0; i < 60; i++) {
        const row = database.row(i);
        const { id, values, metadata, text } = rowOf(i);
        if (row === undefined || database.slotOf(id) !== i) wrong.push(`${id} is missing`);
        else if (row.id !== id || row.metadata !== metadata || row.text !== text)
          wrong.push(`${id} has other fields`);
        else if (Buffer.compare(row.values, values) !== 0) wrong.push(`${id} has other values`);
      }
      if ([...database.vectorsSince(0)].length !== 60 || [...database.metadata()].length !== 60)
        wrong.push('rows are missing');
      return wrong;
    } catch (error) {
      if (isConnectorError(error) && DAMAGED.has(error.code)) return wrong;
      throw error;
    } finally {
      database?.close();
    }
  }
});

describe('databaseError', () => {
  it.each([
    [{ errcode: 13 }, 'unavailable', 'disk is full'],
    [{ errcode: 778 }, 'unavailable', 'cannot be read or written'],
    [{ code: 'ENOSPC' }, 'unavailable', 'disk is full'],
    [{ code: 'EACCES' }, 'unavailable', 'permissions'],
    [{ errcode: 267 }, 'internal', 'vectors.db is damaged'],
    [{ errcode: 26 }, 'internal', 'vectors.db is damaged'],
    [{ errcode: 5 }, 'invalid_state', 'open already, in the process 42'],
    [new Error('?'), 'internal', 'refused a statement'],
  ] as const)('of %o is %s', (error, code, message) => {
    expect(databaseError(error, () => '42')).toMatchObject({
      code,
      message: expect.stringContaining(message),
    });
  });
});
