import type { Invocation } from '../connectors/serverless/invocations.ts';
import type { TourEvent, TourWatcher } from '../tour/walk.ts';
import { statistics } from './commands/connectors.ts';
import { beginning, excerpt, print, readable, wrapped } from './print.ts';
import { withProgress } from './progress.ts';
import { oneLine, type Terminal } from './terminal.ts';

const EXCERPT_CHARACTERS = 480;
const INDENT = '         ';

/** Shows a walk to a person: bars on a terminal while it works, a few lines for what was done. */
export function tourView(terminal: Terminal): TourWatcher {
  return {
    progress: (label, total, work) => withProgress(terminal, { label, total }, work),
    tell: (event) => print(terminal, ...linesOf(event, terminal.columns)),
  };
}

/** Keeps what a walk tells, for programs; bars on stderr alone. */
export function tourRecorder(terminal: Terminal): TourWatcher & { readonly report: Record<string, unknown> } {
  const answers: unknown[] = [];
  const invocations: unknown[] = [];
  const report: Record<string, unknown> = { answers, invocations };
  return {
    report,
    progress: (label, total, work) => withProgress(terminal, { label, total }, work),
    async tell({ kind, ...event }) {
      if ('matches' in event)
        answers.push({ question: event.question, matches: event.matches.map(wireMatch) });
      else if ('invocation' in event)
        invocations.push({ way: event.way, ...wireInvocation(event.invocation) });
      else report[kind] = 'stats' in event ? event.stats.toDict() : event;
    },
  };
}

function linesOf(event: TourEvent, columns: number): readonly string[] {
  switch (event.kind) {
    case 'files': {
      const size = `${event.files} ${plural('text file', event.files)}, ${Math.ceil(event.bytes / 1024)} KiB`;
      const done = event.done === 0 ? 'all there already' : `${event.done} written`;
      return [stage('Files', `${size}: ${done} (${event.connector})`)];
    }
    case 'passages': {
      const done =
        event.done === 0 ? 'all there already' : 'read back, cut, turned into vectors and upserted';
      return [
        stage(
          'Passages',
          `${event.passages} ${plural('passage', event.passages)}: ${done} (${event.connector})`,
        ),
        stage(
          '',
          `each ${event.dimension} numbers by feature hashing: no model, it finds shared words, not meaning`,
        ),
      ];
    }
    case 'function':
      return [
        stage(
          'Function',
          `${event.name}: ${event.deployed ? 'deployed' : 'there already'} (${event.connector})`,
        ),
      ];
    case 'no_functions':
      return [stage('Function', `left out: ${oneLine(event.reason)}`)];
    case 'answer':
      return [
        '',
        `? ${oneLine(event.question)}`,
        ...event.matches.map((match, at) => answerLines(match, at, columns)),
      ];
    case 'invoked':
      return invokedLines(event, columns);
    case 'statistics':
      return ['', 'Statistics', statistics(event.stats.toDict()).replace(/^/gm, '  ')];
  }
}

type ShownMatch = Extract<TourEvent, { kind: 'answer' }>['matches'][number];

function answerLines({ score, text = '', metadata = {} }: ShownMatch, at: number, columns: number): string {
  const { file, heading } = metadata;
  const place = [file, heading].filter((part) => typeof part === 'string' && part !== '').join(' · ');
  const head = excerpt(`  ${score.toFixed(3)}  ${place}`.trim(), columns - 2);
  // The best is shown, the others are named.
  return at === 0
    ? `  ${head}\n${wrapped(beginning(readable(text), EXCERPT_CHARACTERS), columns, INDENT)}`
    : `  ${head}`;
}

function invokedLines(
  { way, question, invocation }: Extract<TourEvent, { kind: 'invoked' }>,
  columns: number,
) {
  const { function: name, requestId, status, durationMs, result, error } = invocation;
  const took = durationMs === undefined ? '' : ` in ${durationMs.toFixed(1)} ms`;
  return way === 'sync'
    ? [
        '',
        `${name}() on the best of these passages ("${oneLine(question)}")`,
        `  sync   ${status}${took}`,
        ...Object.entries(error ?? (typeof result === 'object' ? result : null) ?? { result }).map(
          ([name, value]) => wrapped(`${name}: ${oneLine(String(value))}`, columns, INDENT),
        ),
      ]
    : [`  async  stored as ${requestId}; its result, fetched: ${status}${took}`];
}

function stage(name: string, what: string): string {
  return `${name.padEnd(10)}${what}`;
}

function plural(noun: string, count: number): string {
  return count === 1 ? noun : `${noun}s`;
}

function wireMatch({ id, score, rawScore, metadata, text }: ShownMatch) {
  return { id, score, raw_score: rawScore, metadata, text };
}

function wireInvocation({ function: name, requestId, status, durationMs, result, error }: Invocation) {
  return { function: name, request_id: requestId, status, duration_ms: durationMs, result, error };
}
