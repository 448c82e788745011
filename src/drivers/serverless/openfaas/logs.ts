import { z } from 'zod';
import type { FunctionLog } from '../../../driver.ts';

/** Of one stream at most: what is asked for is counted for each replica, and none of them is bounded otherwise. */
const MAX_BYTES = 16 * 2 ** 20;
const MAX_LINE = 2 ** 20;
const MAX_TEXT = 16_384;

// `LogEntry` in https://github.com/openfaas/faas/blob/master/api-docs/spec.openapi.yml (read 2026-11-28)
const entry = z.object({ timestamp: z.iso.datetime({ offset: true }), text: z.string() });

/** What a stream of log lines held. */
export type ReadLogs = {
  readonly entries: readonly FunctionLog[];
  /** Whether something else was among them, which is how the gateway passes on its provider's failure. */
  readonly hasOther: boolean;
};

/**
 * The newest `limit` lines of an answer in `application/x-ndjson`, oldest first. Replicas come one after the other or mixed,
 * each in its own order. What is longer than a line or a stream may be is left out.
 */
export async function readLogs({ body }: Response, limit: number): Promise<ReadLogs> {
  const decoder = new TextDecoder();
  let entries: FunctionLog[] = [];
  let hasOther = false;
  let rest = '';
  let isTooLong = false;
  let size = 0;
  const take = (line: string): void => {
    if (line.trim() === '') return;
    const found = entryOf(line);
    if (found === undefined) hasOther = true;
    else entries.push(found);
    if (entries.length >= limit * 2) entries = newest(entries, limit);
  };
  for await (const chunk of body ?? []) {
    size += chunk.byteLength;
    if (size > MAX_BYTES) break;
    const [first = '', ...lines] = decoder.decode(chunk, { stream: true }).split('\n');
    isTooLong ||= rest.length + first.length > MAX_LINE;
    rest = isTooLong ? '' : rest + first;
    if (lines.length === 0) continue;
    take(rest);
    isTooLong = false;
    rest = lines.pop() ?? '';
    for (const line of lines) take(line);
  }
  if (size <= MAX_BYTES) take(rest);
  return { entries: newest(entries, limit), hasOther };
}

function newest(entries: readonly FunctionLog[], limit: number): FunctionLog[] {
  return entries.toSorted((a, b) => a.at.getTime() - b.at.getTime()).slice(-limit);
}

function entryOf(line: string): FunctionLog | undefined {
  const parsed = entry.safeParse(json(line));
  if (!parsed.success) return undefined;
  const text = parsed.data.text.replace(/\r?\n$/, '').slice(0, MAX_TEXT);
  const requestId = callIdIn(text);
  return { at: new Date(parsed.data.timestamp), text, ...(requestId !== undefined && { requestId }) };
}

/** The id of the call (`X-Call-Id`) where a function or its watchdog ends the line with it in brackets. */
function callIdIn(text: string): string | undefined {
  return /\[([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})\]\s*$/.exec(text)?.[1];
}

function json(line: string): unknown {
  try {
    return JSON.parse(line) as unknown;
  } catch {
    return undefined;
  }
}
