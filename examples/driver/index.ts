import { defineFileDriver, PRESIGNED_BY_SERVER } from '../../src/driver.ts';
import { sqliteFiles } from './client.ts';
import { sqliteOptions } from './options.ts';

export default defineFileDriver({
  kind: 'file',
  id: 'sqlite',
  title: 'Files in one SQLite database',
  options: sqliteOptions,
  capabilities: {
    ranges: true,
    createOnly: true,
    ifMatch: false,
    atomicReplace: true,
    copy: false,
    move: false,
    ...PRESIGNED_BY_SERVER,
    contentType: true,
    metadata: false,
    // https://sqlite.org/limits.html, read 2026-11-23: a row holds at most 1,000,000,000 bytes as SQLite is built for Node.
    limits: { pathBytes: 1024, fileBytes: 512 * 2 ** 20 },
  },
  open: sqliteFiles,
});
