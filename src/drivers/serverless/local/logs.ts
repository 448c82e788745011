import { appendFile, mkdir, readFile, rename, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import type { Clock, FunctionLog, Log } from '../../../driver.ts';
import { absent } from './source.ts';

/** A function has two files, of which the older goes when the newer is full. */
const MAX_FILE_BYTES = 512 * 1024;
/** Of what one call wrote. JSON makes up to six bytes of a character, and a line fits in a file. */
const MAX_TEXT_LENGTH = 64 * 1024;
/** Characters that wait to be written; the oldest go first, as they would from the files. */
const MAX_WAITING_LENGTH = 512 * 1024;
/** Calls are written together: a write for each would take from the next call's time. */
const WRITE_AFTER_MS = 250;
/** Characters that are written at once, before they are too many to wait. */
const WRITE_AT_LENGTH = 128 * 1024;

const line = z.object({ at: z.number(), requestId: z.string().optional(), text: z.string() });
type Line = z.output<typeof line>;

export type FunctionLogsParts = {
  /** It may not exist yet. */
  readonly folder: string;
  readonly clock: Clock;
  readonly log: Log;
};

/** What a connector's functions wrote, as much of it as fits in two files for each. A call never waits for it. */
export class FunctionLogs {
  readonly #parts: FunctionLogsParts;
  readonly #files = new Map<string, LogFile>();

  constructor(parts: FunctionLogsParts) {
    this.#parts = parts;
  }

  /** Where a function's calls write; take it before the call: what a removed function still writes goes nowhere. */
  of(name: string): LogFile {
    const file = this.#files.get(name) ?? new LogFile(name, this.#parts);
    this.#files.set(name, file);
    return file;
  }

  /** Removes what a function wrote. */
  async forget(name: string): Promise<void> {
    const file = this.of(name);
    this.#files.delete(name);
    await file.remove();
  }

  /** Writes what waits. */
  async flush(): Promise<void> {
    await Promise.all([...this.#files.values()].map((file) => file.flush()));
  }
}

class LogFile {
  readonly #name: string;
  readonly #parts: FunctionLogsParts;
  #waiting: Line[] = [];
  #waitingLength = 0;
  #stopTimer: (() => void) | undefined;
  #writing: Promise<void> | undefined;
  #isFailing = false;
  #isRemoved = false;
  #hasWritten = false;

  constructor(name: string, parts: FunctionLogsParts) {
    this.#name = name;
    this.#parts = parts;
  }

  add({ at, requestId, text }: FunctionLog): void {
    if (this.#isRemoved) return;
    this.#waiting.push({ at: at.getTime(), ...(requestId !== undefined && { requestId }), text: cut(text) });
    this.#waitingLength += Math.min(text.length, MAX_TEXT_LENGTH);
    while (this.#waitingLength > MAX_WAITING_LENGTH) {
      this.#waitingLength -= Math.min(this.#waiting.shift()?.text.length ?? 0, MAX_TEXT_LENGTH);
    }
    if (this.#waitingLength >= WRITE_AT_LENGTH) void this.flush();
    else this.#stopTimer ??= this.#parts.clock.inBackground(WRITE_AFTER_MS, () => void this.flush());
  }

  /** The newest entries, oldest first. */
  async read(limit: number): Promise<readonly FunctionLog[]> {
    await this.flush();
    const [older, newer] = await Promise.all(
      [this.#older, this.#newer].map((path) => readFile(path, 'utf8').catch(absent)),
    );
    const lines = `${older ?? ''}\n${newer ?? ''}`.split('\n');
    const found: FunctionLog[] = [];
    for (let text = lines.pop(); text !== undefined && found.length < limit; text = lines.pop()) {
      const entry = entryIn(text);
      if (entry) found.push(entry);
    }
    return found.reverse();
  }

  /** Writes what waits, and what comes while it is written. */
  flush(): Promise<void> {
    this.#stopTimer?.();
    this.#stopTimer = undefined;
    if (this.#waiting.length > 0) this.#writing ??= this.#drain();
    return this.#writing ?? Promise.resolve();
  }

  async remove(): Promise<void> {
    this.#isRemoved = true;
    this.#stopTimer?.();
    this.#waiting = [];
    await this.flush();
    await Promise.all([this.#older, this.#newer].map((path) => rm(path, { force: true })));
  }

  async #drain(): Promise<void> {
    while (this.#waiting.length > 0) {
      const lines = this.#waiting;
      this.#waiting = [];
      this.#waitingLength = 0;
      try {
        await this.#write(lines);
        this.#isFailing = false;
      } catch (error) {
        if (!this.#isFailing) {
          this.#parts.log.warn(`what function ${this.#name} wrote could not be kept`, {
            error: String(error),
          });
        }
        this.#isFailing = true;
      }
    }
    // In the same turn as the look above, so that nothing can be added in between and never be written.
    this.#writing = undefined;
  }

  async #write(lines: readonly Line[]): Promise<void> {
    await mkdir(this.#parts.folder, { recursive: true, mode: 0o700 });
    let fileBytes = (await stat(this.#newer).catch(absent))?.size ?? 0;
    // A process that was killed may have left half a line, which must not take this one along.
    let batch = this.#hasWritten || fileBytes === 0 ? '' : '\n';
    for (const line of lines) {
      const text = `${JSON.stringify(line)}\n`;
      if (fileBytes + Buffer.byteLength(batch) + Buffer.byteLength(text) > MAX_FILE_BYTES) {
        await this.#append(batch);
        await rename(this.#newer, this.#older).catch(absent);
        batch = '';
        fileBytes = 0;
      }
      batch += text;
    }
    await this.#append(batch);
    this.#hasWritten = true;
  }

  async #append(text: string): Promise<void> {
    if (text !== '') await appendFile(this.#newer, text, { mode: 0o600 });
  }

  get #newer(): string {
    return join(this.#parts.folder, `${this.#name}.log`);
  }

  get #older(): string {
    return join(this.#parts.folder, `${this.#name}.old.log`);
  }
}

function cut(text: string): string {
  if (text.length <= MAX_TEXT_LENGTH) return text;
  return `${text.slice(0, MAX_TEXT_LENGTH)}\n[${text.length - MAX_TEXT_LENGTH} more characters were not kept]`;
}

function entryIn(text: string): FunctionLog | undefined {
  if (text === '') return undefined;
  try {
    const { at, requestId, text: written } = line.parse(JSON.parse(text));
    return { at: new Date(at), ...(requestId !== undefined && { requestId }), text: written };
  } catch {
    // Half a line that a process left when it was killed.
    return undefined;
  }
}
