/**
 * Writes to a store until it is killed: `node store-writer.ts FILE MODELS`. Each write is announced on standard output
 * before it is made and acknowledged after, one JSON array a line: [tenant, write] and [tenant]. A message
 * to the parent says when the store is open.
 */
import { randomInt, randomUUID } from 'node:crypto';
import { readFileSync, writeSync } from 'node:fs';
import { SqlStore } from '../../src/store/sql-store.ts';
import { after, make, type Model, type Write } from './store-model.ts';

const [file = '', models = ''] = process.argv.slice(2);
const store = await SqlStore.open({ file });
process.send?.('open');

// This project's own parent process wrote it.
const start = JSON.parse(readFileSync(models, 'utf8')) as Readonly<Record<string, Model>>;
await Promise.all(Object.entries(start).map(([tenantId, model]) => writeForEver(tenantId, model)));

async function writeForEver(tenantId: string, start: Model): Promise<never> {
  for (let model = start; ;) {
    const write = anyWrite(model);
    say([tenantId, write]);
    await make(store, tenantId, model, write);
    say([tenantId]);
    model = after(model, write);
  }
}

function anyWrite(model: Model): Write {
  const connectors = Object.keys(model.connectors);
  const id = any(connectors);
  const key = any(Object.keys(model.keys).filter((name) => model.keys[name]));
  const call = any(Object.keys(model.calls).filter((name) => model.calls[name]?.[1] === false));
  const create: Write = {
    kind: 'create',
    ids: Array.from({ length: randomInt(4) ? 1 : 70 }, () => randomUUID()),
  };
  if (id === undefined) return create;
  const [version = 0, count = 0] = model.connectors[id] ?? [];
  const writes: readonly Write[] = [
    // More is removed than made once there are many, so that a long run stays quick.
    connectors.length < 300 ? create : { kind: 'delete', id },
    { kind: 'delete', id },
    { kind: 'update', id, version: version + 1 },
    { kind: 'activity', id, count: count + 1 },
    key === undefined ? { kind: 'issue', id: randomUUID() } : { kind: 'revoke', id: key },
    call === undefined ? { kind: 'queue', id: randomUUID(), connectorId: id } : { kind: 'end', id: call },
    { kind: 'fact', value: randomUUID() },
  ];
  return any(writes) ?? create;
}

function any<T>(values: readonly T[]): T | undefined {
  return values.length === 0 ? undefined : values[randomInt(values.length)];
}

/** Standard output is a file: what is written before the kill is there after it. */
function say(line: readonly unknown[]): void {
  writeSync(1, `${JSON.stringify(line)}\n`);
}
