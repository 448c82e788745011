import { mkdirSync, writeFileSync } from 'node:fs';
import { cpus, totalmem } from 'node:os';
import Table from 'cli-table3';

/** One measured figure, beside what it is held against. */
export type Row = {
  readonly what: string;
  readonly figure: number;
  readonly unit: string;
  /** What to reach, as people read it: `<= 15`. */
  readonly target?: string;
  readonly ok?: boolean;
  readonly note?: string;
};

/** Prints the rows as a table and, unless `--quick` was given, writes them to `bench/results/<name>.json` with the machine. */
export function report(name: string, rows: readonly Row[]): void {
  const machine = {
    cpu: cpus()[0]?.model ?? 'unknown',
    cores: cpus().length,
    memoryGb: Number((totalmem() / 2 ** 30).toFixed(1)),
  };
  const table = new Table({
    head: ['what', 'figure', 'unit', 'target', 'ok', 'note'],
    colAligns: ['left', 'right', 'left', 'left', 'left', 'left'],
    style: { head: [], border: [], compact: true },
  });
  for (const { what, figure, unit, target = '', ok, note = '' } of rows) {
    table.push([what, readable(figure), unit, target, ok === undefined ? '' : ok ? 'yes' : 'NO', note]);
  }
  console.log(
    `\n${name}: ${machine.cpu}, ${machine.cores} cores, ${machine.memoryGb} GB, node ${process.version}`,
  );
  console.log(table.toString());

  // A quick run shows that a benchmark runs; its figures are not ones to keep.
  if (process.argv.includes('--quick')) return;
  const folder = new URL('./results/', import.meta.url);
  mkdirSync(folder, { recursive: true });
  const result = { name, date: new Date().toISOString(), machine, node: process.version, rows };
  writeFileSync(new URL(`${name}.json`, folder), `${JSON.stringify(result, null, 2)}\n`);
}

/** Four significant digits below 1,000, whole numbers with separators above. */
function readable(figure: number): string {
  return Math.abs(figure) >= 1000
    ? Math.round(figure).toLocaleString('en-US')
    : String(Number(figure.toPrecision(4)));
}
